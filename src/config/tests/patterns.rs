//! Patterns mean what Python's `re.match` makes of them.

use artifactapi_formats::Role;

use crate::config::patterns::InvalidPattern;
use crate::config::{Admission, PatternSet, Patterns};

fn set(patterns: &[&str]) -> PatternSet {
    PatternSet::compile(patterns.iter().map(|&pattern| pattern.to_owned()).collect()).expect("valid")
}

fn refused(patterns: &[&str]) -> Vec<(Option<usize>, String)> {
    let wrong = PatternSet::compile(patterns.iter().map(|&pattern| pattern.to_owned()).collect()).expect_err("wrong");
    wrong.iter().map(|why| (why.index(), why.to_string())).collect()
}

/// Each row was checked against `bool(re.match(pattern, path))` of Python 3.
#[test]
fn matched_from_the_start_and_open_at_the_end() {
    let table = [
        ("a/b", "a/b", true),
        ("a/b", "a/b/c.txt", true),
        ("a/b", "x/a/b", false),
        ("b", "a/b", false),
        ("a/b$", "a/b", true),
        ("a/b$", "a/b/c", false),
        ("^a", "a", true),
        ("^a", "ba", false),
        (".*b", "a/b", true),
        ("", "anything", true),
        ("a|b", "b", true),
        ("a|b", "cb", false),
        ("a$|b", "ab", false),
        ("a$|b", "bc", true),
        (r".*\.zip$", "x.zip", true),
        (r".*\.zip$", "xzip", false),
        (r".*\.zip$", "x.zip.asc", false),
        ("(?i)README", "readme.md", true),
        ("README", "readme.md", false),
        (r"v\d+\.\d+", "v1.22/x", true),
        (r"[^/]+\.rpm$", "a/b.rpm", false),
        (r"[^/]+\.rpm$", "b.rpm", true),
        ("(?x) a # the first letter", "abc", true),
        ("(?x) a # the first letter", "bac", false),
        ("ü.*", "über/größe", true),
        (r"\w+$", "größe", true),
    ];
    for (pattern, path, expected) in table {
        assert_eq!(set(&[pattern]).first_match(path).is_some(), expected, "{pattern} on {path}");
    }
}

#[test]
fn the_first_match_in_the_order_of_the_file() {
    let set = set(&["c", "a.*", "a/b"]);
    assert_eq!(set.first_match("a/b"), Some("a.*"));
    assert_eq!(set.first_match("b"), None);
}

#[test]
fn excluding_wins_and_metadata_needs_no_pattern() {
    let excluded = |pattern: &str| Admission::Excluded { pattern: pattern.to_owned() };
    let apk = Patterns::new(Some(set(&[r".*/x86_64/.*\.apk$"])), Some(set(&[".*-doc-.*", "edge/"])));
    let table = [
        ("v3.22/main/x86_64/a-1-r0.apk", Role::Package, Admission::Admitted),
        ("v3.22/main/armv7/a-1-r0.apk", Role::Package, Admission::NotIncluded),
        ("v3.22/main/x86_64/a-doc-1-r0.apk", Role::Package, excluded(".*-doc-.*")),
        ("v3.22/main/x86_64/APKINDEX.tar.gz", Role::Index, Admission::Admitted),
        ("edge/main/x86_64/APKINDEX.tar.gz", Role::Index, excluded("edge/")),
        ("v3.22/main/x86_64/", Role::Listing, Admission::NotIncluded),
        ("README", Role::File, Admission::NotIncluded),
    ];
    for (path, role, expected) in table {
        assert_eq!(apk.admits(path, role), expected, "{path}");
    }
    for role in [Role::Index, Role::IndexCompanion, Role::IndexMember] {
        assert_eq!(Patterns::new(Some(set(&[])), None).admits("x", role), Admission::Admitted);
    }
    for role in [Role::Package, Role::File, Role::Listing] {
        assert_eq!(Patterns::new(Some(set(&[])), None).admits("x", role), Admission::NotIncluded);
        assert_eq!(Patterns::default().admits("x", role), Admission::Admitted);
    }
    assert_eq!(apk.include(), Some(&[r".*/x86_64/.*\.apk$".to_owned()][..]));
    assert_eq!(apk.exclude(), [".*-doc-.*", "edge/"]);
}

#[test]
fn wrong_patterns_are_all_named() {
    let found = refused(&["fine", "a)|(b", "(", "[z-a]", r"(?!no)x", r"a{1000}{1000}{1000}", "*"]);
    let expected = [
        (Some(1), "is not a regular expression: unopened group"),
        (Some(2), "is not a regular expression: unclosed group"),
        (Some(3), "is not a regular expression: invalid character class range, the start must be <= the end"),
        (Some(4), "is not a regular expression: look-around, including look-ahead and look-behind, is not supported"),
        (Some(5), "takes more than 8388608 bytes when compiled; repeat less, as in {1000}"),
        (Some(6), "is not a regular expression: repetition operator missing expression"),
    ];
    let expected = expected.map(|(index, text)| (index, text.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn a_list_has_a_limit_as_a_whole() {
    let patterns: Vec<String> = (0..200).map(|i| format!("{i}[a-z]{{2000}}")).collect();
    assert_eq!(PatternSet::compile(patterns).expect_err("too big"), [InvalidPattern::TooBig { index: None }]);
    // A thousand patterns of the usual kind are nowhere near it.
    let patterns: Vec<String> = (0..1000).map(|i| format!(r"project-{i}/.*/file_.*_linux_amd64\.tar\.gz$")).collect();
    let set = PatternSet::compile(patterns).expect("fits");
    assert!(set.first_match("project-999/v1/file_1_linux_amd64.tar.gz").is_some());
}
