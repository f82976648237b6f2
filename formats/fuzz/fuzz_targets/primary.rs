//! `primary.xml`: the file as it is, or as the text in each compression.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use drive::samples::{bzip2, gzip, xz, zstd};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // Mostly the text itself: packing takes longer than reading.
    let (way, rest) = drive::choose(input, 16);
    let file = match way {
        0 => gzip(rest),
        1 => xz(rest),
        2 => zstd(rest),
        3 => bzip2(rest),
        _ => rest.to_vec(),
    };
    drive::list("rpm", "9/os/repodata/repomd.xml", &file);
});
