//! What indexes say of a path, and what a record says of itself.

use std::time::SystemTime;

use artifactapi_formats::{Algorithm, Digest, Identity, PackageEntry, RepoPath};

use super::*;
use crate::config::{Repositories, Source};
use crate::store::catalog::snapshots::PackageRowId;
use crate::store::catalog::{Revision, Validators};

fn configured() -> Repositories {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("remotes.yaml");
    let text = "remotes:\n  ours: { type: local, package: alpine }\n  theirs: { base_url: \"http://up.example\", \
                type: remote, package: alpine }\n";
    std::fs::write(&file, text).expect("written");
    let source = Source::find(Some(&file), folder.path(), artifactapi_formats::FORMATS, Arc::new(|_: &str| None));
    source.and_then(|source| source.load()).expect("repositories")
}

fn target(path: &str) -> Target {
    Target::new("ours".parse().expect("a name"), RepoPath::new(path).expect(path))
}

/// `f` is the digest of the file, `g` that of another file; others are digests of parts, which only the format can tell.
fn identity(word: &str) -> Identity {
    let mut hasher = Algorithm::Sha256.hasher();
    hasher.update(word.as_bytes());
    let digest: Digest = hasher.finish();
    if matches!(word, "f" | "g") { Identity::File(digest) } else { Identity::Part(digest) }
}

fn named(root: &str, means: &str) -> NamedPackage {
    NamedPackage {
        row: PackageRowId(1),
        root: target(root),
        package: PackageEntry {
            name: "p".to_owned(),
            version: "1".to_owned(),
            arch: "x86_64".to_owned(),
            path: RepoPath::new("x86_64/p-1.apk").expect("a path"),
            size: 1,
            identity: identity(means),
        },
        first: SnapshotId(1),
        last: None,
    }
}

/// Whether indexes, as `folder/index=identity`, agree with a file that is known to be of this identity, if any is known.
fn agree(repository: &str, indexes: &str, known: Option<&str>) -> Option<bool> {
    let named: Vec<NamedPackage> = indexes
        .split_whitespace()
        .map(|word| word.split_once('=').expect("an identity"))
        .map(|(root, means)| named(root, means))
        .collect();
    let target = target("x86_64/p-1.apk");
    let record = Artifact {
        revision: Revision(1),
        blob: target.first_blob_key(),
        size: 1,
        sha256: Sha256::of(b"f"),
        content_type: String::new(),
        validators: Validators::default(),
        last_modified: SystemTime::UNIX_EPOCH,
        stored_at: SystemTime::UNIX_EPOCH,
        checked_at: SystemTime::UNIX_EPOCH,
        identity: known.map(identity),
        target,
    };
    agrees(&configured().get(repository).expect("a repository").clone(), &named, &record)
}

#[test]
fn who_agrees_with_a_record() {
    // Indexes, what the record says that it is, and what comes of it for a local repository and for a remote one.
    for (indexes, known, ours, theirs) in [
        ("", None, Some(true), Some(true)),
        ("a/2=one", Some("one"), Some(true), Some(true)),
        ("a/2=one", Some("two"), Some(false), Some(false)),
        ("a/2=one", None, None, None),
        ("a/2=f", None, Some(true), Some(true)),
        ("a/2=g", None, Some(false), Some(false)),
        ("a/2=one b/2=two", Some("two"), Some(true), Some(true)),
        ("a/2=one b/2=f", None, Some(true), Some(true)),
        ("a/2=one b/2=g", None, None, None),
        // Beside each other, both must mean it.
        ("a/2=one a/3=one", Some("one"), Some(true), Some(true)),
        ("a/2=one a/3=two", Some("one"), Some(false), Some(true)),
        ("a/2=one a/3=two", Some("two"), Some(false), Some(true)),
        ("a/2=one a/3=two", None, None, None),
        ("a/2=one a/3=g", None, Some(false), None),
        ("a/2=one a/3=f", None, None, Some(true)),
        ("a/2=one a/3=two b/2=one", Some("one"), Some(true), Some(true)),
    ] {
        assert_eq!(agree("ours", indexes, known), ours, "ours: {indexes}, {known:?}");
        assert_eq!(agree("theirs", indexes, known), theirs, "theirs: {indexes}, {known:?}");
    }
}
