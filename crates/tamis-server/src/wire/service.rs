//! Shapes of the routes about the service itself.

use serde::Serialize;
use utoipa::ToSchema;

/// Whether the service lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or `stopping`.
    pub status: String,
    /// How many collections are open.
    pub collections: usize,
}

/// What is running.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// Always `tamis`.
    pub name: String,
    /// Version of the program.
    pub version: String,
}

/// What is running and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Welcome {
    /// Always `tamis`.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Paths worth knowing, by name.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub links: serde_json::Value,
}

/// State and limits of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Version of the program.
    pub version: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Searches right now.
    pub searches: SearchLoad,
    /// Every collection with its documents.
    pub collections: Vec<CollectionCount>,
    /// The limits in force.
    pub limits: Limits,
}

/// Searches right now.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchLoad {
    /// How many run.
    pub running: usize,
    /// How many wait for their turn.
    pub waiting: usize,
}

/// A collection and its size.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionCount {
    /// Its name.
    pub name: String,
    /// Documents that searches see.
    pub documents: u64,
}

/// The limits in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct Limits {
    /// Searches that run at the same time.
    pub max_concurrent_searches: usize,
    /// Searches that may wait.
    pub search_queue: usize,
    /// Bytes of a JSON body.
    pub max_body_bytes: usize,
    /// Bytes of an NDJSON line.
    pub max_line_bytes: usize,
    /// `offset + limit` of a search.
    pub max_result_window: usize,
    /// Bytes of a query text.
    pub max_query_bytes: usize,
    /// Texts of an encode request.
    pub max_encode_texts: usize,
    /// Failures described one by one in a bulk answer.
    pub max_bulk_items: usize,
}
