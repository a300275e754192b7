//! Collections: documents, fields, segments, filters, hybrid search.
