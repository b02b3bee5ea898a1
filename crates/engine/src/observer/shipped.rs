//! Observers that come with the engine.

mod collect;
mod final_answer;
mod json_lines;
mod listeners;
mod metrics;
#[cfg(feature = "otel")]
mod otel;
mod tokens;
mod trace;
mod webhook;

pub use collect::{RunCollector, UsageByModel};
pub use final_answer::FinalAnswer;
pub use json_lines::JsonLines;
pub use listeners::Listeners;
pub use metrics::Metrics;
#[cfg(feature = "otel")]
pub use otel::{Collector, OpenTelemetry};
pub use tokens::Tokens;
pub use trace::Trace;
pub use webhook::Webhook;
