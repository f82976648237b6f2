//! Compressed streams, told apart by their first bytes and bounded by [`crate::Limits`].
