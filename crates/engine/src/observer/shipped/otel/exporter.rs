//! The exporter of OpenTelemetry, and what the log says of it.

use super::{Collector, client::Client, wrong};
use crate::provider::http::http_client_with;
use headwater_protocol::Error;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter as Otlp, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::EnvResourceDetector,
    trace::{SpanData, SpanExporter},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// How many spans there were, and how many a collector has taken.
#[derive(Debug, Default)]
pub(super) struct Counts {
    ended: AtomicU64,
    delivered: AtomicU64,
}

impl Counts {
    /// Counts a span that is to be sent.
    pub(super) fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// The spans that no collector has taken.
    pub(super) fn lost(&self) -> u64 {
        let delivered = self.delivered.load(Ordering::Relaxed);
        self.ended.load(Ordering::Relaxed).saturating_sub(delivered)
    }
}

/// Sends batches, and says once that a collector takes none, and once that it takes some again.
#[derive(Debug)]
pub(super) struct Exporter {
    otlp: Otlp,
    fails: AtomicBool,
    pub(super) counts: Arc<Counts>,
}

impl Exporter {
    pub(super) fn new(collector: &Collector) -> Result<Self, Error> {
        let http = http_client_with(collector.timeout)?;
        let mut otlp = Otlp::builder()
            .with_http()
            .with_http_client(Client::new(http, collector.timeout))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&collector.endpoint)
            .with_headers(collector.headers.clone())
            .with_timeout(collector.timeout)
            .build()
            .map_err(|why| wrong(format!("OpenTelemetry cannot be set up: {why}.")))?;
        otlp.set_resource(&resource(collector));
        Ok(Self {
            otlp,
            fails: AtomicBool::new(false),
            counts: Arc::default(),
        })
    }
}

/// What all spans say of this program.
fn resource(collector: &Collector) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder_empty()
        .with_service_name("headwater")
        .with_attribute(version)
        .with_detector(Box::new(EnvResourceDetector::new()));
    match &collector.service {
        Some(name) => resource.with_service_name(name.clone()).build(),
        None => resource.build(),
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.otlp.export(batch).await;
        match &sent {
            Ok(()) => {
                self.counts.delivered.fetch_add(spans, Ordering::Relaxed);
                if self.fails.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector of OpenTelemetry takes spans again");
                }
            }
            Err(why) if !self.fails.swap(true, Ordering::Relaxed) => tracing::warn!(
                %why,
                spans,
                "the collector of OpenTelemetry takes no spans; they are lost until it does"
            ),
            Err(_) => {}
        }
        sent
    }
}
