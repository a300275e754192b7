//! What `/metrics` shows, in Prometheus' text format.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Upper bounds of the latency buckets, in seconds: sparse searches take from tens of microseconds upwards.
const LATENCY_BUCKETS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The counters of one service; every service has its own registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    search_seconds: HistogramVec,
    encode_seconds: Histogram,
    searches_running: IntGauge,
    searches_waiting: IntGauge,
    searches_refused: IntCounter,
    bulk_lines: IntCounterVec,
    collections: IntGauge,
    documents: IntGaugeVec,
}

/// The numbers that are looked up when someone asks.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Searches that run now.
    pub running: usize,
    /// Searches that wait now.
    pub waiting: usize,
    /// Collections and how many documents each has.
    pub documents: Vec<(String, u64)>,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// When a name is registered twice, which would be a mistake in this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let latency = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new(
                    "tamis_http_requests_total",
                    "Requests answered, by route, method and status.",
                ),
                &["route", "method", "status"],
            )?,
            request_seconds: HistogramVec::new(
                latency(
                    "tamis_http_request_duration_seconds",
                    "Time until the head of an answer, by route.",
                ),
                &["route"],
            )?,
            search_seconds: HistogramVec::new(
                latency(
                    "tamis_search_duration_seconds",
                    "Time of a search without its wait in the queue, by mode.",
                ),
                &["mode"],
            )?,
            encode_seconds: Histogram::with_opts(latency(
                "tamis_encode_duration_seconds",
                "Time of an encode request.",
            ))?,
            searches_running: IntGauge::new("tamis_searches_in_flight", "Searches that run now.")?,
            searches_waiting: IntGauge::new("tamis_searches_waiting", "Searches that wait for their turn now.")?,
            searches_refused: IntCounter::new("tamis_searches_refused_total", "Searches answered with 429.")?,
            bulk_lines: IntCounterVec::new(
                Opts::new("tamis_bulk_lines_total", "Lines of bulk requests, by outcome."),
                &["outcome"],
            )?,
            collections: IntGauge::new("tamis_collections", "Collections.")?,
            documents: IntGaugeVec::new(
                Opts::new("tamis_documents", "Documents that searches see, by collection."),
                &["collection"],
            )?,
            registry,
        };
        metrics.register()?;
        Ok(metrics)
    }

    /// Counts one answered request.
    pub fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        self.requests
            .with_label_values(&[route, method, &status.to_string()])
            .inc();
        self.request_seconds
            .with_label_values(&[route])
            .observe(took.as_secs_f64());
        if status == 429 {
            self.searches_refused.inc();
        }
    }

    /// Counts one finished search.
    pub fn search(&self, mode: &str, took: Duration) {
        self.search_seconds
            .with_label_values(&[mode])
            .observe(took.as_secs_f64());
    }

    /// Counts one finished encode request.
    pub fn encode(&self, took: Duration) {
        self.encode_seconds.observe(took.as_secs_f64());
    }

    /// Counts the lines of one bulk request.
    pub fn bulk(&self, accepted: u64, failed: u64) {
        self.bulk_lines.with_label_values(&["accepted"]).inc_by(accepted);
        self.bulk_lines.with_label_values(&["failed"]).inc_by(failed);
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// When the encoder refuses a metric, which would be a mistake in this file.
    pub fn render(&self, snapshot: &Snapshot) -> Result<String, prometheus::Error> {
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.searches_running.set(signed(snapshot.running));
        self.searches_waiting.set(signed(snapshot.waiting));
        self.collections.set(signed(snapshot.documents.len()));
        self.documents.reset();
        for (collection, count) in &snapshot.documents {
            self.documents
                .with_label_values(&[collection])
                .set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.requests.clone()))?;
        self.registry.register(Box::new(self.request_seconds.clone()))?;
        self.registry.register(Box::new(self.search_seconds.clone()))?;
        self.registry.register(Box::new(self.encode_seconds.clone()))?;
        self.registry.register(Box::new(self.searches_running.clone()))?;
        self.registry.register(Box::new(self.searches_waiting.clone()))?;
        self.registry.register(Box::new(self.searches_refused.clone()))?;
        self.registry.register(Box::new(self.bulk_lines.clone()))?;
        self.registry.register(Box::new(self.collections.clone()))?;
        self.registry.register(Box::new(self.documents.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_gauges_are_rendered() {
        let metrics = Metrics::new().expect("every name is registered once");
        metrics.request(
            "/v1/collections/{collection}/search",
            "POST",
            200,
            Duration::from_millis(2),
        );
        metrics.request(
            "/v1/collections/{collection}/search",
            "POST",
            429,
            Duration::from_micros(20),
        );
        metrics.search("sparse", Duration::from_millis(2));
        metrics.bulk(7, 2);
        let snapshot = Snapshot {
            running: 1,
            waiting: 3,
            documents: vec![("books".to_owned(), 42)],
        };
        let text = metrics.render(&snapshot).expect("valid metrics");
        for line in [
            r#"tamis_http_requests_total{method="POST",route="/v1/collections/{collection}/search",status="200"} 1"#,
            r#"tamis_search_duration_seconds_bucket{mode="sparse",le="0.0025"} 1"#,
            r#"tamis_search_duration_seconds_bucket{mode="sparse",le="0.001"} 0"#,
            "tamis_searches_in_flight 1",
            "tamis_searches_waiting 3",
            "tamis_searches_refused_total 1",
            r#"tamis_bulk_lines_total{outcome="failed"} 2"#,
            "tamis_collections 1",
            r#"tamis_documents{collection="books"} 42"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        // A deleted collection disappears.
        let text = metrics.render(&Snapshot::default()).expect("valid metrics");
        assert!(!text.contains("books"), "{text}");
    }
}
