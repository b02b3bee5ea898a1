//! A part of a run: the entries of some spans.

use crate::{
    log::{Source, frame},
    packed::Item,
};
use bytes::{Bytes, BytesMut};
use headwater_protocol::{Error, ErrorCode, Event, Seq, SpanKind, SpanNo};
use std::collections::{HashMap, VecDeque};

/// How many entries are looked at before others may work.
const BATCH: usize = 256;

/// Which spans a reader wants, as LangChain's `astream_events` has it: with any `include`, a span needs
/// one that fits; a span that fits an `exclude` is left out in any case. What happens in a span comes or
/// goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Kinds of spans.
    pub include_kinds: Vec<SpanKind>,
    /// Kinds of spans.
    pub exclude_kinds: Vec<SpanKind>,
    /// Names of spans, such as that of a model or a tool.
    pub include_names: Vec<String>,
    /// Names of spans.
    pub exclude_names: Vec<String>,
    /// Labels of spans, or of those that contain them.
    pub include_tags: Vec<String>,
    /// Labels of spans, or of those that contain them.
    pub exclude_tags: Vec<String>,
    /// Only this span and those that it contains.
    pub span: Option<SpanNo>,
    /// How many spans may be around a span: 0 for the outermost only. With `span`, those around that one
    /// do not count.
    pub depth: Option<usize>,
}

/// What the data of a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The event alone, as pages read it.
    #[default]
    Events,
    /// The whole [`headwater_protocol::Entry`], with its number and its time. What is delivered and is no
    /// entry, such as a ping, stays an event.
    Entries,
}

impl Filter {
    /// Whether a list of words is a parameter of this name.
    fn is_list(name: &str) -> bool {
        let of = name
            .strip_prefix("include_")
            .or_else(|| name.strip_prefix("exclude_"));
        of.is_some_and(|of| matches!(of, "kinds" | "types" | "names" | "tags"))
    }

    /// Reads a filter from the parameters of an address: `include_kinds`, `exclude_kinds`,
    /// `include_names`, `exclude_names`, `include_tags` and `exclude_tags`, each with one or more words
    /// between commas and as often as needed; `span` and `depth`, each a number. Kinds may be called types, as
    /// LangChain does. Others are passed over. `None` if there is none of them.
    ///
    /// # Errors
    /// `invalid_request` for an empty list, an unknown kind or no number, with a sentence that says which.
    pub fn from_query<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, Error> {
        let mut filter = Self::default();
        for (name, value) in parameters {
            let words = value
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty());
            if Self::is_list(name) && words.clone().next().is_none() {
                let sentence = format!("The parameter “{name}” is empty.");
                return Err(Error::new(ErrorCode::InvalidRequest, sentence));
            }
            match name {
                "include_kinds" | "include_types" => filter.include_kinds.extend(kinds(words)?),
                "exclude_kinds" | "exclude_types" => filter.exclude_kinds.extend(kinds(words)?),
                "include_names" => filter.include_names.extend(words.map(str::to_owned)),
                "exclude_names" => filter.exclude_names.extend(words.map(str::to_owned)),
                "include_tags" => filter.include_tags.extend(words.map(str::to_owned)),
                "exclude_tags" => filter.exclude_tags.extend(words.map(str::to_owned)),
                "span" => filter.span = Some(number(name, value)?),
                "depth" => filter.depth = Some(number(name, value)?),
                _ => {}
            }
        }
        Ok((filter != Self::default()).then_some(filter))
    }

    fn wants(&self, kind: SpanKind, name: &str, facts: &Facts) -> bool {
        let has_name = |names: &[String]| names.iter().any(|one| one == name);
        let has_tag = |tags: &[String]| tags.iter().any(|tag| facts.tags.contains(tag));
        let all = self.include_kinds.is_empty()
            && self.include_names.is_empty()
            && self.include_tags.is_empty();
        let included = all
            || self.include_kinds.contains(&kind)
            || has_name(&self.include_names)
            || has_tag(&self.include_tags);
        let excluded = self.exclude_kinds.contains(&kind)
            || has_name(&self.exclude_names)
            || has_tag(&self.exclude_tags);
        let inside = self.span.is_none() || facts.depth_inside.is_some();
        let depth = facts.depth_inside.unwrap_or(facts.depth);
        included && !excluded && inside && self.depth.is_none_or(|most| depth <= most)
    }
}

fn kinds<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<SpanKind>, Error> {
    words
        .map(|word| {
            let kind: SpanKind = serde_json::from_value(word.into()).unwrap_or(SpanKind::Unknown);
            if kind != SpanKind::Unknown {
                return Ok(kind);
            }
            let sentence = format!(
                "“{word}” is no kind of span. There are chain, agent, chat_model, tool, retriever, \
                 prompt and parser."
            );
            Err(Error::new(ErrorCode::InvalidRequest, sentence))
        })
        .collect()
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| {
        let sentence = format!("The parameter “{name}” must be a number.");
        Error::new(ErrorCode::InvalidRequest, sentence)
    })
}

