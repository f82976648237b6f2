//! A package that is to be listed: the file as it is, or a main header behind a signature header.
#![no_main]

#[path = "../drive.rs"]
mod drive;
#[path = "../../tests/publishing/mod.rs"]
mod publishing;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (way, rest) = drive::choose(input, 2);
    let file = match way {
        0 => rest.to_vec(),
        _ => publishing::package_of(0, &[], rest),
    };
    drive::describe(&file);
});
