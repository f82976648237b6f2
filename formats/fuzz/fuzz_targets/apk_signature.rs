//! Signatures of apk indexes, against the key of the fixtures: files as they come, or what is signed with the tar stream of a
//! signature member before it, or v3 values with a signature block behind them. Only what the key signed is ever said to be
//! signed, however the bytes arrive.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use std::sync::LazyLock;

use artifactapi_formats::{KeyKind, Limits, TrustedKeys};
use drive::samples::alpine::{adb_deflate, block};
use drive::samples::gzip;
use libfuzzer_sys::fuzz_target;

const V2: &str = "main/x86_64/APKINDEX.tar.gz";
const V3: &str = "feed/x86_64/packages.adb";
const INDEX: &[u8] = include_bytes!("../../../fixtures/small/alpine/APKINDEX.tar.gz");
const COMMUNITY: &[u8] = include_bytes!("../../../fixtures/small/alpine/community/APKINDEX.tar.gz");
const FEED: &[u8] = include_bytes!("../../../fixtures/small/alpine/feed/packages.adb");
const KEY: &[u8] = include_bytes!("../../../fixtures/small/alpine/fixtures@example.org-67241a00.rsa.pub");
const NAME: &str = "fixtures@example.org-67241a00.rsa.pub";

static KEYS: LazyLock<[TrustedKeys; 2]> = LazyLock::new(|| {
    [Some(NAME), None].map(|name| {
        let mut keys = TrustedKeys::default();
        keys.add(KeyKind::PublicKey, name, KEY, &Limits::default()).expect("a good key");
        keys
    })
});

/// What follows the signature members of the two fixtures.
static SIGNED: LazyLock<[&[u8]; 2]> = LazyLock::new(|| {
    [INDEX, COMMUNITY].map(|index| {
        let mut member = flate2::bufread::GzDecoder::new(index);
        std::io::copy(&mut member, &mut std::io::sink()).expect("a whole member");
        member.into_inner()
    })
});

fuzz_target!(|input: &[u8]| {
    let (way, rest) = drive::choose(input, 6);
    let (entry, file) = match way {
        0 => (V2, rest.to_vec()),
        1 => (V2, [&gzip(rest), SIGNED[0]].concat()),
        2 => (V3, rest.to_vec()),
        3 => (V3, [FEED, &block(1, rest)].concat()),
        4 => (V3, [b"ADB.indx".to_vec(), block(0, rest), block(1, rest)].concat()),
        _ => (V3, adb_deflate(rest)),
    };
    for keys in &*KEYS {
        let whole = drive::verify("alpine", entry, &file, &[], keys, file.len().max(1));
        let pieces = drive::verify("alpine", entry, &file, &[], keys, 7);
        // What is found wrong first may be another thing.
        assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "it depends on how the bytes arrive");
        if whole.is_ok() {
            match entry {
                V2 => assert!(SIGNED.iter().any(|signed| file.ends_with(signed)), "something else than the key signed"),
                // What the fixture's signatures cover are its values, whatever lies around them.
                _ => assert!(drive::contains(&drive::opened(&file), drive::values(FEED)), "something else than the key signed"),
            }
        }
    }
});
