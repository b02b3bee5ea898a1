//! The dimensions of a model, which are checked before any weight is read.

use super::gguf::{Fault, elements, number};
use candle_core::quantized::gguf_file::{Content, Value};

/// The supported architectures, with well-known models of each.
pub(super) const ARCHITECTURES: &str =
    "llama (SmolLM2, Llama 3), qwen2 (Qwen 2.5) and qwen3 (Qwen 3)";

/// Sanity limits. The largest open models are far below them.
const MAX_LAYERS: usize = 512;
const MAX_WIDTH: usize = 1 << 16;
const MAX_FEED_FORWARD: usize = 1 << 18;
const MAX_HEADS: usize = 1024;
const MAX_HEAD_DIM: usize = 1024;
const MAX_VOCABULARY: usize = 1 << 20;
const MAX_CONTEXT: u64 = 16 << 20;

/// Which elements of a head are rotated together
/// ([rotary position embedding](https://arxiv.org/abs/2104.09864)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rope {
    /// Neighbours: 0 with 1, 2 with 3. Files of the llama architecture are sorted so.
    Neighbours,
    /// Halves: 0 with d/2. The qwen architectures.
    Halves,
}

/// The dimensions of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) architecture: String,
    pub(super) layers: usize,
    pub(super) width: usize,
    pub(super) feed_forward: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) vocabulary: usize,
    /// The context size that the model was trained for, in tokens.
    pub(super) context: usize,
    pub(super) epsilon: f32,
    pub(super) rope: Rope,
    pub(super) rope_base: f32,
    /// Positions are divided by this ("linear" scaling).
    pub(super) rope_factor: f32,
}

impl Shape {
    /// Reads the dimensions, and checks that the tensors have them.
    ///
    /// # Errors
    /// A [`Fault`] that names the first thing that is missing, impossible or not supported.
    pub(super) fn read(content: &Content) -> Result<Self, Fault> {
        let architecture = text(content, "general.architecture")
            .ok_or_else(|| Fault::Damaged("it does not name its architecture".into()))?;
        let rope = match architecture.as_str() {
            "llama" => Rope::Neighbours,
            "qwen2" | "qwen3" => Rope::Halves,
            other => {
                return Err(Fault::Unsupported(format!(
                    "is of the architecture {:?}, which the built-in model cannot run; it runs \
                     {ARCHITECTURES}",
                    other.chars().take(40).collect::<String>()
                )));
            }
        };
        let get = Facts {
            content,
            architecture: &architecture,
        };
        if get.optional("expert_count")?.is_some_and(|n| n > 0) {
            return Err(Fault::Unsupported(
                "is a mixture of experts, which the built-in model cannot run".into(),
            ));
        }
        let width = get.size("embedding_length", MAX_WIDTH)?;
        let heads = get.size("attention.head_count", MAX_HEADS)?;
        let kv_heads = get.size_or("attention.head_count_kv", MAX_HEADS, heads)?;
        let head_dim = get.size_or("attention.key_length", MAX_HEAD_DIM, width / heads)?;
        let shape = Self {
            layers: get.size("block_count", MAX_LAYERS)?,
            feed_forward: get.size("feed_forward_length", MAX_FEED_FORWARD)?,
            vocabulary: vocabulary(content)?,
            context: get.context()?,
            epsilon: get.float("attention.layer_norm_rms_epsilon", 1e-5, 1e-12..=1e-2)?,
            rope_base: get.float("rope.freq_base", 10_000.0, 1.0..=1e12)?,
            rope_factor: get.rope_factor()?,
            rope,
            width,
            heads,
            kv_heads,
            head_dim,
            architecture: architecture.clone(),
        };
        shape.check(&get)?;
        Ok(shape)
    }

    fn check(&self, get: &Facts<'_>) -> Result<(), Fault> {
        if !self.heads.is_multiple_of(self.kv_heads) || !self.head_dim.is_multiple_of(2) {
            return Err(Fault::Damaged(format!(
                "{} heads of {} numbers do not go with {} of the cache",
                self.heads, self.head_dim, self.kv_heads
            )));
        }
        let head = self.head_dim as u64;
        for (key, what) in [
            ("rope.dimension_count", "turns only a part of each head"),
            ("attention.value_length", "has values and keys of two sizes"),
        ] {
            if get.optional(key)?.is_some_and(|n| n != head) {
                return Err(Fault::Unsupported(format!(
                    "{what}, which the built-in model cannot run"
                )));
            }
        }
        Ok(())
    }

