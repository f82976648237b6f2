//! The name a blob goes by in a store.
//!
//! It is the blob's key, so that an operator finds a file from its URL (DESIGN 7), except where a store could not take
//! the key as it is. Two things break otherwise, on a file system and on S3 servers that are one underneath:
//! - a segment longer than a file name may be ([`LONGEST`]);
//! - a key that is also the folder of another one: `r/h/x` beside `r/h/x/y`.
//!
//! The first is shortened to a hash. Against the second, file names and folder names below the second level are kept
//! apart: a folder is spelled out only if it is 16 hexadecimal digits, which is what keys use, and a file only if it is
//! not. Whatever is not spelled out becomes `@f` or `@d` and the SHA-256 of the segment. The name depends on the key
//! alone, never on what is there already, so two replicas and two runs agree on it.
//!
//! An escaped name does not tell its key; the key is then taken from what is recorded with the blob.

use std::borrow::Cow;

use artifactapi_formats::{RepoPath, Sha256};

use crate::store::key::BlobKey;

/// The longest segment that is spelled out, in bytes: file systems take 255, of which `.json` and a little more is
/// ours.
const LONGEST: usize = 245;

/// How many levels of folders are spelled out whatever they are called: repository or host, and path hash.
const FREE_LEVELS: usize = 2;

/// What an escaped segment starts with. No segment that is spelled out does.
const ESCAPE: char = '@';

/// The name of the blob under `key`: relative, slash-separated, each segment at most 255 bytes.
pub(super) fn name_of(key: &BlobKey) -> String {
    let (folders, file) = key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()));
    let mut name = String::with_capacity(key.as_str().len() + 1);
    let mut level = 0;
    for folder in folders.split('/').filter(|_| !folders.is_empty()) {
        name.push_str(&folder_name(folder, level));
        name.push('/');
        level += 1;
    }
    name.push_str(&file_name(file, level));
    name
}

/// The key that `name` spells out. `None` if it does not: it is escaped, or no name of ours.
pub(super) fn key_of(name: &str) -> Option<BlobKey> {
    let key: BlobKey = name.parse().ok()?;
    (name_of(&key) == name).then_some(key)
}

/// Whether the key of the blob called `name` must be looked up in its record.
pub(super) fn is_escaped(name: &str) -> bool {
    name.split('/').any(|segment| segment.starts_with(ESCAPE))
}

/// Whether a blob of ours may be called so: keys have a hash for their second segment, and another one or none before the file.
/// What somebody else keeps in the same place is hardly ever called so.
pub(super) fn is_ours(name: &str) -> bool {
    let is_shaped = match *name.split('/').collect::<Vec<_>>() {
        [_, path, _] => is_hash(path),
        [_, path, content, _] => is_hash(path) && is_hash(content),
        _ => false,
    };
    is_shaped && (is_escaped(name) || key_of(name).is_some())
}

/// The folder, with its trailing slash, below which all names of keys that start with `prefix` lie.
pub(super) fn folder_of_prefix(prefix: &str) -> String {
    let folders = prefix.rsplit_once('/').map_or("", |(folders, _)| folders);
    let named = folders.split('/').filter(|_| !folders.is_empty()).enumerate();
    named.map(|(level, folder)| format!("{}/", folder_name(folder, level))).collect()
}

fn folder_name(segment: &str, level: usize) -> Cow<'_, str> {
    // A leading dot is reserved for a store's own folders.
    let spelled_out = is_plain(segment) && !segment.starts_with('.') && (level < FREE_LEVELS || is_hash(segment));
    if spelled_out { Cow::Borrowed(segment) } else { Cow::Owned(escaped('d', segment)) }
}

fn file_name(segment: &str, level: usize) -> Cow<'_, str> {
    let spelled_out = is_plain(segment) && level >= FREE_LEVELS && !is_hash(segment);
    if spelled_out { Cow::Borrowed(segment) } else { Cow::Owned(escaped('f', segment)) }
}

