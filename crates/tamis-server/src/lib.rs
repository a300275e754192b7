//! The HTTP service of Tamis: collections, documents, search and explanations over JSON, a search page, metrics and a
//! description of itself.
//!
//! [`Server::bind`] takes the port, [`Server::run`] answers until it is told to end. All defaults are in
//! [`ServerOptions`]. There are no keys yet, so the service listens on loopback unless it is told otherwise, answers to
//! loopback names only, and lets no page of another origin write.

mod admission;
mod body;
mod clock;
mod engine_failure;
mod error;
mod failure;
mod front;
mod handlers;
mod lines;
mod metrics;
mod openapi;
mod options;
mod page;
mod request_id;
mod route;
mod server;
mod state;
mod suggestion;
#[cfg(test)]
mod tests;
mod wire;

pub use error::Error;
pub use options::ServerOptions;
pub use server::{Server, ServerHandle};
