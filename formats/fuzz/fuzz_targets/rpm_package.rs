//! A package: the file as it is, or a main header and payload behind a signature header that fits them.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use drive::samples::rpm::{Rpm, header, string};
use drive::samples::sha256;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (way, rest) = drive::choose(input, 3);
    let file = match way {
        0 => rest.to_vec(),
        1 => [&Rpm::lead()[..], rest].concat(),
        _ => {
            let signature = header(&[string(273, &sha256(rest))]);
            Rpm { signature, header: rest.to_vec(), payload: Vec::new() }.file()
        }
    };
    drive::check("rpm", "os/sample-1.0-1.noarch.rpm", None, &file);
});
