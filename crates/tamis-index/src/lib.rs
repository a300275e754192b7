//! The impact index: quantise, reorder, build, write, open, read.
