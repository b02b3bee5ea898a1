//! Plays one scenario for one request.

use super::{
    pieces::{Pieces, Word},
    script::{Fault, Scenario, Step},
};
use crate::provider::{ChatMessage, ChatRequest, ProviderEvent};
use headwater_protocol::{BlockKind, Error, FinishReason, ToolCall, Usage};
use serde_json::Value;
use std::{collections::VecDeque, future, sync::Arc, time::Duration};
use tokio::{task::coop, time};

/// A stream in progress. Nothing runs between two calls of [`Player::next`].
pub(super) struct Player {
    scenario: Arc<Scenario>,
    request: ChatRequest,
    /// The next step.
    step: usize,
    /// The text that is being sent, token by token.
    saying: Option<Saying>,
    /// How many bytes of the text are in the prefill already.
    skip: usize,
    /// Whether the prefill is being continued, so that faults are left out.
    continues: bool,
    block: Option<(u32, BlockKind)>,
    blocks: u32,
    connected: bool,
    usage: Usage,
    fixed_usage: bool,
    ready: VecDeque<ProviderEvent>,
    over: bool,
    forced_pace: Option<f64>,
    period: Option<Duration>,
    /// When the next token is due. The time is absolute, so that delays do not add up.
    due: Option<time::Instant>,
}

struct Saying {
    text: Arc<str>,
    at: usize,
    word: Word,
    kind: BlockKind,
    tool: Option<ToolCall>,
    /// The number of the block, once it is open.
    block: Option<u32>,
}

impl Player {
    pub(super) fn new(
        scenario: Arc<Scenario>,
        request: ChatRequest,
        forced_pace: Option<f64>,
    ) -> Self {
        let skip = match &request.prefill {
            Some(prefill) if scenario.text(&request).starts_with(prefill.as_str()) => prefill.len(),
            _ => 0,
        };
        let input = request
            .messages
            .iter()
            .map(ChatMessage::text)
            .chain(request.system.clone())
            .chain(request.prefill.clone())
            .map(|text| Pieces::Words.count(&text))
            .sum();
        let period = period(forced_pace.unwrap_or(scenario.pace));
        Self {
            step: scenario.start(&request),
            scenario,
            request,
            saying: None,
            skip,
            continues: skip > 0,
            block: None,
            blocks: 0,
            connected: false,
            usage: Usage {
                input,
                ..Usage::default()
            },
            fixed_usage: false,
            ready: VecDeque::new(),
            over: false,
            forced_pace,
            period,
            due: None,
        }
    }

