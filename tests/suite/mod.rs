//! One flow a file.

mod collections;
mod demo;
mod encoding;
mod models;
mod offline;
mod service;
mod support;
mod tidy;
