//! One flow a file.

mod collections;
mod default_model;
mod demo;
mod dense_vectors;
mod devices;
mod encoding;
mod lift;
mod long_texts;
mod models;
mod offline;
mod service;
mod support;
mod tidy;
mod training;
