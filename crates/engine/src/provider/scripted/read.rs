//! Reads a script: TOML in, checked scenarios or a sentence out.

use super::{
    pieces::{Pieces, filler},
    script::{Content, Fault, Scenario, Script, Step, Times},
};
use headwater_protocol::{BlockKind, Error, ErrorCode, FinishReason, Stage, ToolCall, Usage};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// The most steps of a scenario, including repeats. More are surely a mistake.
const MAX_STEPS: usize = 100_000;

impl Script {
    /// Reads a file. The error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.as_bytes()[..at.min(text.len())]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count()
                + 1;
            format!(
                "The script cannot be read: line {line}: {}.",
                error.message().trim_end_matches('.')
            )
        })?;
        let mut names = HashSet::new();
        let mut scenarios = Vec::with_capacity(file.scenario.len());
        for raw in file.scenario {
            if raw.name.is_empty() {
                return Err("A scenario of the script has an empty name.".into());
            }
            if !names.insert(raw.name.clone()) {
                return Err(format!("Two scenarios are named “{}”.", raw.name));
            }
            let name = raw.name.clone();
            let scenario = raw
                .check()
                .map_err(|why| format!("The scenario “{name}” is not right: {why}."))?;
            scenarios.push(Arc::new(scenario));
        }
        Ok(Self {
            prefill: file.prefill,
            scenarios,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "yes")]
    prefill: bool,
    #[serde(default)]
    scenario: Vec<RawScenario>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: String,
    note: Option<String>,
    #[serde(default)]
    pace: f64,
    #[serde(default)]
    pieces: Pieces,
    steps: Vec<RawStep>,
}

/// All keys of all steps; exactly one of the first group names the step.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStep {
    stage: Option<String>,
    connected: Option<bool>,
    wait_ms: Option<u64>,
    pace: Option<f64>,
    text: Option<String>,
    words: Option<u32>,
    echo: Option<bool>,
    echo_settings: Option<bool>,
    echo_results: Option<bool>,
    reasoning: Option<String>,
    refusal: Option<String>,
    tool: Option<String>,
    usage: Option<Usage>,
    error: Option<RawError>,
    stall: Option<bool>,
    panic: Option<bool>,
    end: Option<String>,
    repeat: Option<usize>,

    ahead: Option<u32>,
    percent: Option<u8>,
    messages: Option<u32>,
    id: Option<String>,
    arguments: Option<String>,
    times: Option<u32>,
    again: bool,
    steps: Option<Vec<RawStep>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawError {
    code: String,
    message: Option<String>,
    status: Option<u16>,
    retry_after_ms: Option<u64>,
    retryable: Option<bool>,
}

impl RawScenario {
    fn check(self) -> Result<Scenario, String> {
        check_pace(self.pace)?;
        let mut steps = Vec::new();
        for raw in self.steps {
            raw.check(&mut steps)?;
        }
        Ok(Scenario {
            name: self.name,
            note: self.note,
            pace: self.pace,
            pieces: self.pieces,
            steps,
        })
    }
}

impl RawStep {
    /// Appends the step. Repeats are expanded.
    fn check(self, out: &mut Vec<Step>) -> Result<(), String> {
        if let Some(times) = self.repeat {
            let mut inner = Vec::new();
            for raw in self.steps.ok_or("“repeat” needs “steps”")? {
                raw.check(&mut inner)?;
            }
            if inner.len().saturating_mul(times) > MAX_STEPS {
                return Err(format!("it has more than {MAX_STEPS} steps"));
            }
            for _ in 0..times {
                out.extend(inner.iter().cloned());
            }
        } else {
            out.push(self.single()?);
        }
        if out.len() > MAX_STEPS {
            return Err(format!("it has more than {MAX_STEPS} steps"));
        }
        Ok(())
    }

