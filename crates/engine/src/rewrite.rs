//! Changes what models and tools write before it is in the log.
//!
//! What is rewritten here was never there: neither the disk, nor a reader, nor an observer, nor the model in
//! its next turn sees the text before; and a tool gets the arguments as they were rewritten. What a person
//! writes is not rewritten. A text comes in pieces, and what is to be changed may begin in one and
//! end in another, so a [`Rewriter`] may hold back the end of what it has got until it knows more.
//!
//! [`Mask`] hides secrets:
//!
//! ```
//! use headwater_engine::{Config, Engine, rewrite::Mask};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let config = Config::new(folder.path());
//! let mask = Mask::default().keys().word("Project Bluebird");
//! let engine = Engine::builder(config).rewrite(mask).open()?;
//! # Ok(())
//! # }
//! ```

mod mask;

pub use mask::Mask;

use headwater_protocol::BlockKind;
use serde_json::Value;

/// Changes what is written, block by block.
pub trait Rewrite: Send + Sync + 'static {
    /// What changes the text of a new block. `None` leaves it as it is.
    fn block(&self, kind: BlockKind) -> Option<Box<dyn Rewriter>>;

    /// Changes a value: the input and the output of a span, the arguments of a call, data of one's own, or
    /// a sentence that says what went wrong.
    fn value(&self, value: &mut Value) {
        let _ = value;
    }
}

/// Changes the text of one block.
pub trait Rewriter: Send + Sync {
    /// Takes the next piece, and returns what can be written now; that may be nothing.
    fn push(&mut self, text: &str) -> String;

    /// Returns what was held back. Nothing comes after it.
    fn finish(&mut self) -> String;

    /// The same where the text was broken off, so that nobody knows what would have come.
    fn break_off(&mut self) -> String {
        self.finish()
    }
}

/// Changes a text that is no block.
pub(crate) fn text(rewrite: &dyn Rewrite, text: &mut String) {
    let mut value = Value::String(std::mem::take(text));
    rewrite.value(&mut value);
    if let Value::String(changed) = value {
        *text = changed;
    }
}

/// Changes what is text in the value of a block of reasoning, and leaves signatures and identifiers as
/// they are: without them, a provider refuses the whole conversation.
pub(crate) fn reasoning(rewrite: &dyn Rewrite, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| reasoning(rewrite, item)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "text" | "summary" | "thinking" | "reasoning" | "content" => {
                        rewrite.value(field);
                    }
                    _ => reasoning(rewrite, field),
                }
            }
        }
        _ => {}
    }
}
