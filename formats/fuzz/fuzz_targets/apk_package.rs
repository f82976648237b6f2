//! A v2 package: the file as it is, its control member's tar stream, or its .PKGINFO.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use artifactapi_formats::{Algorithm, Digest, Expected, Identity};
use drive::samples::alpine::tar_entry;
use drive::samples::{gzip, sha1};
use libfuzzer_sys::fuzz_target;

const PATH: &str = "main/x86_64/sample-1.0-r0.apk";

fuzz_target!(|input: &[u8]| {
    let (way, rest) = drive::choose(input, 3);
    let control = match way {
        1 => gzip(rest),
        _ => gzip(&tar_entry(".PKGINFO", b'0', rest)),
    };
    let file = if way == 0 { rest.to_vec() } else { [&control[..], b"data"].concat() };
    let alone = drive::check("alpine", PATH, None, &file);
    let digest = Digest::from_bytes(Algorithm::Sha1, &sha1(&control)).expect("20 bytes");
    let expected = Expected { size: None, identity: Identity::Part(digest) };
    let held = drive::check("alpine", PATH, Some(&expected), &file);
    // An expectation can only take away; here it is the right one unless the file is as it came.
    assert!(alone || !held);
    assert!(way == 0 || alone == held);
});