    /// The number of weights that one layer multiplies a token with. It decides how many prompt
    /// tokens are fed at once.
    pub(super) fn layer_weights(&self) -> usize {
        self.width * (3 * self.feed_forward + 2 * self.head_dim * (self.heads + self.kv_heads))
    }
}

/// The size of the vocabulary. It must be the number of rows of the embedding.
fn vocabulary(content: &Content) -> Result<usize, Fault> {
    let words = match content.metadata.get("tokenizer.ggml.tokens") {
        Some(Value::Array(words)) if !words.is_empty() => words.len(),
        _ => return Err(Fault::Damaged("it has no vocabulary".into())),
    };
    let rows = content
        .tensor_infos
        .get("token_embd.weight")
        .and_then(|info| info.shape.dims().first().copied())
        .ok_or_else(|| Fault::Damaged("it has no embedding".into()))?;
    if words > rows || rows > MAX_VOCABULARY {
        return Err(Fault::Damaged(format!(
            "its vocabulary has {words} words and its embedding {rows} rows"
        )));
    }
    Ok(rows)
}

/// The number of weights in the file.
pub(super) fn parameters(content: &Content) -> u64 {
    content
        .tensor_infos
        .values()
        .filter_map(elements)
        .fold(0, u64::saturating_add)
}

/// A string of the metadata, if there is one.
pub(super) fn text(content: &Content, key: &str) -> Option<String> {
    match content.metadata.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// The metadata under the architecture's name.
struct Facts<'a> {
    content: &'a Content,
    architecture: &'a str,
}

impl Facts<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.content
            .metadata
            .get(&format!("{}.{key}", self.architecture))
    }

    fn optional(&self, key: &str) -> Result<Option<u64>, Fault> {
        self.value(key)
            .map(|value| number(value).ok_or_else(|| Fault::Damaged(format!("{key} is no number"))))
            .transpose()
    }

    fn size(&self, key: &str, limit: usize) -> Result<usize, Fault> {
        let n = self
            .optional(key)?
            .ok_or_else(|| Fault::Damaged(format!("it does not tell its {key}")))?;
        usize::try_from(n)
            .ok()
            .filter(|n| (1..=limit).contains(n))
            .ok_or_else(|| Fault::Damaged(format!("its {key} is {n}")))
    }

    fn size_or(&self, key: &str, limit: usize, default: usize) -> Result<usize, Fault> {
        match self.value(key) {
            None if (1..=limit).contains(&default) => Ok(default),
            _ => self.size(key, limit),
        }
    }

    fn float(
        &self,
        key: &str,
        default: f32,
        range: std::ops::RangeInclusive<f32>,
    ) -> Result<f32, Fault> {
        let value = match self.value(key) {
            None => default,
            Some(Value::F32(value)) => *value,
            Some(Value::F64(value)) => *value as f32,
            Some(_) => return Err(Fault::Damaged(format!("{key} is no number"))),
        };
        if !range.contains(&value) {
            return Err(Fault::Damaged(format!("its {key} is {value}")));
        }
        Ok(value)
    }

    fn context(&self) -> Result<usize, Fault> {
        let claimed = self
            .optional("context_length")?
            .ok_or_else(|| Fault::Damaged("it does not tell its context_length".into()))?;
        // Scalings other than "linear" are not computed, so they do not stretch the context either.
        let stretched = self
            .scaling()
            .is_some_and(|kind| kind != "none" && kind != "linear");
        let original = self.optional("rope.scaling.original_context_length")?;
        let context = match original {
            Some(original) if stretched && original > 0 => claimed.min(original),
            _ => claimed,
        };
        if !(16..=MAX_CONTEXT).contains(&context) {
            return Err(Fault::Damaged(format!("its context_length is {context}")));
        }
        Ok(context as usize)
    }

    fn scaling(&self) -> Option<&str> {
        match self.value("rope.scaling.type") {
            Some(Value::String(kind)) => Some(kind),
            _ => None,
        }
    }

    fn rope_factor(&self) -> Result<f32, Fault> {
        match self.scaling() {
            Some("linear") => self.float("rope.scaling.factor", 1.0, 0.1..=1024.0),
            _ => Ok(1.0),
        }
    }
}
