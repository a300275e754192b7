//! Bulk writing: NDJSON, line by line, in bounded memory. A line that fails is reported and the next one goes on.

use std::sync::Arc;
use std::time::Instant;

use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value};
use tamis_engine::{Collection, Document};

use crate::body::{self, line_failure};
use crate::clock::milliseconds;
use crate::failure::{Code, Detail, Failure};
use crate::lines::{Line, Lines};
use crate::state::{State, blocking};
use crate::suggestion::closest;
use crate::wire::bulk::{BulkAnswer, BulkItem};
use crate::wire::document::{WriteQuery, document, invalid_document};

/// The operations a line may ask for.
const OPERATIONS: [&str; 2] = ["upsert", "delete"];

/// The members a line with `op` may have.
const OPERATION_MEMBERS: [&str; 4] = ["op", "id", "doc", "vector"];

/// Writes the documents of an NDJSON body, each line on its own.
///
/// A line is `{"op":"upsert","id":"7","doc":{"title":"…","text":"…","year":2024},"vector":{"term":1.5}}`,
/// `{"op":"delete","id":"7"}`, or just a document `{"id":"7","title":"…","text":"…","year":2024}`, which is upserted.
/// `vector` may be left out. Empty lines are skipped. Memory stays bounded however long the body is.
#[utoipa::path(post, path = "/v1/collections/{collection}/documents/bulk", operation_id = "bulk_documents", tag = "documents",
    params(("collection" = String, Path, description = "Name of the collection"), WriteQuery),
    request_body(content = String, content_type = "application/x-ndjson", description = "One operation or document a line; no line longer than 16 MiB"),
    responses(
        (status = 200, description = "What became of the lines; failed ones are in `items`", body = BulkAnswer),
        (status = 400, description = "The query string is wrong, or the transfer broke", body = crate::failure::ErrorBody),
        (status = 404, description = "No such collection", body = crate::failure::ErrorBody),
        (status = 408, description = "The body stopped arriving", body = crate::failure::ErrorBody),
        (status = 503, description = "Out of disk or memory; `details` tells how many lines were accepted", body = crate::failure::ErrorBody),
    ),
)]
pub async fn bulk(
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
    mut payload: Payload,
) -> Result<HttpResponse, Failure> {
    let started = Instant::now();
    let query: WriteQuery = body::query(&request)?;
    let collection = state.collection(&name)?;
    let mut tally = Tally::new(state.options.max_bulk_items);
    let read = Bulk {
        state: &state,
        collection: &collection,
        name: &name,
    }
    .stream(&mut payload, &mut tally)
    .await;
    read.map_err(|failure| tally.interrupted(failure))?;
    if query.refresh {
        let committed = collection.clone();
        blocking(move || Ok(committed.commit()?))
            .await
            .map_err(|failure| tally.interrupted(failure))?;
    }
    Ok(HttpResponse::Ok().json(tally.answer(started, query.refresh)))
}

/// Where the lines of a request go.
struct Bulk<'a> {
    state: &'a Data<State>,
    collection: &'a Arc<Collection>,
    name: &'a str,
}

