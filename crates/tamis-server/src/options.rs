//! Every default of the service, in one place.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// How the service listens and what it allows: the one home of every default. The command line takes its defaults from here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Address to listen on; 127.0.0.1 unless told otherwise. Anything but loopback is refused without [`Self::insecure`].
    pub host: IpAddr,
    /// Port to listen on, 7711 by default; 0 takes any free port.
    pub port: u16,
    /// Directory of the collections, `tamis-data` by default; whoever makes the server opens the engine there.
    pub data_dir: PathBuf,
    /// Allows an address other than loopback although there are no keys yet: whoever reaches the port may read and write.
    pub insecure: bool,
    /// Host names accepted in the `Host` header besides loopback names; needed behind a proxy that keeps the outer name.
    pub allowed_hosts: Vec<String>,
    /// Threads that read requests and write answers; searches run elsewhere.
    pub workers: usize,
    /// Searches, explanations and encodings that run at the same time; the number of processors by default.
    pub max_concurrent_searches: usize,
    /// Searches that may wait for their turn; one more is answered with 429 and `Retry-After`.
    pub search_queue: usize,
    /// Longest wait for a turn before the answer is 429.
    pub queue_timeout: Duration,
    /// Largest JSON body in bytes (64 MiB); NDJSON bodies are unlimited.
    pub max_body_bytes: usize,
    /// Largest single line of an NDJSON body in bytes (16 MiB).
    pub max_line_bytes: usize,
    /// Documents of an NDJSON body that are handed to the engine together.
    pub bulk_batch_documents: usize,
    /// Bytes of an NDJSON body that are handed to the engine together, whichever of the two comes first.
    pub bulk_batch_bytes: usize,
    /// Failed lines described one by one in a bulk answer; further ones are only counted.
    pub max_bulk_items: usize,
    /// Longest text of a query in bytes (8 KiB).
    pub max_query_bytes: usize,
    /// The model of new collections and encode requests that name none: a model's name, or its directory.
    pub default_model: String,
    /// Most texts in one encode request.
    pub max_encode_texts: usize,
    /// Longest pause while the head of a request arrives.
    pub head_timeout: Duration,
    /// Longest pause between two pieces of a request body.
    pub body_idle_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long requests in flight may take to finish once the service is told to stop.
    pub shutdown_timeout: Duration,
    /// Pause between two automatic commits of writes that did not ask for `refresh=true`.
    pub commit_interval: Duration,
}

impl ServerOptions {
    /// The port the service has unless told otherwise.
    pub const DEFAULT_PORT: u16 = 7711;
}

impl Default for ServerOptions {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Self::DEFAULT_PORT,
            data_dir: PathBuf::from("tamis-data"),
            insecure: false,
            allowed_hosts: Vec::new(),
            workers: processors.min(8),
            max_concurrent_searches: processors,
            search_queue: 64,
            queue_timeout: Duration::from_secs(5),
            max_body_bytes: 64 << 20,
            max_line_bytes: 16 << 20,
            bulk_batch_documents: 256,
            bulk_batch_bytes: 4 << 20,
            max_bulk_items: 10_000,
            max_query_bytes: 8 << 10,
            default_model: tamis_encoder::DEFAULT_MODEL.to_owned(),
            max_encode_texts: 256,
            head_timeout: Duration::from_secs(5),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(30),
            commit_interval: Duration::from_secs(2),
        }
    }
}
