//! What each route does.

pub mod bulk;
pub mod collections;
pub mod documents;
pub mod encode;
pub mod search;
pub mod service;
