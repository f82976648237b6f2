//! Pages of a repository.

use artifactapi_formats::RepoPath;

use super::{Subject, artifact};
use crate::store::catalog::ListQuery;
use crate::store::key::Target;

/// Names that collations, LIKE and escaping have their own ideas about.
const NAMES: &[(&str, &str)] = &[
    ("a", ""),
    ("A", ""),
    ("a/b", ""),
    ("a/b", "q"),
    ("a/b", "Q=%"),
    ("a-b", ""),
    ("a_b", ""),
    ("a%b", ""),
    ("a b", ""),
    ("aa", ""),
    ("ab/c", ""),
    ("B", ""),
    ("Z", ""),
    ("z", ""),
    ("ä", ""),
    ("a\u{301}", ""),
    ("é.apk", ""),
    ("e.apk", ""),
    ("\u{d7ff}", ""),
    ("\u{e000}", ""),
    ("\u{ffff}", ""),
    ("😀", ""),
    ("\u{10ffff}", ""),
    ("\u{10ffff}\u{10ffff}x", ""),
];

async fn fill(subject: &Subject) -> Vec<(String, String)> {
    for (path, query) in NAMES {
        let mut artifact = artifact(path, path.as_bytes());
        artifact.target = Target::with_query(artifact.target.repository, artifact.target.path, query);
        subject.put(&artifact).await;
        // Neighbours that no page may show.
        for repository in ["alpin", "alpine-", "alpine0"] {
            artifact.target.repository = repository.parse().expect("a name");
            subject.put(&artifact).await;
        }
    }
    let mut sorted: Vec<_> = NAMES.iter().map(|(path, query)| ((*path).to_owned(), (*query).to_owned())).collect();
    sorted.sort();
    sorted
}

async fn pages(subject: &Subject, prefix: &str, limit: u32) -> Vec<(String, String)> {
    let repository = "alpine".parse().expect("a name");
    let mut all: Vec<(String, String)> = Vec::new();
    loop {
        let page = ListQuery { prefix: prefix.to_owned(), after: all.last().cloned(), limit };
        let rows = subject.catalog.list(&repository, &page).await.expect("a page");
        assert!(rows.len() <= limit as usize);
        assert!(rows.iter().all(|row| row.target.repository == repository));
        if rows.is_empty() {
            return all;
        }
        all.extend(rows.iter().map(|row| (row.target.path.to_string(), row.target.query.to_string())));
    }
}

pub(super) async fn pages_come_in_byte_order(subject: Subject) {
    let sorted = fill(&subject).await;
    for limit in [1, 3, 7, 1000] {
        assert_eq!(pages(&subject, "", limit).await, sorted, "pages of {limit}");
    }
    let none = ListQuery { limit: 0, ..ListQuery::default() };
    assert!(subject.catalog.list(&"alpine".parse().expect("a name"), &none).await.expect("a page").is_empty());
}

pub(super) async fn prefixes_are_literal(subject: Subject) {
    let sorted = fill(&subject).await;
    let odd =
        ["a", "a/", "a/b", "a%", "a_", "%", "_", "A", "\u{d7ff}", "\u{10ffff}", "é", "nothing", "a\\", "a\0", "'"];
    for prefix in odd {
        let expected: Vec<_> = sorted.iter().filter(|(path, _)| path.starts_with(prefix)).cloned().collect();
        assert_eq!(pages(&subject, prefix, 2).await, expected, "{prefix:?}");
    }
    let after = ListQuery { after: Some(("a\0".to_owned(), String::new())), limit: 1, ..ListQuery::default() };
    let first = subject.catalog.list(&"alpine".parse().expect("a name"), &after).await.expect("a page");
    assert_eq!(first[0].target.path, RepoPath::new("a b").expect("a path"), "what no row can be is no error");
}
