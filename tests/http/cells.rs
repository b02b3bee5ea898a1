//! The failures of the matrix.

use crate::{
    proxy::{End, Faults},
    upstream::Reply,
    vendors::Vendor,
};
use headwater_protocol::ErrorCode;
use std::time::Duration;

/// What happens to the first connection, and what comes of it where nothing is tried again.
pub struct Cell {
    pub name: &'static str,
    pub reply: Reply,
    pub faults: Faults,
    /// The error; `None` for what harms nobody.
    pub error: Option<ErrorCode>,
    /// Whether half of the text is there by then.
    pub wrote: bool,
}

/// All of them, for one vendor.
pub fn cells(vendor: Vendor) -> Vec<Cell> {
    use ErrorCode::*;
    let whole = || Reply::stream(vendor.text);
    let half = vendor.half();
    let at = vendor.half_at();
    let clean = Faults::default;
    let ending = |end| Faults { end, ..clean() };
    let failing = |body: &str| Reply::stream(format!("{half}{body}"));
    let cell = |name, reply, faults, error: Option<ErrorCode>, wrote| Cell {
        name,
        reply,
        faults,
        error,
        wrote,
    };
    let error = r#"{"error":{"message":"Not now."}}"#;
    let status = |line: &str| Reply::status(line, error);
    let comments = ": nothing yet\n\n".repeat(3);
    let huge = format!("data: {}\n\n", "x".repeat(9 << 20));
    vec![
        cell(
            "429",
            status("429 Slow\r\nretry-after: 1"),
            clean(),
            Some(RateLimited),
            false,
        ),
        cell("500", status("500 Oh"), clean(), Some(ProviderError), false),
        cell("503", status("503 Busy"), clean(), Some(Overloaded), false),
        cell("529", status("529 Busy"), clean(), Some(Overloaded), false),
        cell(
            "slow-first-token",
            whole(),
            Faults {
                delay: Duration::from_millis(400),
                ..clean()
            },
            None,
            false,
        ),
        cell(
            "no-first-token",
            whole(),
            ending(End::Silent(0)),
            Some(FirstTokenTimeout),
            false,
        ),
        cell(
            "comments-for-ever",
            Reply::stream(format!("{comments}{}", vendor.text)),
            ending(End::Silent(comments.len())),
            Some(FirstTokenTimeout),
            false,
        ),
        cell("stall", whole(), ending(End::Silent(at)), Some(Stall), true),
        cell(
            "stall-in-line",
            whole(),
            ending(End::Silent(at + 9)),
            Some(Stall),
            true,
        ),
        cell(
            "reset",
            whole(),
            ending(End::Reset(at)),
            Some(Connection),
            true,
        ),
        cell(
            "reset-at-once",
            whole(),
            ending(End::Reset(0)),
            Some(Connection),
            false,
        ),
        // The line with the chunk's length is a few bytes more.
        cell(
            "fin-in-chunk",
            Reply::chunked(vendor.text),
            ending(End::Closed(at + 8)),
            Some(Connection),
            true,
        ),
        cell(
            "fin",
            whole(),
            ending(End::Closed(at)),
            Some(Truncated),
            true,
        ),
        cell(
            "fin-in-line",
            whole(),
            ending(End::Closed(at + 9)),
            Some(Truncated),
            true,
        ),
        cell(
            "silent-truncation",
            Reply::chunked(half),
            clean(),
            Some(Truncated),
            true,
        ),
        cell(
            "malformed",
            failing("data: {\"broken\n\n"),
            clean(),
            Some(Malformed),
            true,
        ),
        cell(
            "page",
            Reply::stream("<html>Sorry</html>"),
            clean(),
            Some(Malformed),
            false,
        ),
        cell(
            "error",
            failing(vendor.error.0),
            clean(),
            Some(vendor.error.1),
            true,
        ),
        cell("empty", Reply::stream(""), clean(), Some(Truncated), false),
        cell(
            "comments-only",
            Reply::stream(comments),
            clean(),
            Some(Truncated),
            false,
        ),
        cell(
            "huge-line",
            Reply::stream(huge),
            clean(),
            Some(Malformed),
            false,
        ),
        cell(
            "single-bytes",
            whole(),
            Faults {
                slice: Some(1),
                ..clean()
            },
            None,
            false,
        ),
        cell(
            "slow-bytes",
            whole(),
            Faults {
                slice: Some(97),
                rate: Some(8000),
                ..clean()
            },
            None,
            false,
        ),
        cell(
            "crlf",
            Reply::stream(vendor.text.replace('\n', "\r\n")),
            clean(),
            None,
            false,
        ),
        cell(
            "cr",
            Reply::stream(vendor.text.replace('\n', "\r")),
            Faults {
                slice: Some(3),
                ..clean()
            },
            None,
            false,
        ),
        cell(
            "bom",
            Reply::stream(format!("\u{feff}{}", vendor.text)),
            Faults {
                slice: Some(1),
                ..clean()
            },
            None,
            false,
        ),
    ]
}
