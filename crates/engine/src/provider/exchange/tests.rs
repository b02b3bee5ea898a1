use super::{reader::Reader, *};
use crate::provider::sse;
use crate::provider::testing::{Item, endpoint};
use headwater_protocol::{ErrorCode, FinishReason};

/// A vendor whose every event is a text, and whose answer ends with `"end"`.
#[derive(Default)]
struct Toy {
    finished: bool,
}

impl Decode for Toy {
    const LINES: bool = true;

    fn has_finish(&self) -> bool {
        self.finished
    }

    fn event(&mut self, event: &sse::Event, out: &mut Ready) -> Result<Flow, Error> {
        let text = event.data.clone();
        self.finished |= text.contains("end");
        out.push_back(ProviderEvent::Delta { index: 0, text });
        Ok(Flow::More)
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let text = String::from_utf8_lossy(body).into_owned();
        out.push_back(ProviderEvent::Delta { index: 1, text });
        Ok(())
    }

    fn break_off(&mut self, _: &mut Ready) {}

    fn end(&mut self, out: &mut Ready) {
        if self.finished {
            out.push_back(ProviderEvent::Finished {
                reason: FinishReason::Stop,
                word: String::new(),
            });
        }
    }
}

fn read(body: &[u8], size: usize) -> Vec<Item> {
    let mut reader = Reader::new(endpoint(), Toy::default());
    let mut out = Ready::new();
    let mut result = Ok(Flow::More);
    for chunk in body.chunks(size) {
        result = reader.push(chunk, &mut out);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        result = reader.end(&mut out).map(|()| Flow::Done);
    }
    let items = out.into_iter().map(Ok);
    items.chain(result.err().map(Err)).collect()
}

fn texts(body: &str) -> Vec<(u32, String)> {
    let items = read(body.as_bytes(), body.len().max(1));
    for size in 1..body.len() {
        assert_eq!(read(body.as_bytes(), size), items, "{body:?} by {size}");
    }
    let text = |item: Item| match item {
        Ok(ProviderEvent::Delta { index, text }) => Some((index, text)),
        _ => None,
    };
    items.into_iter().filter_map(text).collect()
}

#[test]
fn the_first_character_tells_the_form() {
    let all = |index, texts: &[&str]| -> Vec<_> {
        texts.iter().map(|text| (index, text.to_string())).collect()
    };
    assert_eq!(texts(""), []);
    assert_eq!(texts(" \n\r\n"), []);
    assert_eq!(texts("data: 1\n\ndata: 2\n\n"), all(0, &["1", "2"]));
    assert_eq!(texts(": hello\n\ndata: 1\n\n"), all(0, &["1"]));
    // An event without its last line counts if its document is whole.
    assert_eq!(texts("data: {\"a\":1}"), all(0, &["{\"a\":1}"]));
    assert_eq!(texts("data: {\"a\":"), []);
    // Lines of JSON, with and without the last end of line.
    let lines = all(0, &["{\"a\":1}", "{\"é\":2}"]);
    assert_eq!(texts("{\"a\":1}\n{\"é\":2}\n"), lines);
    assert_eq!(texts("\n{\"a\":1}\r\n\r\n \n{\"é\":2}"), lines);
    assert_eq!(texts("{\"a\":1}\n{\"é\":"), lines[..1]);
    assert_eq!(texts("[1,\n2]"), all(0, &["[1,\n2]"]));
}

#[test]
fn a_page_and_an_endless_document_are_errors() {
    for size in [1, 100] {
        let page = read(b"\n<!doctype html><title>Hi</title>", size);
        let error = page[0].as_ref().unwrap_err();
        assert_eq!(error.code, ErrorCode::Malformed);
        assert!(!error.retryable && error.message.contains("a web page"));
    }
    let huge = vec![b'['; sse::MAX_BYTES + 1];
    let error = read(&huge, 1 << 16).pop().unwrap().unwrap_err();
    assert!(error.message.contains("too large"), "{error}");
    let mut line = vec![b'x'; sse::MAX_BYTES + 2];
    line[0] = b'{';
    assert_eq!(
        read(&line, 1 << 16).pop().unwrap().unwrap_err().code,
        ErrorCode::Malformed
    );
}

#[test]
fn a_failure_after_the_finish_is_none() {
    let mut reader = Reader::new(endpoint(), Toy::default());
    let mut out = Ready::new();
    reader.push(b"{\"end\":1}\n", &mut out).unwrap();
    assert!(reader.has_finish());
    reader
        .fail(http::broken(&endpoint().url), &mut out)
        .unwrap();
    assert!(matches!(out.back(), Some(ProviderEvent::Finished { .. })));
}

#[test]
fn settings_keep_their_digits() {
    assert_eq!(short(0.2).to_string(), "0.2");
    assert_eq!(short(1.0).to_string(), "1");
    assert!(short(f32::NAN).is_null());
}

#[test]
fn only_what_differs_is_remembered() {
    let memory = memory::Memory::default();
    for number in 0..1000 {
        memory.keep(number.to_string(), 2, 1);
    }
    assert_eq!(memory.get("0"), Some(2));
    assert_eq!(memory.get("999"), None);
    memory.keep("0".into(), 1, 1);
    assert_eq!(memory.get("0"), None);
}

#[test]
fn names_without_number_are_not_remembered() {
    let memory = memory::Memory::default();
    for number in 0..1000 {
        memory.set(number.to_string(), number);
    }
    memory.set("0".into(), 5);
    assert_eq!(memory.get("0"), Some(5), "what is known may change");
    let known = (0..1000).filter(|number| memory.get(&number.to_string()).is_some());
    assert_eq!(known.count(), 256);
}
