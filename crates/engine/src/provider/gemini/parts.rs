//! Parts of an answer that are neither words nor calls: files, and programs that the model ran.

use crate::provider::media::Media;
use serde_json::Value;

/// What of a part is neither words nor a call.
pub(super) enum Shown {
    Media(Media),
    /// A program that the model ran, or what came of it, as Markdown.
    Code(String),
}

/// Reads such a part; `None` if it holds something else.
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

/// Code as a block of Markdown, within a fence that is longer than any in it.
fn fenced(language: &str, code: &str) -> String {
    let runs = code.split(|letter| letter != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or(0).max(2) + 1);
    format!("\n\n{fence}{language}\n{}\n{fence}\n\n", code.trim_end())
}
