//! What the v3 readers take and refuse, on files made here.

use crate::alpine::tests::{PACKAGE, check, part, read};
use crate::samples::alpine::{adb_deflate, adb_zstd, block, index_v3, index_v3_values, package_v3};
use crate::{Expected, Identity, Invalid, Limits, Sha256};

#[test]
fn a_v3_index_is_read_in_each_container() {
    let packages: [(&str, &str, &str, &[u8]); 2] =
        [("one", "1.0-r0", "x86_64", &[1; 32]), ("two", "2.0-r0", "noarch", &[2; 20])];
    let plain = index_v3("", &packages);
    for file in [plain.clone(), adb_deflate(&plain), adb_zstd(&plain)] {
        let found = read("x86_64/Packages.adb", &file, &Limits::default()).expect("valid");
        let paths: Vec<_> = found.iter().map(|package| package.path.as_str()).collect();
        assert_eq!(paths, ["x86_64/one-1.0-r0.apk", "noarch/two-2.0-r0.apk"]);
        assert!(matches!(&found[0].identity, Identity::Part(digest) if digest.bytes() == [1; 32]));
        assert!(matches!(&found[1].identity, Identity::Part(digest) if digest.bytes() == [2; 20]));
        for piece in [1, 50, 10_000] {
            check("x86_64/Packages.adb", None, &file, piece).expect("valid");
        }
    }
}

#[test]
fn a_v3_index_may_say_where_packages_lie() {
    let packages: [(&str, &str, &str, &[u8]); 1] = [("one", "1.0", "x86_64", &[0xab; 32])];
    let table = [
        ("base/packages.adb", "${name}-${version}.apk", Some("base/one-1.0.apk")),
        ("base/packages.adb", "by/${hash:4}/${name:1}.apk", Some("base/by/abab/o.apk")),
        ("main/x86_64/Packages.adb", "${arch}/${name}.apk", Some("main/x86_64/one.apk")),
        ("base/packages.adb", "https://example.com/${name}.apk", None),
        ("base/packages.adb", "../../${name}.apk", None),
        ("x86_64/Packages.adb", "${arch}/${name}.apk/", None),
    ];
    for (entry, spec, path) in table {
        let found = read(entry, &index_v3(spec, &packages), &Limits::default()).expect("valid");
        assert_eq!(found.first().map(|package| package.path.as_str()), path, "{spec}");
    }
    assert!(read("p.adb", &index_v3("${other}", &packages), &Limits::default()).is_err());
    assert!(read("p.adb", &index_v3("${name", &packages), &Limits::default()).is_err());
}

#[test]
fn adb_files_that_are_not_what_they_should_be() {
    let packages: [(&str, &str, &str, &[u8]); 1] = [("one", "1.0", "x86_64", &[1; 32])];
    let plain = index_v3("", &packages);
    let values = index_v3_values("", &packages);
    let (package, _) = package_v3();
    let newer = [&[1], &values[1..]].concat();
    let headed = |blocks: &[Vec<u8>]| [b"ADB.indx".to_vec(), blocks.concat()].concat();
    let table = [
        ("a package", package),
        ("a page", b"<html>".to_vec()),
        ("nothing", Vec::new()),
        ("a tail behind deflate", [adb_deflate(&plain), vec![0]].concat()),
        ("a tail behind zstd", [adb_zstd(&plain), vec![0]].concat()),
        ("an unknown compression", b"ADBc\x07\x01xxxx".to_vec()),
        ("a newer block", headed(&[block(0, &newer)])),
        ("a signature first", headed(&[block(1, b"x"), block(0, &values)])),
        ("two blocks of values", headed(&[block(0, &values), block(0, &values)])),
        ("files in an index", headed(&[block(0, &values), block(2, b"x")])),
        ("no block", headed(&[])),
    ];
    for (what, file) in table {
        assert!(check("p.adb", None, &file, 64).is_err(), "{what}");
        assert!(read("p.adb", &file, &Limits::default()).is_err(), "{what}");
    }
    let small = Limits { adb_bytes: 10, ..Limits::default() };
    assert!(matches!(read("p.adb", &plain, &small), Err(Invalid::OverLimit { limit: "adb_bytes", .. })));
}

#[test]
fn a_v3_package_is_held_against_the_index() {
    let (plain, values) = package_v3();
    let whole = Expected { size: None, identity: Identity::Part(Sha256::of(&values).into()) };
    let cut = part(&Sha256::of(&values).as_bytes()[..20]);
    let other = Expected { size: None, identity: Identity::Part(Sha256::of(b"other").into()) };
    for file in [plain.clone(), adb_deflate(&plain), adb_zstd(&plain)] {
        for piece in [1, 1000] {
            check(PACKAGE, None, &file, piece).expect("valid");
            check(PACKAGE, Some(&whole), &file, piece).expect("as the index says");
            check(PACKAGE, Some(&cut), &file, piece).expect("as the index says in 20 bytes");
            assert!(check(PACKAGE, Some(&other), &file, piece).is_err());
        }
        for cut in 0..file.len() {
            assert!(check(PACKAGE, None, &file[..cut], 64).is_err(), "cut at {cut} of {}", file.len());
        }
    }
    let content = plain.windows(12).rposition(|window| window == b"more content").expect("is there");
    for at in (0..12 + values.len()).chain(content..content + 12) {
        let mut flipped = plain.clone();
        flipped[at] ^= 1;
        assert!(check(PACKAGE, Some(&whole), &flipped, 64).is_err(), "flipped at {at}");
    }
    let index = index_v3("", &[]);
    assert!(check(PACKAGE, None, &index, 64).is_err(), "an index is no package");
}
