//! ADB files: as they come, or as the values of an index or a package in each container.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use drive::samples::alpine::{adb_deflate, adb_zstd, block};
use libfuzzer_sys::fuzz_target;

const INDEX: &str = "x86_64/Packages.adb";
const PACKAGE: &str = "x86_64/sample-1.0-r0.apk";

fuzz_target!(|input: &[u8]| {
    let (way, rest) = drive::choose(input, 8);
    let index = [b"ADB.indx".to_vec(), block(0, rest)].concat();
    // A package's values, then one file.
    let (values, file) = rest.split_at(rest.len() / 2);
    let package = [b"ADB.pckg".to_vec(), block(0, values), block(2, file)].concat();
    let file = match way {
        0 | 1 => rest.to_vec(),
        2 => index,
        3 => adb_deflate(&index),
        4 => adb_zstd(&index),
        5 => package,
        6 => adb_deflate(&package),
        _ => adb_zstd(&package),
    };
    assert_eq!(drive::list("alpine", INDEX, &file), drive::check("alpine", INDEX, None, &file));
    drive::check("alpine", PACKAGE, None, &file);
});
