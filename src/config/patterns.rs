//! Which paths of a repository may be fetched: `include_patterns` and `exclude_patterns`.
//!
//! A pattern is matched from the start of the decoded path below the repository and is open at its end unless it says
//! `$`, the way Python's `re.match` does. Excluding always wins. Including is for packages and files: an index must be
//! readable for the packages it names to be of any use, so metadata is admitted without a pattern. No list at all admits
//! everything; an empty list admits metadata only.
//!
//! Each list is compiled once into one set, under limits on its size, so that a request costs one pass over the path
//! however many patterns there are and no pattern can eat the memory of the server.

use artifactapi_formats::Role;
use regex::{RegexBuilder, RegexSet, RegexSetBuilder};

/// The most memory one list of patterns may take when compiled, in bytes.
const COMPILED_BYTES: usize = 8 << 20;
/// The most memory that matching one list may take for its cache, per thread, in bytes.
const CACHE_BYTES: usize = 1 << 20;
/// How deep groups may nest in a pattern.
const NEST: u32 = 64;

/// The compiled lists of one repository.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    include: Option<PatternSet>,
    exclude: Option<PatternSet>,
}

/// Whether a path may be fetched, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Admitted,
    /// No include pattern matches; [`Patterns::include`] lists them.
    NotIncluded,
    /// An exclude pattern matches.
    Excluded {
        /// The first one that does, as written in the file.
        pattern: String,
    },
}

/// One list of patterns.
#[derive(Debug, Clone)]
pub struct PatternSet {
    /// As written in the file, in its order.
    written: Vec<String>,
    compiled: RegexSet,
}

/// A pattern that cannot be used, or a list that is too big as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// One pattern is not a regular expression.
    #[error("is not a regular expression: {why}")]
    Syntax {
        /// Its place in the list, from 0.
        index: usize,
        /// What the regular expression engine says, in one line.
        why: String,
    },
    /// One pattern, or the list as a whole, is too big when compiled.
    #[error("takes more than {} bytes when compiled; repeat less, as in {{1000}}", COMPILED_BYTES)]
    TooBig {
        /// Its place in the list, from 0; `None` when it is the sum.
        index: Option<usize>,
    },
}

impl InvalidPattern {
    /// The place in the list of the pattern at fault; `None` when it is the list as a whole.
    #[must_use]
    pub const fn index(&self) -> Option<usize> {
        match self {
            Self::Syntax { index, .. } => Some(*index),
            Self::TooBig { index } => *index,
        }
    }
}

impl Patterns {
    /// Two lists; `None` for a list that is absent.
    #[must_use]
    pub const fn new(include: Option<PatternSet>, exclude: Option<PatternSet>) -> Self {
        Self { include, exclude }
    }

    /// Whether `path`, decoded and below the repository, may be fetched.
    #[must_use]
    pub fn admits(&self, path: &str, role: Role) -> Admission {
        if let Some(pattern) = self.exclude.as_ref().and_then(|exclude| exclude.first_match(path)) {
            return Admission::Excluded { pattern: pattern.to_owned() };
        }
        match &self.include {
            Some(include) if !role.is_metadata() && !include.compiled.is_match(path) => Admission::NotIncluded,
            _ => Admission::Admitted,
        }
    }

    /// The include patterns as written; `None` when there is no list and everything is admitted.
    #[must_use]
    pub fn include(&self) -> Option<&[String]> {
        self.include.as_ref().map(PatternSet::written)
    }

    /// The exclude patterns as written.
    #[must_use]
    pub fn exclude(&self) -> &[String] {
        self.exclude.as_ref().map_or(&[], PatternSet::written)
    }
}

impl PatternSet {
    /// Compiles a list.
    ///
    /// # Errors
    /// One [`InvalidPattern`] for each pattern that is wrong.
    pub fn compile(written: Vec<String>) -> Result<Self, Vec<InvalidPattern>> {
        let mut anchored = Vec::with_capacity(written.len());
        let mut wrong = Vec::new();
        for (index, pattern) in written.iter().enumerate() {
            match anchor(pattern) {
                Ok(pattern) => anchored.push(pattern),
                Err(error) => wrong.push(refusal(index, pattern, &error)),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let compiled = RegexSetBuilder::new(anchored)
            .size_limit(COMPILED_BYTES)
            .dfa_size_limit(CACHE_BYTES)
            .nest_limit(NEST)
            .build()
            .map_err(|_| vec![InvalidPattern::TooBig { index: None }])?;
        Ok(Self { written, compiled })
    }

    /// The patterns as written.
    #[must_use]
    pub fn written(&self) -> &[String] {
        &self.written
    }

    /// The first pattern, in the order of the file, that matches from the start of `path`.
    #[must_use]
    pub fn first_match(&self, path: &str) -> Option<&str> {
        if !self.compiled.is_match(path) {
            return None;
        }
        let first = self.compiled.matches(path).into_iter().next()?;
        self.written.get(first).map(String::as_str)
    }
}

/// `pattern`, tied to the start of the path.
///
/// It is tried by itself first, so that `a)|(b` is refused and cannot close the group put around it. In verbose mode a
/// comment at its end would swallow the closing bracket; a line feed ends the comment and means nothing else there.
fn anchor(pattern: &str) -> Result<String, regex::Error> {
    try_compile(pattern)?;
    let grouped = format!(r"\A(?:{pattern})");
    match try_compile(&grouped) {
        Ok(()) => Ok(grouped),
        Err(_) => {
            let grouped = format!("\\A(?:{pattern}\n)");
            try_compile(&grouped).map(|()| grouped)
        }
    }
}

fn try_compile(pattern: &str) -> Result<(), regex::Error> {
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES).dfa_size_limit(CACHE_BYTES).nest_limit(NEST).build().map(drop)
}

/// The engine draws the pattern with a caret below it and ends in a line `error: ...`; that line is what fits into ours.
fn refusal(index: usize, pattern: &str, error: &regex::Error) -> InvalidPattern {
    if let regex::Error::CompiledTooBig(_) = error {
        return InvalidPattern::TooBig { index: Some(index) };
    }
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    let mut why = last.trim().trim_start_matches("error: ").to_owned();
    if let Some(meant) = as_a_file_pattern(pattern) {
        why += &format!("; this looks like a file pattern: write {meant} (in double quotes each backslash twice)");
    }
    InvalidPattern::Syntax { index, why }
}

/// What a pattern as a shell takes it (`*.rpm`) would be here, if it is one: there `*` stands for any text.
fn as_a_file_pattern(pattern: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_alphanumeric() || "*?._-/".contains(letter);
    if !pattern.starts_with(['*', '?']) || !pattern.chars().all(is_plain) || !pattern.contains(char::is_alphanumeric) {
        return None;
    }
    let mut meant = String::new();
    for letter in pattern.chars() {
        match letter {
            '*' => meant.push_str(".*"),
            '?' => meant.push('.'),
            '.' => meant.push_str(r"\."),
            other => meant.push(other),
        }
    }
    Some(meant.replace(".*.*", ".*") + "$")
}