fn escaped(kind: char, segment: &str) -> String {
    format!("{ESCAPE}{kind}{}", Sha256::of(segment.as_bytes()).hex())
}

fn is_plain(segment: &str) -> bool {
    segment.len() <= LONGEST && !segment.starts_with(ESCAPE) && RepoPath::new(segment).is_ok()
}

/// Whether this looks like the hashes that keys are made of.
fn is_hash(segment: &str) -> bool {
    segment.len() == 16 && segment.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> BlobKey {
        text.parse().expect(text)
    }

    #[test]
    fn keys_of_the_design_are_spelled_out() {
        for text in [
            "alpine/0123456789abcdef/APKINDEX.tar.gz",
            "alpine/0123456789abcdef/fedcba9876543210/APKINDEX.tar.gz",
            "alma/0123456789abcdef/.treeinfo",
            "files.example.org/0123456789abcdef/a b%20c~é.zip",
        ] {
            assert_eq!(name_of(&key(text)), text);
            assert_eq!(key_of(text), Some(key(text)));
        }
    }

    #[test]
    fn no_name_is_the_folder_of_another() {
        let hash = "0123456789abcdef";
        let tempting = ["a", "b", hash, "@a", ".", "x/y"].map(str::to_owned);
        let mut names = Vec::new();
        for a in &tempting {
            for b in &tempting {
                for c in ["", "/c", "/0123456789abcdef", "/@d"] {
                    for d in ["", "/d", "/0123456789abcdef"] {
                        if let Ok(key) = format!("repo/{a}/{b}{c}{d}").parse::<BlobKey>() {
                            names.push(name_of(&key));
                        }
                    }
                }
            }
        }
        names.sort();
        for name in &names {
            let inside = format!("{name}/");
            assert!(!names.iter().any(|other| other.starts_with(&inside)), "{name} is a file and a folder");
        }
    }

    #[test]
    fn long_and_odd_segments_are_escaped() {
        let long = "é".repeat(300);
        for text in [format!("r/h/{long}"), format!("{long}/h/f"), "r/h/@f".into(), "r/f".into(), "r/h/d/f".into()] {
            let name = name_of(&key(&text));
            assert!(is_escaped(&name), "{name}");
            assert!(name.split('/').all(|segment| segment.len() <= LONGEST));
            assert_eq!(key_of(&name), None);
        }
        let hostile = BlobKey::for_url("example.org", "https://example.org/..", "..");
        assert!(!name_of(&hostile).ends_with(".."));
    }

    #[test]
    fn others_names_are_told_from_ours() {
        let target = |path: &str| crate::store::blobs::conformance::target("r", path);
        for path in ["a.rpm", "x/y/.treeinfo", &"é".repeat(300), "@f"] {
            let target = target(path);
            assert!(is_ours(&name_of(&target.first_blob_key())), "{path}");
            assert!(is_ours(&name_of(&target.later_blob_key(&Sha256::of(b"")))), "{path}");
        }
        assert!(is_ours(&name_of(&BlobKey::for_url("example.org", "https://example.org/x", "x"))));
        for name in
            ["backup.tar", "backups/2026/db.tar", "r/0123456789abcdef", "a/0123456789abcdef/b/c/d", ".about/x.json"]
        {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn prefixes() {
        let hash = "0123456789abcdef";
        assert_eq!(folder_of_prefix(""), "");
        assert_eq!(folder_of_prefix("alp"), "");
        assert_eq!(folder_of_prefix("alpine/"), "alpine/");
        assert_eq!(folder_of_prefix(&format!("alpine/{hash}/APK")), format!("alpine/{hash}/"));
        let odd = key("r/h/odd/f");
        assert!(name_of(&odd).starts_with(&folder_of_prefix("r/h/odd/")));
        assert!(name_of(&odd).starts_with(&folder_of_prefix("r/h/od")));
    }
}