/// What a filter has to know of a span.
#[derive(Debug)]
struct Facts {
    /// Its labels and those of the spans around it.
    tags: Vec<String>,
    /// How many spans are around it.
    depth: usize,
    /// How many of them are inside of [`Filter::span`], if it is in there itself.
    depth_inside: Option<usize>,
    wanted: bool,
}

/// A filter at work on one run.
#[derive(Debug)]
pub(super) struct Filtering {
    filter: Filter,
    form: Form,
    spans: HashMap<SpanNo, Facts>,
}

impl Filtering {
    /// A filter that has seen the entries up to `after`.
    pub(super) async fn new(filter: Filter, form: Form, source: &Source, after: Seq) -> Self {
        let mut filtering = Self {
            filter,
            form,
            spans: HashMap::new(),
        };
        let mut seen = 0;
        while seen < after {
            let most = usize::try_from(after - seen).unwrap_or(BATCH).min(BATCH);
            let last = source.look_after(seen, most, |_, _, item| {
                filtering.passes(item);
            });
            if last == seen {
                break;
            }
            seen = last;
            tokio::task::yield_now().await;
        }
        filtering
    }

    /// Adds the frames of the next entries that pass, and returns the number of the last entry that was
    /// looked at.
    pub(super) fn read(&mut self, source: &Source, after: Seq, out: &mut VecDeque<Bytes>) -> Seq {
        let mut frames = BytesMut::new();
        let last = source.look_after(after, BATCH, |seq, at, item| {
            if self.passes(item) {
                match self.form {
                    Form::Events => frame::encode_item(seq, item, &mut frames),
                    Form::Entries => frame::encode_entry(seq, at, item, &mut frames),
                }
            }
        });
        if !frames.is_empty() {
            out.push_back(frames.freeze());
        }
        last
    }

    /// Whether an entry passes. Has to be asked of all entries, in their order.
    pub(super) fn passes(&mut self, item: Item<'_>) -> bool {
        let event = match item {
            Item::Delta { span, .. } => return self.is_wanted(span),
            Item::Json(_) => item.into_event(),
        };
        if let Event::SpanStarted {
            span,
            parent,
            kind,
            name,
            tags,
            ..
        } = &event
        {
            let outer = parent.and_then(|parent| self.spans.get(&parent));
            let mut all = outer.map_or_else(Vec::new, |outer| outer.tags.clone());
            all.extend(tags.iter().cloned());
            let depth_inside = match outer.and_then(|outer| outer.depth_inside) {
                Some(depth) => Some(depth + 1),
                None => (self.filter.span == Some(*span)).then_some(0),
            };
            let mut facts = Facts {
                tags: all,
                depth: outer.map_or(0, |outer| outer.depth + 1),
                depth_inside,
                wanted: false,
            };
            facts.wanted = self.filter.wants(*kind, name, &facts);
            self.spans.insert(*span, facts);
        }
        event.span().is_none_or(|span| self.is_wanted(span))
    }

