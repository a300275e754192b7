//! Shapes of the bulk route.

use serde::Serialize;
use utoipa::ToSchema;

use crate::failure::ErrorBody;

/// What became of the lines of a bulk body.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkAnswer {
    /// Milliseconds.
    pub took_ms: f64,
    /// Whether any line failed.
    pub errors: bool,
    /// Lines that were carried out.
    pub accepted: u64,
    /// Lines that failed; the lines after them were carried out all the same.
    pub failed: u64,
    /// Whether everything accepted is visible to searches and on disk: asked for with `refresh=true`.
    pub refreshed: bool,
    /// The failed lines, in order; at most `max_bulk_items` of them.
    pub items: Vec<BulkItem>,
    /// Failed lines that `items` has no room for.
    pub items_left_out: u64,
}

/// A line that failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkItem {
    /// Number of the line, from 1.
    pub line: usize,
    /// The document's id, if the line got that far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The status the line would have had as a request of its own.
    pub status: u16,
    /// What was wrong.
    pub error: ErrorBody,
}
