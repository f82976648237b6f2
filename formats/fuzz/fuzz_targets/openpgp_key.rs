//! Files with OpenPGP certificates: as they come, armored or binary, in one block or two, or behind a good one. A file that is
//! taken names its keys, and can be taken again without adding any.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use artifactapi_formats::{KeyKind, TrustedKeys};
use libfuzzer_sys::fuzz_target;

const GOOD: &[u8] = include_bytes!("../../../fixtures/signatures/rsa.pgp");
const SIGNATURE: &[u8] = include_bytes!("../../../fixtures/signatures/rsa-sha256.asc");
const CONTENT: &[u8] = include_bytes!("../../../fixtures/signatures/repomd.xml");

fuzz_target!(init: drive::tell_of_contained_panics(), |input: &[u8]| {
    let (way, rest) = drive::choose(input, 4);
    let (first, second) = rest.split_at(rest.len() / 2);
    let file = match way {
        0 => rest.to_vec(),
        1 => drive::armored("PUBLIC KEY BLOCK", rest),
        2 => [drive::armored("PUBLIC KEY BLOCK", first), drive::armored("PUBLIC KEY BLOCK", second)].concat(),
        _ => [GOOD, rest].concat(),
    };
    let mut keys = TrustedKeys::default();
    if keys.add(KeyKind::Certificate, Some("a.asc"), &file, &drive::limits()).is_err() {
        return;
    }
    let shown: Vec<String> = keys.shown().map(str::to_owned).collect();
    assert!(!shown.is_empty());
    for print in &shown {
        assert!([40, 64].contains(&print.len()) && print.bytes().all(|byte| byte.is_ascii_hexdigit()), "{print}");
    }
    keys.add(KeyKind::Certificate, Some("b.asc"), &file, &drive::limits()).expect("it was taken before");
    assert_eq!(keys.shown().collect::<Vec<_>>(), shown);
    // Whatever they are, a verdict comes of them.
    let companions = [("repodata/repomd.xml.asc", SIGNATURE)];
    let _ = drive::verify("rpm", "repodata/repomd.xml", CONTENT, &companions, &keys, CONTENT.len());
});
