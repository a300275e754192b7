//! One flow a file.

mod collections;
mod demo;
mod devices;
mod lift;
mod long_texts;
mod offline;
mod service;
mod support;
mod tidy;
