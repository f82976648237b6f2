//! Where the matches of a pattern can lie, so that a crawl need not look elsewhere.
//!
//! Patterns are matched from the start of the path. Many begin with plain text (`terraform/1\.9\..*\.zip$`), and then only
//! folders that agree with that text can hold a match.

use regex_syntax::Parser;
use regex_syntax::hir::{Hir, HirKind};

/// The text that every match of `pattern` begins with; empty when there is none, or when it cannot be told.
pub(super) fn literal_start(pattern: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(hir) = Parser::new().parse(pattern) {
        collect(&hir, &mut bytes);
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Adds what every match of `hir` begins with. Whether that is all there is to a match.
fn collect(hir: &Hir, into: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            into.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(capture) => collect(&capture.sub, into),
        HirKind::Concat(parts) => parts.iter().all(|part| collect(part, into)),
        HirKind::Repetition(repetition) => {
            if repetition.min > 0 {
                collect(&repetition.sub, into);
            }
            false
        }
        HirKind::Class(_) | HirKind::Alternation(_) => false,
    }
}

/// Whether a path that begins with `literal` can lie below `folder` (without its trailing slash; empty is the top).
pub(super) fn can_hold(folder: &str, literal: &str) -> bool {
    if folder.is_empty() || literal.is_empty() {
        return true;
    }
    match literal.strip_prefix(folder) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => folder.strip_prefix(literal).is_some(),
    }
}

/// The folder that a path which begins with `literal` surely lies in; empty is the top.
pub(super) fn folder_of(literal: &str) -> &str {
    literal.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        let table = [
            (r"terraform/1\.9\..*\.zip$", "terraform/1.9."),
            (r"^terraform/(1\.9)/x", "terraform/1.9/x"),
            ("plain", "plain"),
            ("(?:a/)?b", ""),
            ("a/b?c", "a/"),
            ("a/(b|c)/d", "a/"),
            ("a|b", ""),
            ("(?i)Abc", ""),
            ("(?:ab){2}c", "ab"),
            ("[a]b", "ab"),
            (".*x", ""),
            ("", ""),
            ("(", ""),
        ];
        for (pattern, literal) in table {
            assert_eq!(literal_start(pattern), literal, "{pattern}");
        }
    }

    #[test]
    fn folders_that_can_hold_a_match() {
        for (folder, literal) in
            [("", "a/b"), ("a", "a/b"), ("a", "a"), ("a/b", "a/b"), ("a/bc", "a/b"), ("a/b/c", "a/b"), ("a", "")]
        {
            assert!(can_hold(folder, literal), "{folder} {literal}");
        }
        for (folder, literal) in [("b", "a/b"), ("a/c", "a/b"), ("ab", "a/b"), ("a/b", "a/bc/")] {
            assert!(!can_hold(folder, literal), "{folder} {literal}");
        }
        assert_eq!((folder_of("a/b/c"), folder_of("a/"), folder_of("a")), ("a/b", "a", ""));
    }
}
