//! A script that has been read: scenarios made of steps.

use super::pieces::Pieces;
use crate::provider::{ChatMessage, ChatRequest, Part, Role};
use headwater_protocol::{BlockKind, Error, FinishReason, Stage, ToolCall, Usage};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// All scenarios of a file.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) prefill: bool,
    pub(super) scenarios: Vec<Arc<Scenario>>,
}

/// One model of the list.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) note: Option<String>,
    pub(super) pace: f64,
    pub(super) pieces: Pieces,
    pub(super) steps: Vec<Step>,
}

/// One step. Repeats are already expanded.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Stage(Stage),
    Connected,
    Wait(Duration),
    Pace(f64),
    Output {
        kind: BlockKind,
        tool: Option<ToolCall>,
        text: Content,
    },
    Usage(Usage),
    Fault {
        fault: Fault,
        again: bool,
        times: Option<Arc<Times>>,
    },
    End {
        reason: FinishReason,
        word: String,
    },
}

/// The text of a step.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Fixed(Arc<str>),
    /// The last message of the person.
    Echo,
    /// The settings of the request.
    Settings,
    /// The last results of tools.
    Results,
}

/// A failure.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Error(Error),
    Stall,
    Panic,
    /// The stream ends without a terminal event.
    Silent,
}

/// Counts the streams that meet a fault: it happens to `hits` streams, then lets one through, and
/// so on.
#[derive(Debug)]
pub(super) struct Times {
    hits: u32,
    seen: AtomicU32,
}

impl Times {
    pub(super) fn new(hits: u32) -> Self {
        Self {
            hits,
            seen: AtomicU32::new(0),
        }
    }

    /// Counts a stream. Returns whether the fault happens to it.
    pub(super) fn hit(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        u64::from(seen) % (u64::from(self.hits) + 1) < u64::from(self.hits)
    }
}

impl Content {
    pub(super) fn resolve(&self, request: &ChatRequest) -> Arc<str> {
        match self {
            Self::Fixed(text) => text.clone(),
            Self::Settings => settings(request).into(),
            Self::Results => results(request).into(),
            Self::Echo => request
                .messages
                .iter()
                .rev()
                .find(|message| message.role == Role::User)
                .map_or_else(|| "".into(), |message| message.text().into()),
        }
    }
}

/// One line for each tool result in the last turn.
fn results(request: &ChatRequest) -> String {
    let parts = request.messages.last().map(|turn| turn.parts.as_slice());
    parts
        .unwrap_or_default()
        .iter()
        .filter_map(|part| match part {
            Part::ToolResult { call, text, failed } => {
                let failed = if *failed { " (failed)" } else { "" };
                Some(format!("- {}{failed}: {}\n", call.name, text.trim_end()))
            }
            _ => None,
        })
        .collect()
}

/// One line for each setting; “default” if it is not set.
fn settings(request: &ChatRequest) -> String {
    let sampling = &request.sampling;
    let number = |number: Option<f32>| number.map(|number| number.to_string());
    let lines = [
        ("system", request.system.clone()),
        ("temperature", number(sampling.temperature)),
        ("top-p", number(sampling.top_p)),
        (
            "most tokens",
            sampling.max_tokens.map(|most| most.to_string()),
        ),
        (
            "effort",
            sampling
                .effort
                .map(|effort| format!("{effort:?}").to_lowercase()),
        ),
    ];
    lines
        .into_iter()
        .map(|(name, value)| format!("- {name}: {}\n", value.as_deref().unwrap_or("default")))
        .collect()
}

impl Scenario {
    /// The first step to play: after as many ends as there were rounds of tool calls since the
    /// person's last message. A scenario without a further part is played from its beginning.
    pub(super) fn start(&self, request: &ChatRequest) -> usize {
        let results = |turn: &&ChatMessage| {
            let of_tool = |part: &Part| matches!(part, Part::ToolResult { .. });
            turn.role == Role::Assistant || turn.parts.iter().any(of_tool)
        };
        let turns = request.messages.iter().rev().take_while(results);
        let rounds = turns.filter(|turn| turn.role == Role::User).count();
        let ends = self.steps.iter().enumerate();
        let mut ends = ends.filter(|(_, step)| matches!(step, Step::End { .. }));
        let end = rounds.checked_sub(1).and_then(|at| ends.nth(at));
        end.map_or(0, |(at, _)| at + 1)
    }

    /// The text of a stream without faults.
    pub(super) fn text(&self, request: &ChatRequest) -> String {
        let mut whole = String::new();
        for step in &self.steps[self.start(request)..] {
            match step {
                Step::Output {
                    kind: BlockKind::Text,
                    text,
                    ..
                } => whole.push_str(&text.resolve(request)),
                Step::End { .. } => break,
                _ => {}
            }
        }
        whole
    }
}

impl Script {
    pub(super) fn find(&self, name: &str) -> Option<Arc<Scenario>> {
        self.scenarios
            .iter()
            .find(|scenario| scenario.name == name)
            .cloned()
    }
}
