//! Damage to small files of every kind: each cut and each flipped bit that a digest covers is found, and whatever bytes
//! come, nothing panics.

mod samples;

use std::io::Cursor;
use std::ops::ControlFlow;

use artifactapi_formats::{Expected, Format, IndexRoot, Invalid, Limits, RepoPath, Sha256, find};
use samples::alpine::{Apk, adb_deflate, adb_zstd, index_v3, package_v3, stanza};
use samples::rpm::{Kind, Rpm, data, primary, repomd};
use samples::{alpine, bzip2, gzip, xz, zstd};

/// A small number that looks random and never changes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

fn check(format: &str, path: &str, file: &[u8]) -> Result<(), Invalid> {
    check_as(find(format).expect("known"), &RepoPath::new(path).expect("valid"), None, file)
}

fn check_as(format: &dyn Format, path: &RepoPath, expected: Option<&Expected>, file: &[u8]) -> Result<(), Invalid> {
    let mut checker = format.checker(path, expected, &Limits::default()).expect("there is one");
    for piece in file.chunks(97) {
        checker.update(piece)?;
    }
    checker.finish(&mut Cursor::new(file), &Sha256::of(file))
}

/// Reads a package list the way the engine would; what comes out does not matter here.
fn list(format: &str, entry: &str, mut file: &[u8]) -> Result<(), Invalid> {
    let index = find(format).and_then(Format::index).expect("known");
    let root = IndexRoot { entry: RepoPath::new(entry).expect("valid") };
    index.packages(&root, &mut file, &Limits::default(), &mut |_| ControlFlow::Continue(()))
}

const APKINDEX: &str = "main/x86_64/APKINDEX.tar.gz";
const REPOMD: &str = "9/os/repodata/repomd.xml";

fn apkindex() -> Vec<u8> {
    alpine::index(&(stanza("a", "1-r0", "x86_64", &[1; 20]) + &stanza("b", "2-r0", "noarch", &[2; 20])))
}

/// Everything that is checked alone: a name for messages, the format, a path, the file.
fn checked() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let adb = index_v3("", &[("one", "1.0", "x86_64", &[1; 32]), ("two", "2.0", "noarch", &[2; 20])]);
    let (package_v3, _) = package_v3();
    let apk = Apk::new("sample", "1.0-r0");
    vec![
        ("apk", "alpine", "x86_64/sample-1.0-r0.apk", apk.file()),
        ("apk, unsigned", "alpine", "x86_64/sample-1.0-r0.apk", [&apk.control[..], &apk.data].concat()),
        ("apk v3", "alpine", "x86_64/sample-1.0-r0.apk", package_v3.clone()),
        ("apk v3, zstd", "alpine", "x86_64/sample-1.0-r0.apk", adb_zstd(&package_v3)),
        ("APKINDEX", "alpine", APKINDEX, apkindex()),
        ("adb", "alpine", "x86_64/Packages.adb", adb.clone()),
        ("adb, deflate", "alpine", "x86_64/Packages.adb", adb_deflate(&adb)),
        ("rpm", "rpm", "a.rpm", Rpm::new(Kind::Modern).file()),
        ("rpm, old", "rpm", "a.rpm", Rpm::new(Kind::Old).file()),
        ("repomd.xml", "rpm", REPOMD, repomd(&data("primary", "repodata/primary.xml.gz", b"x")).trim_end().into()),
    ]
}

/// Package lists, and the path of the index they belong to.
fn lists() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let xml = primary(&[("a", "a.rpm"), ("b", "b.rpm")]);
    let xml = xml.trim_end().as_bytes();
    vec![
        ("APKINDEX", "alpine", APKINDEX, apkindex()),
        ("primary", "rpm", REPOMD, xml.to_vec()),
        ("primary, gzip", "rpm", REPOMD, gzip(xml)),
        ("primary, xz", "rpm", REPOMD, xz(xml)),
        ("primary, zstd", "rpm", REPOMD, zstd(xml)),
        ("primary, bzip2", "rpm", REPOMD, bzip2(xml)),
    ]
}

