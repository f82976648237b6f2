//! What the package check takes and refuses, on packages made here.

use crate::Invalid;
use crate::rpm::tests::{check, whole};
use crate::samples::rpm::{Kind, Rpm, header, int32, string, strings};

const PACKAGE: &str = "9/os/Packages/sample-1.0-1.noarch.rpm";

#[test]
fn a_package_agrees_with_itself() {
    for kind in [Kind::Modern, Kind::Old] {
        let rpm = Rpm::new(kind);
        let file = rpm.file();
        for piece in [1, 17, 100_000] {
            check(PACKAGE, None, &file, piece).expect("valid");
            check(PACKAGE, Some(&whole(&file)), &file, piece).expect("as the index says");
        }
        assert!(check(PACKAGE, Some(&whole(b"other")), &file, 100).is_err());
        for cut in 0..file.len() {
            assert!(check(PACKAGE, None, &file[..cut], 4096).is_err(), "cut at {cut}");
        }
        for at in file.len() - rpm.header.len() - rpm.payload.len()..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 4;
            assert!(check(PACKAGE, None, &flipped, 4096).is_err(), "flipped at {at}");
        }
        assert!(check(PACKAGE, None, &[&file[..], b"x"].concat(), 100).is_err(), "a tail");
    }
}

#[test]
fn what_is_no_package_is_refused() {
    let counts = |entries: u32, data: u32| {
        let mut file = Rpm::lead();
        file.extend_from_slice(&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]);
        file.extend_from_slice(&entries.to_be_bytes());
        file.extend_from_slice(&data.to_be_bytes());
        file
    };
    let outside =
        [Rpm::lead(), header(&[(1000, 9, 1, vec![1; 4])]).iter().map(|b| if *b == 9 { 99 } else { *b }).collect()];
    let table = [
        ("a page", b"<!DOCTYPE html><html></html>".to_vec()),
        ("nothing", Vec::new()),
        ("another major version", [0xed, 0xab, 0xee, 0xdb, 9].to_vec()),
        ("no header", [Rpm::lead(), vec![0; 64]].concat()),
        ("an empty header", counts(0, 0)),
        ("a type that is none", outside.concat()),
    ];
    for (what, file) in table {
        assert!(check(PACKAGE, None, &file, 11).is_err(), "{what}");
    }
    for (entries, data) in [(u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX)] {
        let why = check(PACKAGE, None, &counts(entries, data), 11);
        assert!(matches!(why, Err(Invalid::OverLimit { limit: "header_bytes", .. })), "{why:?}");
    }
}

#[test]
fn a_package_that_promises_nothing_is_taken_as_it_is() {
    let bare = Rpm { signature: header(&[string(1008, "x")]), header: header(&[string(1000, "x")]), payload: vec![1] };
    check(PACKAGE, None, &bare.file(), 11).expect("complete as far as anyone can tell");
    let odd = Rpm { header: header(&[strings(5092, "zz"), int32(5093, 8)]), ..bare };
    assert!(check(PACKAGE, None, &odd.file(), 11).is_err(), "a digest that cannot be read");
}
