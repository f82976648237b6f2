//! An error said with what is behind it.
//!
//! Each layer's error says its own sentence and keeps the one below as its source, so that a client is told no more than it may know.
//! Logs and people at a terminal are told all of it.

use std::error::Error;

/// An error and its causes, outermost first, with colons between them.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
