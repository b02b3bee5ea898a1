//! Histograms for Prometheus.

use crate::observer::{
    At, Interest, Observed, Observer, Run, RunFinished, SpanFinished, gen_ai as names,
};
use headwater_protocol::{Usage, word};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::text::encode_registry,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{collections::HashSet, fmt, sync::Arc};

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Histogram>;

/// Counts and times of models, tools and runs, in the form that
/// [Prometheus](https://prometheus.io/docs/instrumenting/exposition_formats/) reads. The names are those of
/// [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/) where it has some,
/// with `_` for a dot:
///
/// | metric | labels |
/// |---|---|
/// | `gen_ai_client_token_usage` | provider, model, `gen_ai_token_type` (`input`, `output`) |
/// | `gen_ai_client_operation_duration_seconds` | provider, model or tool, `error_type` |
/// | `gen_ai_client_operation_time_to_first_chunk_seconds` | provider, model |
/// | `headwater_runs_total` | `status` |
///
/// The time to the first chunk is that of the first call of a run. Names come from clients and models, so
/// only the first 256 of them have labels of their own, and the others are `other`. A clone has the same
/// counts.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    tokens: Histograms,
    durations: Histograms,
    first_chunks: Histograms,
    runs: Family<Labels, Counter>,
    /// The names that have labels of their own.
    named: Arc<Mutex<HashSet<String>>>,
}

/// The longest name that has labels of its own, in bytes.
const MAX_NAME: usize = 100;

/// The most names of models and tools that have labels of their own: each is some dozen lines of text.
const MOST_NAMES: usize = 256;

fn tokens() -> Histogram {
    Histogram::new(names::TOKEN_BUCKETS)
}

fn seconds() -> Histogram {
    Histogram::new(names::SECOND_BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Arc::default(),
            tokens: Family::new_with_constructor(tokens),
            durations: Family::new_with_constructor(seconds),
            first_chunks: Family::new_with_constructor(seconds),
            runs: Family::default(),
            named: Arc::default(),
        };
        let mut registry = Registry::default();
        registry.register(
            names::TOKEN_USAGE,
            "Tokens of calls of models",
            metrics.tokens.clone(),
        );
        registry.register_with_unit(
            names::DURATION,
            "Time of calls of models and tools",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register_with_unit(
            names::FIRST_CHUNK,
            "Time from a call to its first chunk",
            Unit::Seconds,
            metrics.first_chunks.clone(),
        );
        registry.register("headwater_runs", "Runs that ended", metrics.runs.clone());
        Self {
            registry: Arc::new(registry),
            ..metrics
        }
    }
}

impl Metrics {
    /// All metrics as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to memory does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        text
    }

    /// The name, if it may have labels of its own.
    fn name<'a>(&self, name: &'a str) -> &'a str {
        let mut named = self.named.lock();
        let is_new = !named.contains(name);
        if is_new && (named.len() >= MOST_NAMES || name.len() > MAX_NAME) {
            return "other";
        }
        if is_new {
            named.insert(name.to_owned());
        }
        name
    }

    fn duration(&self, mut labels: Labels, end: &SpanFinished<'_>) {
        labels.extend(end.error.map(|why| (names::ERROR, word(why.code))));
        self.durations
            .get_or_create(&labels)
            .observe(end.took.as_secs_f64());
    }
}

/// The labels of a model that is named `provider/model`.
fn model(name: &str) -> Labels {
    let (provider, model) = names::provider_and_model(name);
    vec![
        (names::OPERATION, names::CHAT.to_owned()),
        (names::PROVIDER, provider.to_owned()),
        (names::MODEL, model.to_owned()),
    ]
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Metrics")
    }
}

impl Observer for Metrics {
    fn interest(&self) -> Interest {
        Interest::RUNS | Interest::MODELS | Interest::TOOLS
    }

    async fn model_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        let labels = model(self.name(&at.span.name));
        if let Some(usage) = end.usage.filter(|usage| *usage != Usage::default()) {
            for (kind, count) in [("input", usage.input), ("output", usage.output)] {
                let mut labels = labels.clone();
                labels.push((names::TOKEN_TYPE, kind.to_owned()));
                self.tokens.get_or_create(&labels).observe(count as f64);
            }
        }
        let first = end.timing.and_then(|timing| timing.first_chunk);
        if let Some(first) = first.filter(|first| *first >= at.span.started) {
            let took = (first - at.span.started) as f64 / 1000.0;
            self.first_chunks.get_or_create(&labels).observe(took);
        }
        self.duration(labels, end);
        Ok(())
    }

    async fn tool_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        let labels = vec![
            (names::OPERATION, names::EXECUTE_TOOL.to_owned()),
            (names::TOOL, self.name(&at.span.name).to_owned()),
        ];
        self.duration(labels, end);
        Ok(())
    }

    async fn run_finished(&self, _: &Run, end: &RunFinished<'_>) -> Observed {
        let labels = vec![("status", word(end.status))];
        self.runs.get_or_create(&labels).inc();
        Ok(())
    }
}
