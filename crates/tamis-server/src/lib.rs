//! The HTTP service of Tamis.
