//! A model file: its summary for people, and everything that is needed to answer.

use super::{
    decoder::Network,
    gguf::{self, Fault},
    shape::{self, Shape},
    template::Template,
    tokenizer::Vocabulary,
    weights::Weights,
};
use candle_core::quantized::gguf_file::Content;
use headwater_protocol::{Error, ErrorCode};
use std::{
    fs::File,
    io::{BufReader, ErrorKind},
    path::Path,
};

/// Advice at the end of every sentence about a file that cannot be used.
const WHAT_TO_DO: &str = "Run `make setup` to get the default model, or give another GGUF file with --model or HEADWATER_MODEL.";

/// A summary of a model file, from its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// The name of the file without the quantization, such as `SmolLM2-135M-Instruct`.
    pub id: String,
    /// The name for people, from the metadata. The same as `id` if there is none.
    pub name: String,
    /// `llama`, `qwen2` or `qwen3`.
    pub architecture: String,
    /// The number of weights.
    pub parameters: u64,
    /// The size of the file in bytes.
    pub file_bytes: u64,
    /// The context size of the model in tokens.
    pub context: u32,
}

/// Reads and checks the header of a model file, without its weights.
///
/// # Errors
/// [`ErrorCode::NotFound`] or [`ErrorCode::InvalidRequest`] with a sentence that says what is wrong
/// with the file and what to do.
pub(super) fn summary(path: &Path) -> Result<ModelSummary, Error> {
    let read = || {
        let (mut file, file_bytes) = open(path)?;
        let mut content = gguf::read_header(&mut file)?;
        let shape = Shape::read(&content)?;
        let summary = summarise(path, &content, &shape, file_bytes);
        let (vocabulary, _) = words(&mut content)?;
        drop(vocabulary);
        Ok(summary)
    };
    read().map_err(|fault| sentence(path, fault))
}

/// A model in memory.
pub(super) struct LocalModel {
    pub(super) summary: ModelSummary,
    pub(super) network: Network,
    pub(super) vocabulary: Vocabulary,
    pub(super) template: Template,
}

impl LocalModel {
    /// Loads a model file, which takes about a second per 100 MB. The context is that of the model,
    /// at most `max_context` tokens.
    ///
    /// # Errors
    /// Those of [`summary`], and an error if a weight is missing or has the wrong size.
    pub(super) fn load(path: &Path, max_context: usize) -> Result<Self, Error> {
        let read = || {
            let (mut file, file_bytes) = open(path)?;
            let mut content = gguf::read_header(&mut file)?;
            let shape = Shape::read(&content)?;
            let summary = summarise(path, &content, &shape, file_bytes);
            let (vocabulary, template) = words(&mut content)?;
            let weights = Weights::read(&content, &mut file, &shape)?;
            let context = shape.context.min(max_context);
            let network = Network::new(shape, weights, context)
                .map_err(|error| Fault::Damaged(gguf::brief(&error)))?;
            Ok(Self {
                summary,
                network,
                vocabulary,
                template,
            })
        };
        read().map_err(|fault| sentence(path, fault))
    }
}

fn open(path: &Path) -> Result<(BufReader<File>, u64), Fault> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Fault::NotGguf);
    }
    Ok((BufReader::with_capacity(1 << 20, file), metadata.len()))
}

fn words(content: &mut Content) -> Result<(Vocabulary, Template), Fault> {
    let vocabulary = Vocabulary::read(content)?;
    let template = Template::read(content, vocabulary.bos(), vocabulary.eos())?;
    Ok((vocabulary, template))
}

fn summarise(path: &Path, content: &Content, shape: &Shape, file_bytes: u64) -> ModelSummary {
    let id = short_name(path);
    ModelSummary {
        name: shape::text(content, "general.name").unwrap_or_else(|| id.clone()),
        id,
        architecture: shape.architecture.clone(),
        parameters: shape::parameters(content),
        file_bytes,
        context: u32::try_from(shape.context).unwrap_or(u32::MAX),
    }
}

/// The name of the file without `.gguf` and without the quantization after the last dot or dash.
pub(super) fn short_name(path: &Path) -> String {
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_block_type = |part: &str| {
        let part = part.to_ascii_uppercase();
        let rest = part.strip_prefix("IQ").or_else(|| part.strip_prefix('Q'));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.len() < 8)
            || matches!(part.as_str(), "F16" | "F32" | "BF16")
    };
    let name = match stem.rsplit_once(['.', '-']) {
        Some((name, last)) if !name.is_empty() && is_block_type(last) => name,
        _ => &stem,
    };
    if name.is_empty() { "model" } else { name }.to_owned()
}

fn sentence(path: &Path, fault: Fault) -> Error {
    let file = path.display();
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let (code, what) = match fault {
        Fault::Io(cause) if missing(path) => {
            tracing::debug!(cause, "no model file");
            (
                ErrorCode::NotFound,
                format!("There is no model file at {file}."),
            )
        }
        Fault::Io(cause) => (
            ErrorCode::InvalidRequest,
            format!("The model file {file} cannot be read: {cause}."),
        ),
        Fault::NotGguf => (
            ErrorCode::InvalidRequest,
            format!("{file} is not a GGUF model file."),
        ),
        Fault::CutShort { has, needs } => (
            ErrorCode::InvalidRequest,
            format!(
                "The model file {file} is incomplete: it has {} MB and needs {} MB. Delete it.",
                megabytes(has),
                megabytes(needs)
            ),
        ),
        Fault::Damaged(cause) => (
            ErrorCode::InvalidRequest,
            format!("The model file {file} is damaged: {cause}."),
        ),
        Fault::Unsupported(cause) => (
            ErrorCode::InvalidRequest,
            format!("The model in {file} {cause}."),
        ),
    };
    Error::new(code, format!("{what} {WHAT_TO_DO}")).at("loading the model")
}

fn missing(path: &Path) -> bool {
    matches!(path.metadata(), Err(error) if error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_name_leaves_the_block_type_out() {
        for (file, name) in [
            (
                "/a/SmolLM2-135M-Instruct.Q4_1.gguf",
                "SmolLM2-135M-Instruct",
            ),
            ("qwen2.5-0.5b-instruct-q8_0.gguf", "qwen2.5-0.5b-instruct"),
            ("Qwen3-0.6B-Q4_K_M.gguf", "Qwen3-0.6B"),
            ("tiny.gguf", "tiny"),
            ("Q8_0.gguf", "Q8_0"),
            ("a-Qwen.gguf", "a-Qwen"),
            ("/", "model"),
        ] {
            assert_eq!(short_name(Path::new(file)), name);
        }
    }
}
