//! Tests of trainers.
