//! A run as the inspector shows it: its entries as rows of a list, its spans as bars of a waterfall.
//!
//! Pure data. Rows come one by one, by the entry's number; what a filter leaves of them is kept up to date
//! with each, so that a long run costs no more per entry than a short one.

use headwater_protocol::{Event, Seq, SpanKind, SpanNo, Status, chat::Applied};
use serde_json::Value;
use std::collections::HashMap;

/// How many spans may be around a span whose rows are still filtered by it. A log has fewer; a broken one
/// could name a circle.
const DEEPEST: usize = 64;

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Row {
    /// Milliseconds since the run was accepted.
    pub at: u64,
    /// The type of the event, as it is on the wire.
    pub kind: &'static str,
    /// The span that it is about.
    pub span: Option<SpanNo>,
    /// The event as it came.
    pub json: Box<str>,
    /// What it says, in small letters, for the search.
    text: Box<str>,
}

impl Row {
    /// An event with its time, and as JSON.
    pub fn new(at: u64, event: &Event, json: &str) -> Self {
        Self {
            at,
            kind: kind_of(event),
            span: event.span(),
            json: json.into(),
            text: text_of(event).to_lowercase().into(),
        }
    }
}

/// A span.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its number.
    pub span: SpanNo,
    /// The span that contains it.
    pub parent: Option<SpanNo>,
    /// How many spans are around it.
    pub depth: usize,
    /// The kind of work.
    pub kind: SpanKind,
    /// A short name, such as that of the model or the tool.
    pub name: String,
    /// Its labels, behind those of the spans around it.
    pub tags: Vec<String>,
    /// When it began, in milliseconds since the run was accepted.
    pub from: u64,
    /// When and how it ended.
    pub end: Option<(u64, Status)>,
}

/// Which entries a person wants to see. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A type of events or a kind of spans, as it is on the wire; empty for all.
    pub kind: String,
    /// What the name of the span, one of its labels or the text of the entry contains, in small letters; empty for
    /// all.
    pub words: String,
    /// Only this span and those that it contains.
    pub span: Option<SpanNo>,
}

/// Everything that the inspector knows of a run.
#[derive(Debug, Default)]
pub struct Record {
    rows: Vec<Row>,
    bars: Vec<Bar>,
    places: HashMap<SpanNo, usize>,
    /// The places of the bars, each behind the one that contains it; `None` if a bar has come since.
    order: Option<Vec<usize>>,
    wanted: Wanted,
    /// The numbers of the entries that are wanted.
    shown: Vec<Seq>,
    /// How the run ended.
    status: Option<Status>,
}

impl Record {
    /// Takes an entry: its number, its time, its event, and that as JSON.
    pub fn push(&mut self, seq: Seq, at: u64, json: &str, event: &Event) -> Applied {
        if let Event::Snapshot { .. } = event {
            // The log is shorter than what was seen of it. It is read again from its start.
            *self = Self {
                wanted: std::mem::take(&mut self.wanted),
                ..Self::default()
            };
            return Applied::New;
        }
        let next = self.len() + 1;
        if seq != next {
            return if seq < next {
                Applied::Known
            } else {
                Applied::Gap
            };
        }
        match event {
            Event::SpanStarted {
                span,
                parent,
                kind,
                name,
                tags,
                ..
            } => self.begin(*span, *parent, *kind, name, tags, at),
            Event::SpanFinished { span, status, .. } => {
                if let Some(place) = self.places.get(span) {
                    self.bars[*place].end = Some((at, *status));
                }
            }
            Event::RunFinished { status, .. } => self.status = Some(*status),
            _ => {}
        }
        self.rows.push(Row::new(at, event, json));
        if self.wants(next) {
            self.shown.push(next);
        }
        Applied::New
    }

    fn begin(
        &mut self,
        span: SpanNo,
        parent: Option<SpanNo>,
        kind: SpanKind,
        name: &str,
        tags: &[String],
        from: u64,
    ) {
        let outer = parent.and_then(|parent| self.bar(parent));
        let mut all = outer.map_or_else(Vec::new, |outer| outer.tags.clone());
        all.extend(tags.iter().cloned());
        let bar = Bar {
            span,
            parent: outer.map(|outer| outer.span),
            depth: outer.map_or(0, |outer| outer.depth + 1),
            kind,
            name: name.to_owned(),
            tags: all,
            from,
            end: None,
        };
        self.places.insert(span, self.bars.len());
        self.bars.push(bar);
        self.order = None;
    }

    /// How many entries there are, which is the number of the last one.
    pub fn len(&self) -> Seq {
        self.rows.len() as Seq
    }

