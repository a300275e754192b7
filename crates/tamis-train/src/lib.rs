//! Training data and runs: (query, positive, negatives) examples mined with our own search.