    fn single(self) -> Result<Step, String> {
        let (again, times) = (self.again, self.times);
        let fault = |fault| Step::Fault {
            fault,
            again,
            times: times.map(|hits| Arc::new(Times::new(hits))),
        };
        let content = |kind, text| Step::Output {
            kind,
            tool: None,
            text,
        };
        let says = |kind, text: String| content(kind, Content::Fixed(text.into()));
        let mut found = Vec::new();
        if let Some(word) = &self.stage {
            found.push(Step::Stage(self.stage(word)?));
        }
        if self.connected.is_some() {
            found.push(Step::Connected);
        }
        if let Some(ms) = self.wait_ms {
            found.push(Step::Wait(Duration::from_millis(ms)));
        }
        if let Some(pace) = self.pace {
            check_pace(pace)?;
            found.push(Step::Pace(pace));
        }
        if let Some(text) = self.text {
            found.push(says(BlockKind::Text, text));
        }
        if let Some(count) = self.words {
            if count > 99_999 {
                return Err("“words” goes up to 99999".into());
            }
            found.push(says(BlockKind::Text, filler(count)));
        }
        for (asked, what) in [
            (self.echo, Content::Echo),
            (self.echo_settings, Content::Settings),
            (self.echo_results, Content::Results),
        ] {
            found.extend(asked.map(|_| content(BlockKind::Text, what)));
        }
        if let Some(text) = self.reasoning {
            found.push(says(BlockKind::Reasoning, text));
        }
        if let Some(text) = self.refusal {
            found.push(says(BlockKind::Refusal, text));
        }
        if let Some(name) = self.tool {
            found.push(Step::Output {
                kind: BlockKind::ToolInput,
                tool: Some(ToolCall {
                    id: self.id.unwrap_or_else(|| "call_1".into()),
                    name,
                }),
                text: Content::Fixed(self.arguments.unwrap_or_else(|| "{}".into()).into()),
            });
        }
        if let Some(usage) = self.usage {
            found.push(Step::Usage(usage));
        }
        if let Some(error) = self.error {
            found.push(fault(Fault::Error(error.check()?)));
        }
        if self.stall.is_some() {
            found.push(fault(Fault::Stall));
        }
        if self.panic.is_some() {
            found.push(fault(Fault::Panic));
        }
        if let Some(word) = self.end {
            found.push(if word == "silent" {
                fault(Fault::Silent)
            } else {
                end(word)?
            });
        }
        match (found.pop(), found.is_empty()) {
            (Some(step), true) => Ok(step),
            (None, _) => Err("a step says nothing that can be done".into()),
            _ => Err("a step does two things at once; make two of it".into()),
        }
    }

    fn stage(&self, word: &str) -> Result<Stage, String> {
        // The words are those of the protocol, so the protocol's own code reads them.
        let value = json!({
            "stage": word,
            "ahead": self.ahead.unwrap_or(0),
            "percent": self.percent.unwrap_or(0).min(100),
            "messages": self.messages.unwrap_or(0),
        });
        match serde_json::from_value(value) {
            Ok(Stage::Unknown) | Err(_) => Err(format!("there is no stage “{word}”")),
            Ok(stage) => Ok(stage),
        }
    }
}

impl RawError {
    fn check(self) -> Result<Error, String> {
        let code: ErrorCode = serde_json::from_value(Value::String(self.code.clone()))
            .ok()
            .filter(|&code| code != ErrorCode::Internal || self.code == "internal")
            .ok_or_else(|| format!("there is no error code “{}”", self.code))?;
        let message = self
            .message
            .unwrap_or_else(|| "The script says that this fails.".into());
        let mut error = Error::new(code, message);
        error.status = self.status;
        error.retry_after_ms = self.retry_after_ms;
        error.retryable = self.retryable.unwrap_or(error.retryable);
        Ok(error)
    }
}

fn end(word: String) -> Result<Step, String> {
    let reason = serde_json::from_value(Value::String(word.clone()))
        .ok()
        .filter(|&reason| reason != FinishReason::Other || word == "other")
        .ok_or_else(|| format!("there is no end “{word}”"))?;
    Ok(Step::End { reason, word })
}

fn check_pace(pace: f64) -> Result<(), String> {
    if pace == 0.0 || (0.001..=1_000_000_000.0).contains(&pace) {
        Ok(())
    } else {
        Err("“pace” is a number of tokens per second; 0 is as fast as possible".into())
    }
}
