//! The engine from outside: every answer against a naive computation over the documents in memory.

#[path = "engine/crash.rs"]
mod crash;
#[path = "engine/damage.rs"]
mod damage;
#[path = "engine/lifecycle.rs"]
mod lifecycle;
#[path = "engine/models.rs"]
mod models;
#[path = "engine/naive.rs"]
mod naive;
#[path = "engine/requests.rs"]
mod requests;
