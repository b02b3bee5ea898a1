//! The fold of a packed log, and the end of one that breaks off.

use super::Packed;
use headwater_protocol::{
    Entry, Error, ErrorCode, Event, Seq, Status, Timing, Usage, chat::Answer,
};
use sha2::{Digest, Sha256};

/// The fold of a packed log.
pub fn fold(log: &Packed) -> Answer {
    fold_until(log, log.len())
}

/// The fold of the entries up to and with `last`.
pub(crate) fn fold_until(log: &Packed, last: Seq) -> Answer {
    let entries = log.after(0).take_while(|entry| entry.seq <= last);
    let entries: Vec<Entry> = entries.collect();
    Answer::fold(entries.iter().map(|entry| (entry.seq, &entry.event)))
}

/// SHA-256 of a text in hexadecimal, as [`Event::RunFinished`] carries it.
pub fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

pub(crate) fn interrupted() -> Error {
    Error::new(
        ErrorCode::Interrupted,
        "The server stopped while this was being written.",
    )
    .at("writing")
}

/// Adds the missing last entries to a log that breaks off because of `why`. Returns the status of the
/// run.
pub fn end(packed: &mut Packed, why: Error) -> Status {
    let at = packed.items_after(0).last().map_or(0, |(_, at, _)| at);
    let status = match why.code {
        ErrorCode::Interrupted => Status::Interrupted,
        _ => Status::Error,
    };
    for event in ending(&fold(packed), status, &why) {
        packed.push(at, &event);
    }
    status
}

fn ending(answer: &Answer, status: Status, error: &Error) -> Vec<Event> {
    let mut events: Vec<Event> = answer
        .spans
        .iter()
        .filter(|span| span.status.is_none())
        .map(|span| Event::SpanFinished {
            span: span.span,
            status,
            output: serde_json::Value::Null,
            finish: None,
            usage: None,
            timing: None,
            error: Some(error.clone()),
        })
        .collect();
    let text = answer.visible_text();
    events.push(Event::RunFinished {
        status,
        usage: Usage {
            estimated: true,
            ..answer.usage
        },
        timing: Timing {
            accepted: answer.accepted,
            ..Timing::default()
        },
        error: Some(error.clone()),
        length: text.len() as u64,
        hash: hash(&text),
    });
    events
}
