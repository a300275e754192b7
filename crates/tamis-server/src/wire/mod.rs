//! The JSON shapes of requests and answers. They live here and nowhere else, so that the engine may change without
//! breaking a client and a client's wishes without bending the engine.

pub mod answer;
pub mod bulk;
pub mod collection;
pub mod document;
pub mod encode;
pub mod explain;
pub mod search;
pub mod service;
pub mod snippet;