#[test]
fn every_cut_is_found() {
    for (what, format, path, file) in checked() {
        check(format, path, &file).unwrap_or_else(|invalid| panic!("{what}: {invalid}"));
        for cut in 0..file.len() {
            // What is left of a v3 index without its signature is an index without a signature.
            let is_whole = what == "adb" && cut == file.len() - 96;
            assert!(check(format, path, &file[..cut]).is_err() || is_whole, "{what}: cut at {cut} of {}", file.len());
        }
    }
    for (what, format, entry, file) in lists() {
        list(format, entry, &file).unwrap_or_else(|invalid| panic!("{what}: {invalid}"));
        for cut in 0..file.len() {
            assert!(list(format, entry, &file[..cut]).is_err(), "{what}: cut at {cut} of {}", file.len());
        }
    }
}

/// With the identity an index gives, nothing that is installed can change unseen.
#[test]
fn every_flip_in_an_apk_is_found_but_for_its_signature() {
    let apk = Apk::new("sample", "1.0-r0");
    let root = IndexRoot { entry: RepoPath::new(APKINDEX).expect("valid") };
    let index = alpine::index(&stanza("sample", "1.0-r0", "x86_64", &apk.control_sha1()));
    let alpine = find("alpine").expect("known");
    let mut named = None;
    let read =
        alpine.index().expect("it has indexes").packages(&root, &mut &index[..], &Limits::default(), &mut |package| {
            named = Some(package);
            ControlFlow::Break(())
        });
    let package = read.ok().and(named).expect("one package");
    let expected = package.expected();
    let file = apk.file();
    check_as(alpine, &package.path, Some(&expected), &file).expect("as the index says");
    for at in apk.signature.len()..file.len() {
        for bit in [1, 0x80] {
            let mut flipped = file.clone();
            flipped[at] ^= bit;
            let verdict = check_as(alpine, &package.path, Some(&expected), &flipped);
            assert!(verdict.is_err(), "flipped at {at}");
        }
    }
}

/// A flip that goes unnoticed changes nothing: deflate can say the same in two ways, and gzip headers hold a time, a
/// system and flags that nobody reads.
#[test]
fn every_flip_in_an_index_is_found_or_harmless() {
    let file = apkindex();
    let read = |mut file: &[u8]| {
        let mut all = Vec::new();
        let root = IndexRoot { entry: RepoPath::new(APKINDEX).expect("valid") };
        let index = find("alpine").and_then(Format::index).expect("known");
        let read = index.packages(&root, &mut file, &Limits::default(), &mut |package| {
            all.push(package);
            ControlFlow::Continue(())
        });
        read.map(|()| all)
    };
    let (whole, mut harmless) = (read(&file).expect("valid"), 0);
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        if let Ok(packages) = read(&flipped) {
            assert_eq!(packages, whole, "flipped at {at}");
            harmless += 1;
        }
    }
    assert!(harmless < 20, "{harmless} of {}", file.len());
}

/// Many changes at once, anywhere, in every kind of file: any verdict will do, a panic or an endless loop will not.
#[test]
fn nothing_panics() {
    let mut dice = Dice(7);
    let all: Vec<_> =
        checked().into_iter().map(|row| (row, true)).chain(lists().into_iter().map(|row| (row, false))).collect();
    for ((_, format, path, file), is_checked) in &all {
        for _ in 0..400 {
            let mut damaged = file.clone();
            for _ in 0..=dice.roll(8) {
                let at = dice.roll(damaged.len());
                damaged[at] = u8::try_from(dice.roll(256)).expect("a byte");
            }
            if dice.roll(3) == 0 {
                let (_, _, _, other) = &all[dice.roll(all.len())].0;
                damaged.splice(dice.roll(damaged.len()).., other[dice.roll(other.len())..].iter().copied());
            }
            let _ = if *is_checked { check(format, path, &damaged) } else { list(format, path, &damaged) };
        }
    }
}