    fn is_wanted(&self, span: SpanNo) -> bool {
        self.spans.get(&span).is_some_and(|facts| facts.wanted)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use crate::packed::Packed;
    use headwater_protocol::{Status, Timing, Usage};
    use proptest::prelude::*;
    use serde_json::Value;
    use std::sync::Arc;

    const KINDS: [SpanKind; 4] = [
        SpanKind::Chain,
        SpanKind::ChatModel,
        SpanKind::Tool,
        SpanKind::Retriever,
    ];

    /// A span of a random run: the place of its parent among the spans before, kind, name, tag.
    type Made = (prop::sample::Index, usize, u8, u8);

    fn made() -> impl Strategy<Value = Vec<Made>> {
        let one = (any::<prop::sample::Index>(), 0..KINDS.len(), 0..3u8, 0..3u8);
        prop::collection::vec(one, 1..12)
    }

    fn words(letter: &'static str) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec((0..4u8).prop_map(move |n| format!("{letter}{n}")), 0..2)
    }

    fn kinds() -> impl Strategy<Value = Vec<SpanKind>> {
        prop::collection::vec(prop::sample::select(KINDS.to_vec()), 0..2)
    }

    fn filters() -> impl Strategy<Value = Filter> {
        let lists = (
            kinds(),
            kinds(),
            words("name"),
            words("name"),
            words("tag"),
            words("tag"),
        );
        let rest = (
            prop::option::weighted(0.3, 1..12u32),
            prop::option::weighted(0.3, 0..4usize),
        );
        (lists, rest).prop_map(|(lists, (span, depth))| Filter {
            include_kinds: lists.0,
            exclude_kinds: lists.1,
            include_names: lists.2,
            exclude_names: lists.3,
            include_tags: lists.4,
            exclude_tags: lists.5,
            span,
            depth,
        })
    }

    /// The parent of a span: one of those before it, or none.
    fn parent(made: &[Made], place: usize) -> Option<usize> {
        let chosen = made[place].0.index(place + 1);
        chosen.checked_sub(1)
    }

    /// All spans open one after the other, write, and end in the other order.
    fn events(made: &[Made]) -> Vec<Event> {
        let mut events = vec![Event::GoingAway {
            reason: "stands for the first entry".into(),
            retry_ms: 0,
        }];
        let number = |place: usize| place as u32 + 1;
        for (place, (_, kind, name, tag)) in made.iter().enumerate() {
            events.push(Event::SpanStarted {
                span: number(place),
                parent: parent(made, place).map(number),
                kind: KINDS[*kind],
                name: format!("name{name}"),
                tags: vec![format!("tag{tag}")],
                metadata: Value::Null,
                input: Value::Null,
                replaces: None,
            });
            for text in ["one", "two"] {
                events.push(Event::Delta {
                    span: number(place),
                    block: number(place),
                    text: text.into(),
                    from: None,
                });
            }
        }
        for place in (0..made.len()).rev() {
            events.push(Event::Usage {
                span: number(place),
                usage: Usage::default(),
            });
            events.push(Event::SpanFinished {
                span: number(place),
                status: Status::Ok,
                output: Value::Null,
                finish: None,
                usage: None,
                timing: None,
                error: None,
            });
        }
        events.push(Event::RunFinished {
            status: Status::Ok,
            usage: Usage::default(),
            timing: Timing::default(),
            error: None,
            length: 0,
            hash: String::new(),
        });
        events
    }

    /// Whether a span is wanted, said once more in another way: by the spans around it.
    fn is_wanted(filter: &Filter, made: &[Made], place: usize) -> bool {
        let around: Vec<usize> =
            std::iter::successors(Some(place), |place| parent(made, *place)).collect();
        let (_, kind, name, _) = made[place];
        let (kind, name) = (KINDS[kind], format!("name{name}"));
        let has_tag = |tag: &String| {
            around
                .iter()
                .any(|at| *tag == format!("tag{}", made[*at].3))
        };
        let included = [
            (
                filter.include_kinds.is_empty(),
                filter.include_kinds.contains(&kind),
            ),
            (
                filter.include_names.is_empty(),
                filter.include_names.contains(&name),
            ),
            (
                filter.include_tags.is_empty(),
                filter.include_tags.iter().any(has_tag),
            ),
        ];
        if !included.iter().all(|(none, _)| *none) && !included.iter().any(|(_, fits)| *fits) {
            return false;
        }
        if filter.exclude_kinds.contains(&kind)
            || filter.exclude_names.contains(&name)
            || filter.exclude_tags.iter().any(has_tag)
        {
            return false;
        }
        let depth = match filter.span {
            None => around.len() - 1,
            Some(span) => match around.iter().position(|at| *at as u32 + 1 == span) {
                Some(depth) => depth,
                None => return false,
            },
        };
        filter.depth.is_none_or(|most| depth <= most)
    }

    fn frame(seq: usize, event: &Event) -> Vec<u8> {
        let mut out = BytesMut::new();
        frame::encode(Some(seq as Seq), event, &mut out);
        out.to_vec()
    }

    proptest! {
        #[test]
        fn a_filtered_stream_is_the_stream_without_some_frames(
            made in made(),
            filter in filters(),
            after in any::<prop::sample::Index>(),
        ) {
            let events = events(&made);
            let mut packed = Packed::default();
            for event in &events {
                packed.push(0, event);
            }
            let source = Source::Stored(Arc::new(packed));
            let after = after.index(events.len());
            let mut wanted = Vec::new();
            for (place, event) in events.iter().enumerate().skip(after) {
                let passes = event
                    .span()
                    .is_none_or(|span| is_wanted(&filter, &made, span as usize - 1));
                if passes {
                    wanted.extend(frame(place + 1, event));
                }
            }
            let filtering = Filtering::new(filter, Form::Events, &source, after as Seq);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut filtering = runtime.block_on(filtering);
            let (mut cursor, mut out) = (after as Seq, VecDeque::new());
            while cursor < events.len() as Seq {
                cursor = filtering.read(&source, cursor, &mut out);
            }
            let found: Vec<u8> = out.into_iter().flatten().collect();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn parameters_of_an_address_are_a_filter() {
        let read = |parameters: &[(&'static str, &'static str)]| {
            Filter::from_query(parameters.iter().copied())
        };
        assert_eq!(read(&[("run", "x"), ("after", "3")]).unwrap(), None);
        let filter = read(&[
            ("include_kinds", "tool, chat_model"),
            ("include_types", "chain"),
            ("exclude_names", "search,"),
            ("include_tags", "a b"),
            ("span", "3"),
            ("depth", "0"),
        ]);
        assert_eq!(
            filter.unwrap().unwrap(),
            Filter {
                include_kinds: vec![SpanKind::Tool, SpanKind::ChatModel, SpanKind::Chain],
                exclude_names: vec!["search".into()],
                include_tags: vec!["a b".into()],
                span: Some(3),
                depth: Some(0),
                ..Filter::default()
            }
        );
        for (name, value) in [
            ("include_kinds", "llm"),
            ("exclude_kinds", "unknown"),
            ("include_kinds", ""),
            ("exclude_tags", " , "),
            ("span", "x"),
            ("depth", "-1"),
        ] {
            let refused = read(&[(name, value)]).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidRequest, "{name}={value}");
        }
    }
}
