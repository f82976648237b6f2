//! `trusted_keys`: what is read, what is refused, what is shown.

use std::fs;
use std::path::Path;

use super::{problems, source, with};
use crate::config::{ConfigError, Kind, Repositories};

const ALPINE: &str = "fixtures/small/alpine/fixtures@example.org-67241a00.rsa.pub";
const NAME: &str = "fixtures@example.org-67241a00.rsa.pub";
const RPM: &str = "fixtures/small/rpm/RPM-GPG-KEY-fixtures";

fn fixture(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a fixture")
}

fn shown(repositories: &Repositories, name: &str) -> Vec<String> {
    let repository = repositories.get(name).expect(name);
    let Kind::Remote(remote) = &repository.kind else { panic!("{name} is a remote") };
    remote.trusted_keys.shown().map(str::to_owned).collect()
}

/// A key as a block of a YAML list.
fn block(key: &str) -> String {
    let lines: String = key.lines().map(|line| format!("        {line}\n")).collect();
    format!("      - |\n{lines}")
}

#[test]
fn files_and_blocks() {
    let folder = tempfile::tempdir().expect("folder");
    fs::create_dir(folder.path().join("keys")).expect("folder");
    fs::write(folder.path().join("keys").join(NAME), fixture(ALPINE)).expect("write");
    let text = format!(
        "remotes:\n  apk:\n    base_url: https://example.com\n    package: alpine\n    trusted_keys:\n      - keys/{NAME}\n{}  \
         rpm:\n    base_url: https://example.com\n    package: rpm\n    trusted_keys:\n{}  \
         none: {{base_url: 'https://example.com', package: rpm}}\n",
        block(&fixture(ALPINE)),
        block(&fixture(RPM)),
    );
    fs::write(folder.path().join("remotes.yaml"), text).expect("write");
    let repositories = source(folder.path()).load().expect("valid");
    let keys = shown(&repositories, "apk");
    let digest = keys[1].strip_prefix("sha256:").expect("a key without a name");
    assert_eq!(digest.len(), 64);
    assert_eq!(keys[0], format!("{NAME} (sha256:{digest})"));
    let [fingerprint] = &shown(&repositories, "rpm")[..] else { panic!("one key") };
    assert_eq!(fingerprint, "ABD524216C6D88554A4F1EC2653786EEE9AD3D0E");
    assert!(shown(&repositories, "none").is_empty());
}

#[test]
fn a_changed_key_file_is_another_configuration() {
    let folder = tempfile::tempdir().expect("folder");
    let text = "remotes: {r: {base_url: 'https://example.com', package: rpm, trusted_keys: [the.key]}}";
    fs::write(folder.path().join("remotes.yaml"), text).expect("write");
    let load = |key: &str| {
        fs::write(folder.path().join("the.key"), fixture(key)).expect("write");
        source(folder.path()).load().expect("valid")
    };
    let (one, two) = (load(RPM), load("fixtures/small/rpm/RPM-GPG-KEY-untrusted"));
    assert_ne!(shown(&one, "r"), shown(&two, "r"));
    assert_ne!(one.digest().hex(), two.digest().hex(), "two replicas with other keys differ");
}

