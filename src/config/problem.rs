//! What is wrong with a configuration, said so that it can be mended without reading the source.
//!
//! A [`Problem`] names the place (line and column), the key by its full path (`remotes.github.cache.index_ttl`), what is
//! wrong there and what to write instead. A [`ConfigError`] is all of them together, or the reason why there was nothing
//! to read.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A place in a text file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Place {
    /// A place.
    #[must_use]
    pub const fn new(line: u64, column: u64) -> Self {
        Self { line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where; `None` when the file as a whole is wrong.
    pub place: Option<Place>,
    /// The full path of the key; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what to do.
    pub text: String,
}

impl Problem {
    /// A problem.
    pub fn new(place: Option<Place>, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place, key: key.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if self.key.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.key, self.text) }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No file in any of the places where one is looked for.
    #[error(
        "no configuration file: ARTIFACTAPI_CONFIG names none, and there is none at {}; write one there or set the variable",
        looked_for.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        /// The places, in the order in which they were looked at.
        looked_for: Vec<PathBuf>,
    },
    /// The file is there and cannot be read, or is not there although it was named.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read and is wrong.
    #[error("{}", lines(file, problems))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Everything that is wrong with it, in the order of the file.
        problems: Vec<Problem>,
    },
}

fn lines(file: &std::path::Path, problems: &[Problem]) -> String {
    let line = |problem: &Problem| match problem.place {
        Some(_) => format!("{}:{problem}", file.display()),
        None => format!("{}: {problem}", file.display()),
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
