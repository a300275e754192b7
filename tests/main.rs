//! Tests of the whole: the house rules, and the real binary end to end.

mod suite;
