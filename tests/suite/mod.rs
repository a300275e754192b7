//! One flow a file.

mod demo;
mod offline;
mod service;
mod support;
mod tidy;
