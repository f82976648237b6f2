//! `APKINDEX.tar.gz`: the file as it is, its tar stream, or its text.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use drive::samples::alpine::{index_tar, signature_member};
use drive::samples::gzip;
use libfuzzer_sys::fuzz_target;

const ENTRY: &str = "main/x86_64/APKINDEX.tar.gz";

fuzz_target!(|input: &[u8]| {
    let (way, rest) = drive::choose(input, 4);
    let file = match way {
        0 => rest.to_vec(),
        1 => gzip(rest),
        2 => [signature_member(), gzip(rest)].concat(),
        _ => gzip(&index_tar(&String::from_utf8_lossy(rest))),
    };
    assert_eq!(drive::list("alpine", ENTRY, &file), drive::check("alpine", ENTRY, None, &file));
});
