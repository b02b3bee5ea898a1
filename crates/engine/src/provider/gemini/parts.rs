//! Parts of an answer other than text and calls: files, and code that the model executed.

use crate::provider::media::Media;
use serde_json::Value;

/// The content of a part that is neither text nor a call.
pub(super) enum Shown {
    Media(Media),
    /// Executed code or its output, as Markdown.
    Code(String),
}

/// Reads such a part. `None` if it is another one.
pub(super) fn shown(part: &Value) -> Option<Shown> {
    let text = |path: &str| part.pointer(path).and_then(Value::as_str);
    if let Some(data) = text("/inlineData/data") {
        let kind = text("/inlineData/mimeType").unwrap_or_default();
        return Some(Shown::Media(Media::from_base64(data, kind)));
    }
    if let Some(address) = text("/fileData/fileUri") {
        return Some(Shown::Media(Media::from_address(address)));
    }
    if let Some(code) = text("/executableCode/code") {
        let language = text("/executableCode/language").unwrap_or_default();
        return Some(Shown::Code(fenced(&language.to_lowercase(), code)));
    }
    let output = text("/codeExecutionResult/output")?;
    Some(Shown::Code(fenced("", output)))
}

/// Code as a fenced block. The fence is longer than any in the code.
fn fenced(language: &str, code: &str) -> String {
    let runs = code.split(|letter| letter != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or(0).max(2) + 1);
    format!("\n\n{fence}{language}\n{}\n{fence}\n\n", code.trim_end())
}
