//! What the tabs of a browser tell each other, so that one of them opens the streams of all.
//!
//! The tab that leads opens a stream for each [`Note::Open`] and passes on what it says. Notes come from pages of
//! this server only; what cannot be read is passed over, because a tab may run an older program.

use super::follow::Input;
use headwater_protocol::{RunId, Seq, socket::Format};

/// A note on the channel between the tabs.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The sender leads from now on.
    Leading,
    /// The sender leads no more: its tab is closed or put to sleep.
    Leaving,
    /// A tab wants a stream.
    Open {
        /// Who wants it, and which of its streams it is.
        stream: Stream,
        /// What it shows.
        wanted: Wanted,
    },
    /// The leader has taken on a stream.
    Taken(Stream),
    /// A tab does not want a stream any more.
    Close(Stream),
    /// Something came of a stream.
    Said {
        /// The stream.
        stream: Stream,
        /// What came.
        input: Input,
    },
}

/// A stream of a tab.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The tab, by a name that it has made up.
    pub tab: String,
    /// The number that the tab has given to it.
    pub number: u32,
}

/// What a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The run.
    pub run: RunId,
    /// The last entry that the reader has.
    pub after: Seq,
    /// What the data of a frame is.
    pub format: Format,
}

impl Note {
    /// The note as text: words with spaces between them. Only the last may have spaces in it.
    pub fn encode(&self) -> String {
        let of = |word: &str, stream: &Stream| {
            [word, " ", &stream.tab, " ", &stream.number.to_string()].concat()
        };
        match self {
            Self::Leading => "leading".to_owned(),
            Self::Leaving => "leaving".to_owned(),
            Self::Taken(stream) => of("taken", stream),
            Self::Close(stream) => of("close", stream),
            Self::Open { stream, wanted } => {
                let format = wanted.format.word();
                let (run, after) = (wanted.run.to_string(), wanted.after.to_string());
                [&of("open", stream), " ", format, " ", &run, " ", &after].concat()
            }
            Self::Said { stream, input } => match input {
                Input::Frame { id, data } => {
                    [&of("frame", stream), " ", id, " ", data.as_str()].concat()
                }
                Input::Broken { gave_up: true } => of("refused", stream),
                Input::Broken { gave_up: false } => of("broken", stream),
                _ => of("opened", stream),
            },
        }
    }

    /// Reads the output of [`Note::encode`]. `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "leading" => return Some(Self::Leading),
            "leaving" => return Some(Self::Leaving),
            _ => {}
        }
        let mut words = rest.splitn(3, ' ');
        let stream = Stream {
            tab: words.next().filter(|tab| !tab.is_empty())?.to_owned(),
            number: words.next()?.parse().ok()?,
        };
        let rest = words.next().unwrap_or_default();
        let input = match word {
            "taken" => return Some(Self::Taken(stream)),
            "close" => return Some(Self::Close(stream)),
            "open" => {
                let mut words = rest.split(' ');
                let wanted = Wanted {
                    format: Format::of(words.next()?)?,
                    run: words.next()?.parse().ok()?,
                    after: words.next()?.parse().ok()?,
                };
                return Some(Self::Open { stream, wanted });
            }
            "frame" => {
                let (id, data) = rest.split_once(' ')?;
                let (id, data) = (id.to_owned(), data.to_owned());
                Input::Frame { id, data }
            }
            "refused" => Input::Broken { gave_up: true },
            "broken" => Input::Broken { gave_up: false },
            "opened" => Input::Opened,
            _ => return None,
        };
        Some(Self::Said { stream, input })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_are_written_and_nothing_else() {
        let stream = || Stream {
            tab: "0190-ab".into(),
            number: 7,
        };
        let said = |input| Note::Said {
            stream: stream(),
            input,
        };
        let frame = |id: &str, data: &str| {
            said(Input::Frame {
                id: id.into(),
                data: data.into(),
            })
        };
        let wanted = |format| Wanted {
            run: "0190a0c4-0000-7000-8000-000000000001".parse().unwrap(),
            after: 12,
            format,
        };
        let open = |format| Note::Open {
            stream: stream(),
            wanted: wanted(format),
        };
        for note in [
            Note::Leading,
            Note::Leaving,
            open(Format::Events),
            open(Format::Entries),
            Note::Taken(stream()),
            Note::Close(stream()),
            said(Input::Opened),
            said(Input::Broken { gave_up: true }),
            said(Input::Broken { gave_up: false }),
            frame("12", "{\"text\": \"two  words \\n\"}"),
            frame("", "{\"type\":\"ping\"}"),
            frame("1", ""),
        ] {
            let text = note.encode();
            assert_eq!(Note::decode(&text), Some(note), "{text}");
        }
        for text in [
            "",
            "dance",
            "open",
            "open a",
            "open a b",
            "open a 1 events x 2",
            "open a 1 events",
            "frame a 1 2",
            "taken",
            "taken  1",
            "said a 1",
        ] {
            assert_eq!(Note::decode(text), None, "{text}");
        }
    }
}