    /// Whether nothing came yet.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// An entry by its number.
    pub fn row(&self, seq: Seq) -> Option<&Row> {
        self.rows.get(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    /// A span by its number.
    pub fn bar(&self, span: SpanNo) -> Option<&Bar> {
        self.places.get(&span).map(|place| &self.bars[*place])
    }

    /// All spans: each behind the one that contains it, and beside each other in the order in which they began.
    pub fn bars(&mut self) -> impl ExactSizeIterator<Item = &Bar> {
        let bars = &self.bars;
        let order = self.order.get_or_insert_with(|| in_order(bars));
        order.iter().map(|place| &bars[*place])
    }

    /// How many spans there are.
    pub fn spans(&self) -> usize {
        self.bars.len()
    }

    /// When the last entry came, in milliseconds since the run was accepted.
    pub fn duration(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.at)
    }

    /// How the run ended; `None` while it runs.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// The last entry that had come at this time; 1 before the first.
    pub fn at(&self, ms: u64) -> Seq {
        (self.rows.partition_point(|row| row.at <= ms) as Seq).max(1)
    }

    /// The numbers of the entries that are wanted, in their order.
    pub fn shown(&self) -> &[Seq] {
        &self.shown
    }

    /// Chooses which entries are shown.
    pub fn want(&mut self, wanted: Wanted) {
        if wanted != self.wanted {
            self.wanted = wanted;
            self.shown = (1..=self.len()).filter(|seq| self.wants(*seq)).collect();
        }
    }

    fn wants(&self, seq: Seq) -> bool {
        let Some(row) = self.row(seq) else {
            return false;
        };
        let Wanted { kind, words, span } = &self.wanted;
        let bar = row.span.and_then(|span| self.bar(span));
        let is_kind = || kind == row.kind || bar.is_some_and(|bar| kind == span_word(bar.kind));
        let is_named = || {
            let named = |text: &str| text.to_lowercase().contains(words.as_str());
            bar.is_some_and(|bar| named(&bar.name) || bar.tags.iter().any(|tag| named(tag)))
                || row.text.contains(words.as_str())
        };
        (kind.is_empty() || is_kind())
            && (words.is_empty() || is_named())
            && span.is_none_or(|span| self.is_within(row.span, span))
    }

    fn is_within(&self, span: Option<SpanNo>, outer: SpanNo) -> bool {
        let around = |span: &SpanNo| self.bar(*span).and_then(|bar| bar.parent);
        let mut path = std::iter::successors(span, around).take(DEEPEST);
        path.any(|span| span == outer)
    }
}

/// The places of bars, each behind the one that contains it.
fn in_order(bars: &[Bar]) -> Vec<usize> {
    let mut children: HashMap<Option<SpanNo>, Vec<usize>> = HashMap::new();
    for (place, bar) in bars.iter().enumerate() {
        children.entry(bar.parent).or_default().push(place);
    }
    let mut order = Vec::with_capacity(bars.len());
    let mut next = children.remove(&None).unwrap_or_default();
    next.reverse();
    while let Some(place) = next.pop() {
        order.push(place);
        let within = children.remove(&Some(bars[place].span));
        next.extend(within.into_iter().flatten().rev());
    }
    order
}

/// The type of an event, as it is on the wire.
fn kind_of(event: &Event) -> &'static str {
    match event {
        Event::RunStarted { .. } => "run_started",
        Event::SpanStarted { .. } => "span_started",
        Event::BlockStarted { .. } => "block_started",
        Event::Delta { .. } => "delta",
        Event::BlockFinished { .. } => "block_finished",
        Event::BlockRelabelled { .. } => "block_relabelled",
        Event::Progress { .. } => "progress",
        Event::Usage { .. } => "usage",
        Event::Custom { .. } => "custom",
        Event::ApprovalRequested { .. } => "approval_requested",
        Event::ApprovalGiven { .. } => "approval_given",
        Event::SpanFinished { .. } => "span_finished",
        Event::RunFinished { .. } => "run_finished",
        Event::Ping { .. } | Event::Snapshot { .. } | Event::GoingAway { .. } | Event::Unknown => {
            "unknown"
        }
    }
}

/// What a person or a program said in an event.
fn text_of(event: &Event) -> String {
    let json = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match event {
        Event::Delta { text, .. } => text.clone(),
        Event::SpanStarted { input, .. } => json(input),
        Event::Custom { name, data, .. } => [name, " ", &json(data)].concat(),
        Event::SpanFinished { output, error, .. } => match error {
            Some(error) => error.message.clone(),
            None => json(output),
        },
        Event::RunFinished {
            error: Some(error), ..
        } => error.message.clone(),
        Event::BlockStarted {
            tool: Some(tool), ..
        } => tool.name.clone(),
        _ => String::new(),
    }
}

