//! Top-k retrieval over an impact index: exhaustive, pruned, filtered; all exact.
