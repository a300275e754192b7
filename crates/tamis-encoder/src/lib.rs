//! Text to sparse vector: checkpoints, transformers on candle tensors, lexical impacts.