#[test]
fn what_is_refused() {
    let table = [
        (
            "trusted_keys: the.key",
            "5:19: remotes.r.trusted_keys: wants a list (each entry after a dash), and this is text",
        ),
        (
            "trusted_keys: []",
            "5:19: remotes.r.trusted_keys: names no key; leave trusted_keys out to take indexes whoever signed them",
        ),
        ("trusted_keys: [5]", "5:20: remotes.r.trusted_keys[0]: wants text (put it in quotes), and this is a number"),
        (
            "trusted_keys: [gone.key]",
            "5:20: remotes.r.trusted_keys[0]: cannot read \"gone.key\": No such file or directory (os error 2)",
        ),
        (
            "trusted_keys: [remotes.yaml]",
            "5:20: remotes.r.trusted_keys[0]: \"remotes.yaml\" is not an OpenPGP public key \
             (-----BEGIN PGP PUBLIC KEY BLOCK-----, or binary)",
        ),
        (
            "trusted_keys: [\"-----BEGIN PGP PRIVATE KEY BLOCK-----\\n\\ncGxhbnRlZA==\\n-----END PGP PRIVATE KEY BLOCK-----\"]",
            "5:20: remotes.r.trusted_keys[0]: this text holds a private key, which is not needed and should not lie here; \
             give the public one",
        ),
        (
            "trusted_keys: [\"-----BEGIN PGP PUBLIC KEY BLOCK-----\\n\"]",
            "5:20: remotes.r.trusted_keys[0]: this text is a key that cannot be read: a block breaks off",
        ),
    ];
    for (line, expected) in table {
        assert_eq!(with(line), [expected], "{line}");
    }
    assert_eq!(
        problems("remotes:\n  r: {base_url: 'https://example.com', package: generic, trusted_keys: [a]}\n"),
        ["2:58: remotes.r.trusted_keys: is for formats whose indexes are signed, and generic has none; drop the key"]
    );
    assert_eq!(
        problems("remotes:\n  r: {type: local, package: rpm, trusted_keys: [a]}\n"),
        [
            "2:34: remotes.r.trusted_keys: is for type: remote, and this repository is type: local; drop the key or change \
          the type"
        ]
    );
    assert_eq!(with("trusted_keys: [gone.key, lost.key]").len(), 2, "all at once");
}

#[test]
fn a_key_of_the_other_kind() {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("the.key"), fixture(RPM)).expect("write");
    let text = "remotes:\n  r: {base_url: 'https://example.com', package: alpine, trusted_keys: [the.key]}\n";
    fs::write(folder.path().join("remotes.yaml"), text).expect("write");
    let Err(ConfigError::Invalid { problems, .. }) = source(folder.path()).load() else { panic!("wrong") };
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let expected = "2:72: remotes.r.trusted_keys[0]: \"the.key\" is not a PEM public key (-----BEGIN PUBLIC KEY-----)";
    assert_eq!(problems, [expected]);
}

#[test]
fn keys_that_sign_no_more_are_served_under_their_names() {
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("write");
    write(NAME, &fixture(ALPINE));
    write("old", &fixture(RPM));
    write("unnamed", &fixture(ALPINE));
    let read = |text: &str| {
        write("remotes.yaml", &format!("remotes:\n{text}"));
        source(folder.path()).load()
    };
    let text = format!(
        "  apk: {{type: local, package: alpine, retired_keys: [{NAME}]}}\n  rpm: {{type: local, package: rpm, retired_keys: [old]}}\n  \
         all: {{type: virtual, package: rpm, members: [rpm], retired_keys: [old]}}\n"
    );
    let repositories = read(&text).expect("valid");
    let served = |repository: &str, name: &str| {
        let repository = repositories.get(repository).expect("a repository");
        repository.public_key(name).map(str::to_owned)
    };
    assert_eq!(served("apk", NAME), Some(fixture(ALPINE)));
    let Kind::Local(local) = &repositories.get("rpm").expect("rpm").kind else { panic!("it is local") };
    let name = &local.retired_keys.first().expect("a key").name;
    assert!(name.len() == 44 && name.ends_with(".asc"), "{name}");
    for repository in ["rpm", "all"] {
        assert_eq!(served(repository, name), Some(fixture(RPM)));
    }

    let table = [
        ("alpine, retired_keys: [old]", "is not a PEM public key"),
        ("alpine, retired_keys: [unnamed]", "does not end in .rsa.pub"),
        ("alpine, retired_keys: [gone]", "cannot read \"gone\""),
        ("rpm, retired_keys: [old, old]", "is the second key named"),
        ("rpm, retired_keys: [unnamed]", "is not an OpenPGP public key"),
        ("generic, retired_keys: [old]", "is for formats whose indexes are signed"),
    ];
    for (keys, why) in table {
        let refused = read(&format!("  r: {{type: local, package: {keys}}}\n"));
        let Err(ConfigError::Invalid { problems, .. }) = refused else { panic!("{keys}: {refused:?}") };
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(problems.len() == 1 && problems.iter().all(|problem| problem.contains(why)), "{keys}: {problems:?}");
    }
}
