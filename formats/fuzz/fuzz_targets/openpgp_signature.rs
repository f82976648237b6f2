//! Detached OpenPGP signatures of repomd.xml, against the certificates of the fixtures: as they come, as packets in armor, or good ones
//! with another index. The fixtures' keys signed one index each way, so nothing else is ever said to be signed.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use std::sync::LazyLock;

use artifactapi_formats::{Format, KeyKind, RepoPath, TrustedKeys, find};
use libfuzzer_sys::fuzz_target;

const ENTRY: &str = "repodata/repomd.xml";
const ASC: &str = "repodata/repomd.xml.asc";
const CONTENT: &[u8] = include_bytes!("../../../fixtures/signatures/repomd.xml");
const GOOD: &[u8] = include_bytes!("../../../fixtures/signatures/two.asc");

/// The fixtures have good signatures of another index, too: it is this one with a digit changed.
static OTHER: LazyLock<Vec<u8>> =
    LazyLock::new(|| String::from_utf8_lossy(CONTENT).replace("17356", "17357").into_bytes());

static KEYS: LazyLock<TrustedKeys> = LazyLock::new(|| {
    let mut keys = TrustedKeys::default();
    let files: [&[u8]; 8] = [
        include_bytes!("../../../fixtures/signatures/rsa.key"),
        include_bytes!("../../../fixtures/signatures/ed25519.key"),
        include_bytes!("../../../fixtures/signatures/p256.key"),
        include_bytes!("../../../fixtures/signatures/p384.key"),
        include_bytes!("../../../fixtures/signatures/p521.key"),
        include_bytes!("../../../fixtures/signatures/subkey.key"),
        include_bytes!("../../../fixtures/signatures/v3.key"),
        include_bytes!("../../../fixtures/signatures/v6.key"),
    ];
    for file in files {
        keys.add(KeyKind::Certificate, Some("any"), file, &drive::limits()).expect("a good key");
    }
    keys
});

fuzz_target!(init: drive::tell_of_contained_panics(), |input: &[u8]| {
    let (way, rest) = drive::choose(input, 3);
    let armored = drive::armored("SIGNATURE", rest);
    let (content, signature) = match way {
        0 => (CONTENT, rest),
        1 => (CONTENT, &armored[..]),
        _ => (rest, GOOD),
    };
    let verdict = drive::verify("rpm", ENTRY, content, &[(ASC, signature)], &KEYS, content.len().max(1));
    let index = find("rpm").and_then(Format::index).expect("it has indexes");
    let path = RepoPath::new(ASC).expect("a path");
    let is_of_another = index.is_about_another(&path, signature, content, &drive::limits());
    if verdict.is_ok() {
        assert!(content == CONTENT || content == *OTHER, "something else than the keys signed");
        assert!(!is_of_another, "a signature that is good is of another index");
    }
    if way == 1 && rest.first().is_some_and(|first| first & 0x80 != 0) {
        let binary = drive::verify("rpm", ENTRY, content, &[(ASC, rest)], &KEYS, content.len());
        assert_eq!(verdict, binary, "it depends on the armor");
    }
});