impl Bulk<'_> {
    /// Cuts the body into lines and hands them on in batches.
    async fn stream(&self, payload: &mut Payload, tally: &mut Tally) -> Result<(), Failure> {
        let options = &self.state.options;
        let mut lines = Lines::new(options.max_line_bytes);
        let mut batch = Batch::default();
        while let Some(piece) = body::next_piece(payload, options.body_idle_timeout).await? {
            lines.push(&piece);
            while let Some(line) = lines.next_line() {
                batch.push(line, options.max_line_bytes);
                if batch.lines.len() >= options.bulk_batch_documents || batch.bytes >= options.bulk_batch_bytes {
                    self.carry_out(std::mem::take(&mut batch), tally).await?;
                }
            }
        }
        if let Some(line) = lines.finish() {
            batch.push(line, options.max_line_bytes);
        }
        self.carry_out(batch, tally).await
    }

    /// Parses and carries out the lines in their order. Marks the collection as written in the same step, because a
    /// client that hangs up ends this future and not the work.
    async fn carry_out(&self, batch: Batch, tally: &mut Tally) -> Result<(), Failure> {
        if batch.lines.is_empty() && batch.failures.is_empty() {
            return Ok(());
        }
        let (state, collection, name) = (self.state.clone(), self.collection.clone(), self.name.to_owned());
        let (accepted, failures, outcome) = blocking(move || {
            let mut work = Work {
                collection: &collection,
                pending: Pending::Nothing,
                accepted: 0,
                failures: batch.failures,
            };
            let outcome = work.lines(batch.lines);
            if work.accepted > 0 {
                state.wrote(&name);
            }
            state.metrics.bulk(work.accepted, work.failures.len() as u64);
            Ok((work.accepted, work.failures, outcome))
        })
        .await?;
        tally.add(accepted, failures);
        outcome
    }
}

/// Lines that are handed to the engine together.
#[derive(Default)]
struct Batch {
    lines: Vec<(usize, Bytes)>,
    bytes: usize,
    failures: Vec<Refused>,
}

/// A line that failed.
struct Refused {
    line: usize,
    id: Option<String>,
    failure: Failure,
}

impl Batch {
    fn push(&mut self, line: Line, limit: usize) {
        match line {
            Line::Text { bytes, .. } if bytes.iter().all(u8::is_ascii_whitespace) => {}
            Line::Text { number, bytes } => {
                self.bytes += bytes.len();
                self.lines.push((number, bytes));
            }
            Line::TooLong { number } => self.failures.push(Refused {
                line: number,
                id: None,
                failure: Failure::new(Code::LineTooLong, format!("The line is longer than {limit} bytes.")),
            }),
        }
    }
}

/// One operation.
#[derive(Debug, PartialEq)]
enum Operation {
    Upsert(Box<Document>),
    Delete(String),
}

/// The engine's side of a batch: neighbouring operations of one kind go to it together.
struct Work<'a> {
    collection: &'a Collection,
    pending: Pending,
    accepted: u64,
    failures: Vec<Refused>,
}

/// Operations of one kind that the engine has not seen yet.
enum Pending {
    Nothing,
    Upserts(Vec<usize>, Vec<Document>),
    Deletes(Vec<String>),
}