    /// The next event, when its time has come.
    pub(super) async fn next(&mut self) -> Option<Result<ProviderEvent, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            if let Some(saying) = self.saying.take() {
                self.say(saying).await;
            } else if let Err(error) = self.advance().await {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    /// Sends one token and keeps the rest of the text.
    async fn say(&mut self, mut saying: Saying) {
        let rest = &saying.text[saying.at..];
        let length = if rest.is_empty() {
            0
        } else {
            self.scenario.pieces.cut(rest, &mut saying.word)
        };
        let end = saying.at + length;
        let mut start = saying.at;
        saying.at = end;
        if saying.kind == BlockKind::Text && self.skip > 0 {
            let skipped = self.skip.min(length);
            self.skip -= skipped;
            start += skipped;
        }
        if start < end {
            self.pace().await;
            let index = self.open(&mut saying);
            self.usage.output += 1;
            if saying.kind == BlockKind::Reasoning {
                self.usage.reasoning += 1;
            }
            self.ready.push_back(ProviderEvent::Delta {
                index,
                text: saying.text[start..end].into(),
            });
        }
        if end < saying.text.len() {
            self.saying = Some(saying);
        } else if saying.kind == BlockKind::ToolInput {
            let index = self.open(&mut saying);
            self.block = None;
            let value = serde_json::from_str(&saying.text).unwrap_or(Value::Null);
            self.ready
                .push_back(ProviderEvent::BlockFinished { index, value });
        }
    }

    /// Performs the next step.
    async fn advance(&mut self) -> Result<(), Error> {
        let scenario = self.scenario.clone();
        let Some(step) = scenario.steps.get(self.step) else {
            self.finish(FinishReason::Stop, "stop");
            return Ok(());
        };
        self.step += 1;
        // Of the steps that the prefill covers, only the text and the pace count.
        let past = self.skip > 0;
        match step {
            Step::Pace(pace) => {
                self.period = period(self.forced_pace.unwrap_or(*pace));
                self.due = None;
            }
            Step::Output { kind, tool, text } if *kind == BlockKind::Text || !past => {
                self.saying = Some(Saying {
                    text: text.resolve(&self.request),
                    at: 0,
                    word: Word::default(),
                    kind: *kind,
                    tool: tool.clone(),
                    block: None,
                });
            }
            Step::End { reason, word } => self.finish(*reason, word),
            _ if past => {}
            Step::Stage(stage) => self.ready.push_back(ProviderEvent::Stage(stage.clone())),
            Step::Connected => self.connect(),
            Step::Wait(wait) => {
                let now = time::Instant::now();
                let from = self.due.filter(|_| self.period.is_some()).unwrap_or(now);
                self.due = Some(from + *wait);
                time::sleep_until(from + *wait).await;
            }
            Step::Usage(usage) => {
                self.connect();
                self.usage = *usage;
                self.fixed_usage = true;
                self.ready.push_back(ProviderEvent::Usage(*usage));
            }
            Step::Fault { again: false, .. } if self.continues => {}
            Step::Fault {
                times: Some(times), ..
            } if !times.hit() => {}
            Step::Fault { fault, .. } => match fault {
                Fault::Error(error) => return Err(error.clone()),
                Fault::Stall => future::pending().await,
                Fault::Panic => panic!("the scenario “{}” asks for a panic", scenario.name),
                Fault::Silent => self.over = true,
            },
            // Unreachable: the arm above handles every output that the prefill does not cover.
            Step::Output { .. } => {}
        }
        Ok(())
    }

    /// Waits until the next token is due. Overdue tokens are all sent at once.
    async fn pace(&mut self) {
        if let Some(period) = self.period {
            let due = self.due.unwrap_or_else(time::Instant::now);
            if due > time::Instant::now() {
                time::sleep_until(due).await;
            }
            self.due = Some(due + period);
        }
        // Even without a pace, other tasks of the same thread must be able to run.
        coop::consume_budget().await;
    }

    fn connect(&mut self) {
        if !self.connected {
            self.connected = true;
            self.ready.push_back(ProviderEvent::Connected);
        }
    }

    /// Opens the block for a text, unless a block of its kind is open.
    fn open(&mut self, saying: &mut Saying) -> u32 {
        self.connect();
        if let Some(index) = saying.block {
            return index;
        }
        let index = match self.block {
            Some((index, kind)) if kind == saying.kind && saying.tool.is_none() => index,
            _ => {
                self.close();
                let index = self.blocks;
                self.blocks += 1;
                self.block = Some((index, saying.kind));
                self.ready.push_back(ProviderEvent::BlockStarted {
                    index,
                    kind: saying.kind,
                    tool: saying.tool.clone(),
                });
                index
            }
        };
        saying.block = Some(index);
        index
    }

    fn close(&mut self) {
        if let Some((index, _)) = self.block.take() {
            self.ready.push_back(ProviderEvent::BlockFinished {
                index,
                value: Value::Null,
            });
        }
    }

    fn finish(&mut self, reason: FinishReason, word: &str) {
        self.connect();
        self.close();
        if !self.fixed_usage {
            self.ready.push_back(ProviderEvent::Usage(self.usage));
        }
        self.ready.push_back(ProviderEvent::Finished {
            reason,
            word: word.into(),
        });
        self.over = true;
    }
}

/// The time between two tokens.
fn period(pace: f64) -> Option<Duration> {
    (pace > 0.0).then(|| Duration::from_secs_f64(1.0 / pace))
}
