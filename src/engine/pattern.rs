//! A pattern that came with a request instead of from remotes.yaml.
//!
//! It is matched like an include pattern: from the start of the decoded path, open at its end unless it says `$`. A
//! stranger wrote it, so its text is bounded here, its compiled form by [`PatternSet`], and matching takes linear time
//! whatever it says.

use crate::config::PatternSet;

/// The longest pattern taken, in bytes.
pub const PATTERN_BYTES: usize = 4 << 10;

/// A compiled pattern of a request.
#[derive(Debug, Clone)]
pub struct RequestPattern {
    compiled: PatternSet,
}

/// Why a text is no [`RequestPattern`]; reads on from the name of its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRequestPattern(String);

impl RequestPattern {
    /// Compiles a pattern. Takes milliseconds for a large one: call it where that stalls nobody.
    ///
    /// # Errors
    /// [`InvalidRequestPattern`] for what is too long, no regular expression, or too big when compiled.
    pub fn compile(text: &str) -> Result<Self, InvalidRequestPattern> {
        if text.len() > PATTERN_BYTES {
            return Err(InvalidRequestPattern(format!("is longer than {PATTERN_BYTES} bytes")));
        }
        match PatternSet::compile(vec![text.to_owned()]) {
            Ok(compiled) => Ok(Self { compiled }),
            Err(wrong) => {
                let first = wrong.first().map_or_else(|| "cannot be used".to_owned(), ToString::to_string);
                Err(InvalidRequestPattern(first))
            }
        }
    }

    /// Whether it matches from the start of `path`.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.compiled.first_match(path).is_some()
    }

    /// As it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.compiled.written().first().map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_from_the_start() {
        let pattern = RequestPattern::compile(r"a/.*\.zip$").expect("valid");
        assert!(pattern.matches("a/b.zip") && !pattern.matches("x/a/b.zip") && !pattern.matches("a/b.zipx"));
        assert_eq!(pattern.as_str(), r"a/.*\.zip$");
    }

    #[test]
    fn refusals_say_why() {
        let why = |text: &str| RequestPattern::compile(text).expect_err("refused").to_string();
        assert!(why("(").starts_with("is not a regular expression"));
        assert!(why(&"a".repeat(PATTERN_BYTES + 1)).contains("longer than 4096 bytes"));
        assert!(why("(?:a{1000}){1000}").contains("bytes when compiled"));
    }
}
