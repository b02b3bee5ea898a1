//! The spans of a run. One that has ended stays: its model may have called tools, and attempts may follow it.

use super::facts::{Run, Span};
use headwater_protocol::{Event, SpanNo};
use serde_json::Value;
use std::collections::HashMap;

/// What is known of a run from the entries so far.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) run: Option<Run>,
    pub(super) spans: HashMap<SpanNo, Span>,
}

impl Tree {
    /// Takes an event, before it is told.
    pub(super) fn apply(&mut self, event: &Event, ms: u64) {
        match event {
            Event::RunStarted {
                run,
                conversation,
                message,
                parent,
                model,
                at,
                continues,
                ..
            } => {
                self.run = Some(Run {
                    run: *run,
                    conversation: *conversation,
                    message: *message,
                    parent: *parent,
                    model: model.clone(),
                    at: *at,
                    continues: *continues,
                });
            }
            Event::SpanStarted {
                span,
                parent,
                kind,
                name,
                tags,
                metadata,
                input,
                replaces,
            } => {
                let outer = parent.and_then(|parent| self.spans.get(&parent));
                let mut path = outer.map_or_else(Vec::new, |outer| outer.path.clone());
                path.extend(outer.map(|outer| outer.number));
                let mut all = outer.map_or_else(Vec::new, |outer| outer.tags.clone());
                for tag in tags {
                    if !all.contains(tag) {
                        all.push(tag.clone());
                    }
                }
                let metadata = merged(outer.map(|outer| &outer.metadata), metadata);
                let begun = Span {
                    number: *span,
                    path,
                    kind: *kind,
                    name: name.clone(),
                    tags: all,
                    metadata,
                    input: input.clone(),
                    replaces: *replaces,
                    started: ms,
                };
                self.spans.insert(*span, begun);
            }
            _ => {}
        }
    }
}

/// The fields of both, where both are objects; else the inner value, unless that is null.
fn merged(outer: Option<&Value>, inner: &Value) -> Value {
    match (outer, inner) {
        (Some(Value::Object(outer)), Value::Object(inner)) => {
            let mut all = outer.clone();
            all.extend(inner.clone());
            Value::Object(all)
        }
        (Some(outer), Value::Null) => outer.clone(),
        (_, inner) => inner.clone(),
    }
}
