//! Renders a conversation with the Jinja chat template in the model file.

use super::{
    gguf::{Fault, brief},
    halt::{Halt, internal},
    shape::text,
};
use candle_core::quantized::gguf_file::Content;
use minijinja::{Environment, Error, ErrorKind, context, syntax::SyntaxConfig};

const NAME: &str = "chat";

/// The most instructions that a template can execute, each of which can process 64 bytes. A
/// template is a program from the author of the file. This keeps it from running for ever and from
/// filling the memory. Current templates need a few hundred, and a few for each message.
const FUEL: u64 = 1_000_000;

/// Additional instructions for each message.
const FUEL_PER_MESSAGE: u64 = 10_000;

/// One message for the template: its role (`system`, `user` or `assistant`) and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) role: &'static str,
    pub(super) text: String,
}

/// A model's chat template.
pub(super) struct Template {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl Template {
    /// Reads the template from the metadata.
    ///
    /// # Errors
    /// A [`Fault`] where there is none, or one that cannot be read.
    pub(super) fn read(content: &Content, bos: &str, eos: &str) -> Result<Self, Fault> {
        let source = text(content, "tokenizer.chat_template").ok_or_else(|| {
            Fault::Unsupported(
                "has no chat template: it was trained to go on with a text, not to answer. Take an \
                 \"Instruct\" or \"Chat\" version of the model"
                    .into(),
            )
        })?;
        let damaged = |error: Error| {
            Fault::Damaged(format!(
                "its chat template cannot be read: {}",
                brief(&error)
            ))
        };
        let mut environment = Environment::new();
        // The same options as Hugging Face's `transformers` uses for chat templates.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(damaged)?;
        environment.set_syntax(syntax);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<(), Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment
            .add_template_owned(NAME, source)
            .map_err(damaged)?;
        Ok(Self {
            environment,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// The text that the model continues: `messages`, and the beginning of an answer.
    ///
    /// # Errors
    /// A failure if the template refuses the conversation or executes too many instructions.
    pub(super) fn render(&self, messages: &[Message]) -> Result<String, Halt> {
        // Each byte of a message can be processed 64 times.
        let fuel = messages
            .iter()
            .map(|message| FUEL_PER_MESSAGE + message.text.len() as u64)
            .fold(FUEL, u64::saturating_add);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let messages: Vec<_> = messages
            .iter()
            .map(|message| context! { role => message.role, content => message.text.as_str() })
            .collect();
        environment
            .get_template(NAME)
            .and_then(|template| {
                template.render(context! {
                    messages,
                    add_generation_prompt => true,
                    // Qwen 3 reasons by default, which takes minutes on one core.
                    enable_thinking => false,
                    bos_token => self.bos.as_str(),
                    eos_token => self.eos.as_str(),
                })
            })
            .map_err(|error| internal(&format!("chat template: {error}")).into())
    }
}