/// A kind of spans, as it is on the wire.
pub fn span_word(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Chain => "chain",
        SpanKind::Agent => "agent",
        SpanKind::ChatModel => "chat_model",
        SpanKind::Tool => "tool",
        SpanKind::Retriever => "retriever",
        SpanKind::Prompt => "prompt",
        SpanKind::Parser => "parser",
        SpanKind::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::{Timing, Usage};

    fn begin(span: SpanNo, parent: Option<SpanNo>, kind: SpanKind, name: &str, tag: &str) -> Event {
        Event::SpanStarted {
            span,
            parent,
            kind,
            name: name.into(),
            tags: vec![tag.into()],
            metadata: Value::Null,
            input: Value::Null,
            replaces: None,
        }
    }

    fn end(span: SpanNo) -> Event {
        Event::SpanFinished {
            span,
            status: Status::Ok,
            output: Value::Null,
            finish: None,
            usage: None,
            timing: None,
            error: None,
        }
    }

    fn text(span: SpanNo, text: &str) -> Event {
        Event::Delta {
            span,
            block: span,
            text: text.into(),
            from: None,
        }
    }

    fn record(events: &[Event]) -> Record {
        let mut record = Record::default();
        for (place, event) in events.iter().enumerate() {
            let json = serde_json::to_string(event).expect("JSON");
            let seq = place as Seq + 1;
            assert_eq!(record.push(seq, seq * 10, &json, event), Applied::New);
        }
        record
    }

    fn two_branches() -> Record {
        record(&[
            begin(1, None, SpanKind::Chain, "whole", "mine"),
            begin(2, Some(1), SpanKind::ChatModel, "One", "left"),
            begin(3, Some(1), SpanKind::ChatModel, "Two", "right"),
            begin(4, Some(2), SpanKind::Tool, "search", "slow"),
            text(3, "found"),
            end(4),
            end(3),
            end(2),
            end(1),
            Event::RunFinished {
                status: Status::Ok,
                usage: Usage::default(),
                timing: Timing::default(),
                error: None,
                length: 5,
                hash: String::new(),
            },
        ])
    }

    #[test]
    fn a_bar_stands_behind_the_one_that_contains_it() {
        let mut record = two_branches();
        let bars: Vec<_> = record.bars().map(|bar| (bar.span, bar.depth)).collect();
        assert_eq!(bars, [(1, 0), (2, 1), (4, 2), (3, 1)]);
        let search = record.bar(4).expect("a bar");
        assert_eq!((search.from, search.end), (40, Some((60, Status::Ok))));
        assert_eq!(search.tags, ["mine", "left", "slow"]);
        assert_eq!(record.status(), Some(Status::Ok));
        assert_eq!(record.duration(), 100);
    }

    #[test]
    fn a_filter_leaves_what_it_names() {
        let mut record = two_branches();
        let wanted = |kind: &str, words: &str, span| Wanted {
            kind: kind.into(),
            words: words.into(),
            span,
        };
        for (filter, left) in [
            (wanted("", "", None), vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            (wanted("delta", "", None), vec![5]),
            (wanted("chat_model", "", None), vec![2, 3, 5, 7, 8]),
            (wanted("", "left", None), vec![2, 4, 6, 8]),
            (wanted("", "two", None), vec![3, 5, 7]),
            (wanted("", "foun", None), vec![5]),
            (wanted("", "span", None), vec![]),
            (wanted("", "", Some(2)), vec![2, 4, 6, 8]),
            (wanted("span_finished", "", Some(2)), vec![6, 8]),
            (wanted("custom", "", None), vec![]),
        ] {
            record.want(filter.clone());
            assert_eq!(record.shown(), left, "{filter:?}");
        }
    }

    #[test]
    fn a_filter_holds_for_what_comes_later() {
        let mut record = Record::default();
        record.want(Wanted {
            kind: "delta".into(),
            ..Wanted::default()
        });
        for (seq, event) in [(1, text(1, "a")), (2, end(1)), (3, text(1, "b"))] {
            record.push(seq, 0, "{}", &event);
        }
        assert_eq!(record.shown(), [1, 3]);
    }

    #[test]
    fn an_entry_counts_once_and_a_gap_is_seen() {
        let mut record = record(&[text(1, "a")]);
        assert_eq!(record.push(1, 0, "{}", &text(1, "a")), Applied::Known);
        assert_eq!(record.push(3, 0, "{}", &text(1, "c")), Applied::Gap);
        assert_eq!(record.len(), 1);
        let snapshot = Event::Snapshot {
            seq: 1,
            answer: Value::Null,
        };
        assert_eq!(record.push(1, 0, "{}", &snapshot), Applied::New);
        assert!(record.is_empty());
    }

    #[test]
    fn a_time_has_the_last_entry_before_it() {
        let record = two_branches();
        for (ms, seq) in [(0, 1), (10, 1), (19, 1), (20, 2), (99, 9), (1_000, 10)] {
            assert_eq!(record.at(ms), seq, "{ms}");
        }
    }
}
