//! Runs as traces of OpenTelemetry.

mod client;
mod collector;
mod exporter;
mod spans;

pub use collector::Collector;

use crate::observer::{Interest, Observed, Observer, Run, RunFinished};
use exporter::{Counts, Exporter};
use headwater_protocol::{Error, ErrorCode};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor};
use std::{sync::Arc, time::Duration};

/// Sends runs to a collector of [OpenTelemetry](https://opentelemetry.io), over HTTP (OTLP, protobuf). A run is
/// a trace with the number of the run, and every span of its log is a span of it, with the times of the log. So
/// a run that is sent again, as by [`Engine::observe`](crate::Engine::observe), is the same trace again.
///
/// | span | name | attributes, beside `headwater.status` and `error.type` |
/// |---|---|---|
/// | the run | `invoke_agent MODEL` | `gen_ai.agent.name`, `gen_ai.conversation.id`, `headwater.run.id`, tokens |
/// | chat model | `chat MODEL` | `gen_ai.provider.name`, `gen_ai.request.model`, finish reasons, tokens, time to the first chunk |
/// | tool | `execute_tool NAME` | `gen_ai.tool.name`, `gen_ai.tool.call.id` |
/// | retriever | `retrieval NAME` | |
/// | agent, chain | `invoke_agent NAME`, `invoke_workflow NAME` | `gen_ai.agent.name`, `gen_ai.workflow.name` |
/// | prompt, parser | `prompt NAME`, `parser NAME` | |
///
/// Another attempt is an event `retry` of the span around it, and has a link to the one whose place it takes,
/// whose status is `superseded`. Messages of tools and chains are events. Texts, arguments, results and the
/// sentences of errors are left out, unless [`Collector::has_content`] says otherwise. What the
/// model of a plain chat was asked is not in the log, so it is never sent; inputs and outputs of the steps of a chain
/// are content.
///
/// A run is sent when it has ended, by a thread that does nothing else, with the next batch (after 5 s at the
/// latest; the variables `OTEL_BSP_…` set that). At most 2,048 spans wait; what is beyond is lost, and so is what
/// a collector does not take within [`Collector::timeout`]. The log says so once, until it takes some again.
///
/// A clone sends through the same thread. Call [`OpenTelemetry::shutdown`] before the process ends.
#[derive(Clone, Debug)]
pub struct OpenTelemetry {
    processor: Arc<BatchSpanProcessor>,
    counts: Arc<Counts>,
    has_content: bool,
}

impl OpenTelemetry {
    /// Starts the thread that sends. Nothing is connected to yet.
    ///
    /// # Errors
    /// `invalid_request` for what cannot be an address or a header, and for variables of the environment that the
    /// exporter does not know how to follow; `internal` where there can be no client for HTTP.
    pub fn new(collector: &Collector) -> Result<Self, Error> {
        let exporter = Exporter::new(collector)?;
        Ok(Self {
            counts: exporter.counts.clone(),
            processor: Arc::new(BatchSpanProcessor::builder(exporter).build()),
            has_content: collector.has_content,
        })
    }

    /// Sends what waits, and stops sending. Returns whether the collector has taken all spans of all runs; where
    /// it has not, the log says how many are lost. It takes no longer than `patience`.
    pub async fn shutdown(&self, patience: Duration) -> bool {
        let processor = self.processor.clone();
        // It blocks its thread while it waits.
        let ended = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(patience));
        // Where it did not end in time, the counts say what is missing.
        let _ = tokio::time::timeout(patience, ended).await;
        let lost = self.lost();
        if lost > 0 {
            tracing::warn!(lost, "spans for OpenTelemetry were not delivered");
        }
        lost == 0
    }

    /// How many spans no collector has taken so far. Those that wait for the next batch are among them.
    pub fn lost(&self) -> u64 {
        self.counts.lost()
    }
}

impl Observer for OpenTelemetry {
    fn interest(&self) -> Interest {
        Interest::RUNS
    }

    async fn run_finished(&self, run: &Run, end: &RunFinished<'_>) -> Observed {
        for span in spans::spans(run, end, self.has_content) {
            self.counts.ended();
            self.processor.on_end(span);
        }
        Ok(())
    }
}

fn wrong(sentence: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, sentence).at("setting up OpenTelemetry")
}
