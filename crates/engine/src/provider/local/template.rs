//! The conversation as one text, by the Jinja template in the model file.

use super::{
    gguf::{Fault, brief},
    halt::{Halt, internal},
    shape::text,
};
use candle_core::quantized::gguf_file::Content;
use minijinja::{Environment, Error, ErrorKind, context, syntax::SyntaxConfig};

const NAME: &str = "chat";

/// How much work a template may do: instructions, each of which may also handle 64 bytes. It is a
/// program of whoever made the file, and this is what keeps it from going on for ever or from
/// filling the memory. Templates in use need some hundreds, and a few for each message.
const FUEL: u64 = 1_000_000;

/// More of it for each message.
const FUEL_PER_MESSAGE: u64 = 10_000;

/// One message for the template: who speaks (`system`, `user` or `assistant`) and what.
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
    /// Takes the template out of the metadata.
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
        // As Python's `transformers` sets up Jinja for chat templates.
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

    /// The text that the model goes on from: `messages`, and the beginning of an answer.
    ///
    /// # Errors
    /// A failure where the template refuses the conversation, or does not come to an end.
    pub(super) fn render(&self, messages: &[Message]) -> Result<String, Halt> {
        // Each byte of a message may be handled 64 times.
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
                    // Qwen 3 thinks aloud unless told not to; on one core that takes minutes.
                    enable_thinking => false,
                    bos_token => self.bos.as_str(),
                    eos_token => self.eos.as_str(),
                })
            })
            .map_err(|error| internal(&format!("chat template: {error}")).into())
    }
}
