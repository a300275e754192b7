//! The `tamis` command line.
fn main() {}