impl Work<'_> {
    fn lines(&mut self, lines: Vec<(usize, Bytes)>) -> Result<(), Failure> {
        for (line, bytes) in lines {
            match operation(&bytes) {
                Ok(operation) => self.take(line, operation)?,
                Err((id, failure)) => self.failures.push(Refused { line, id, failure }),
            }
        }
        self.flush()
    }

    fn take(&mut self, line: usize, operation: Operation) -> Result<(), Failure> {
        match (&mut self.pending, operation) {
            (Pending::Upserts(lines, documents), Operation::Upsert(document)) => {
                lines.push(line);
                documents.push(*document);
            }
            (Pending::Deletes(ids), Operation::Delete(id)) => ids.push(id),
            (_, operation) => {
                self.flush()?;
                self.pending = match operation {
                    Operation::Upsert(document) => Pending::Upserts(vec![line], vec![*document]),
                    Operation::Delete(id) => Pending::Deletes(vec![id]),
                };
            }
        }
        Ok(())
    }

    /// Hands the pending operations to the engine.
    fn flush(&mut self) -> Result<(), Failure> {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => {}
            Pending::Deletes(ids) => {
                self.collection.delete(&ids)?;
                self.accepted += ids.len() as u64;
            }
            Pending::Upserts(lines, documents) => {
                let ids: Vec<String> = documents.iter().map(|document| document.id.clone()).collect();
                let report = self.collection.add(documents)?;
                self.accepted += report.added as u64;
                for refused in report.failed {
                    let line = lines.get(refused.position).copied().unwrap_or_default();
                    let id = ids.get(refused.position).cloned();
                    self.failures.push(Refused {
                        line,
                        id,
                        failure: invalid_document(&refused),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Reads a line; a failure carries the id if the line got that far.
fn operation(bytes: &[u8]) -> Result<Operation, (Option<String>, Failure)> {
    let mut object: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| (None, line_failure(&error)))?;
    let id = object
        .get("id")
        .or_else(|| object.get("_id"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    let Some(op) = object.remove("op") else {
        return document(object)
            .map(|document| Operation::Upsert(Box::new(document)))
            .map_err(|failure| (id, failure));
    };
    explicit(&op, object).map_err(|failure| (id, failure))
}

/// A line that says what to do.
fn explicit(op: &Value, mut object: Map<String, Value>) -> Result<Operation, Failure> {
    let named = op.as_str().unwrap_or_default();
    if !OPERATIONS.contains(&named) {
        return Err(Failure::new(
            Code::InvalidValue,
            format!("`op` is {op}; it must be \"upsert\" or \"delete\"."),
        )
        .detail(Detail {
            path: Some("$.op".to_owned()),
            reason: "unknown operation".to_owned(),
            suggestion: closest(named, OPERATIONS).map(str::to_owned),
            ..Detail::default()
        }));
    }
    if let Some(unknown) = object.keys().find(|key| !OPERATION_MEMBERS.contains(&key.as_str())) {
        let reason = format!("unknown field `{unknown}`; beside `op` and `id`, a document's parts go into `doc`");
        return Err(Failure::new(
            Code::UnknownField,
            format!("Unknown field `{unknown}` in the line: put it into `doc`."),
        )
        .detail(Detail {
            path: Some(format!("$.{unknown}")),
            reason,
            suggestion: Some(format!("doc.{unknown}")),
            ..Detail::default()
        }));
    }
    if named == "delete" {
        return match object.remove("id") {
            Some(Value::String(id)) => Ok(Operation::Delete(id)),
            _ => Err(Failure::new(
                Code::InvalidDocument,
                "A delete needs the document's `id`, a string.",
            )),
        };
    }
    let mut whole = match object.remove("doc") {
        Some(Value::Object(doc)) => doc,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(Failure::new(Code::InvalidValue, "`doc` must be an object.")),
    };
    for (key, value) in object {
        if whole.get(&key).is_some_and(|inner| *inner != value) {
            return Err(Failure::new(
                Code::InvalidDocument,
                format!("`{key}` and `doc.{key}` contradict each other."),
            ));
        }
        whole.insert(key, value);
    }
    document(whole).map(|document| Operation::Upsert(Box::new(document)))
}

/// Counts of a bulk request.
struct Tally {
    accepted: u64,
    failed: u64,
    items: Vec<BulkItem>,
    max_items: usize,
}

impl Tally {
    fn new(max_items: usize) -> Self {
        Self {
            accepted: 0,
            failed: 0,
            items: Vec::new(),
            max_items,
        }
    }

    fn add(&mut self, accepted: u64, mut failures: Vec<Refused>) {
        self.accepted += accepted;
        self.failed += failures.len() as u64;
        failures.sort_by_key(|refused| refused.line);
        for Refused { line, id, failure } in failures {
            if self.items.len() == self.max_items {
                break;
            }
            self.items.push(BulkItem {
                line,
                id,
                status: failure.code().status(),
                error: failure.body(None),
            });
        }
    }

    /// A failure that ended the request, with how far it got.
    fn interrupted(&self, failure: Failure) -> Failure {
        let reason = format!(
            "{} lines were accepted and {} had failed before this",
            self.accepted, self.failed
        );
        failure.detail(Detail {
            reason,
            ..Detail::default()
        })
    }

    fn answer(self, started: Instant, refreshed: bool) -> BulkAnswer {
        BulkAnswer {
            took_ms: milliseconds(started.elapsed()),
            errors: self.failed > 0,
            accepted: self.accepted,
            failed: self.failed,
            refreshed,
            items_left_out: self.failed - self.items.len() as u64,
            items: self.items,
        }
    }
}
