//! What the index readers and the package check take and refuse, on files made here.

use std::io::Cursor;
use std::ops::ControlFlow;

use super::Alpine;
use crate::samples::alpine::{Apk, TAR_END, index, index_tar, signature_member, stanza, tar_entry};
use crate::samples::{gzip, sha256};
use crate::{
    Algorithm, Digest, Expected, Format, Identity, IndexFormat, IndexRoot, Invalid, Limits, PackageEntry, RepoPath,
    Sha256,
};

const ENTRY: &str = "v3.22/main/x86_64/APKINDEX.tar.gz";

pub(super) fn read(entry: &str, mut file: &[u8], limits: &Limits) -> Result<Vec<PackageEntry>, Invalid> {
    let root = IndexRoot { entry: RepoPath::new(entry).expect("valid") };
    let mut all = Vec::new();
    Alpine.packages(&root, &mut file, limits, &mut |package| {
        all.push(package);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Reads the index, and insists that the checker comes to the same verdict however the bytes arrive.
fn packages(file: &[u8]) -> Result<Vec<PackageEntry>, Invalid> {
    let read = read(ENTRY, file, &Limits::default());
    for piece in [1, 100, file.len().max(1)] {
        let checked = check(ENTRY, None, file, piece);
        assert_eq!(checked.is_ok(), read.is_ok(), "{checked:?} against {read:?}");
    }
    read
}

pub(super) fn check(path: &str, expected: Option<&Expected>, file: &[u8], piece: usize) -> Result<(), Invalid> {
    let path = RepoPath::new(path).expect("valid");
    let mut checker = Alpine.checker(&path, expected, &Limits::default()).expect("there is one");
    for piece in file.chunks(piece) {
        checker.update(piece)?;
    }
    checker.finish(&mut Cursor::new(file), &Sha256::of(file))
}

fn sample() -> String {
    stanza("musl", "1.2.5-r10", "x86_64", &[1; 20]) + &stanza("doc-0", "1_git2020~abc-r1", "noarch", &[2; 20])
}

#[test]
fn an_index_is_read() {
    let found = packages(&index(&sample())).expect("valid");
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].name.as_str(), found[0].version.as_str(), found[0].size), ("musl", "1.2.5-r10", 1234));
    assert_eq!(found[0].path.as_str(), "v3.22/main/x86_64/musl-1.2.5-r10.apk");
    assert_eq!(found[0].identity, Identity::Part(Digest::from_bytes(Algorithm::Sha1, &[1; 20]).expect("20")));
    assert_eq!(found[1].path.as_str(), "v3.22/main/noarch/doc-0-1_git2020~abc-r1.apk");
}

#[test]
fn an_index_may_say_when_it_was_made() {
    let root = IndexRoot { entry: RepoPath::new(ENTRY).expect("valid") };
    let of = |tar: &[u8]| Alpine.made_at(&root, &[signature_member(), gzip(tar)].concat(), &Limits::default());
    let mut tar = index_tar(&sample());
    assert_eq!(of(&tar), None, "the sample leaves the field 0");
    let text = tar.windows(8).position(|window| window == b"APKINDEX").expect("is there");
    tar[text + 136..text + 148].copy_from_slice(b"014336573740");
    assert_eq!(of(&tar), Some(0o14_336_573_740));
    assert_eq!(of(b"<html>"), None);
}

#[test]
fn what_apk_takes_is_taken() {
    let text = sample();
    let entry = |kind, text: &str| tar_entry("APKINDEX", kind, text.as_bytes());
    let description = tar_entry("DESCRIPTION", b'0', b"");
    let more = "C:Q1AQEBAQEBAQEBAQEBAQEBAQEBAQE=\nP:odd\nV:not a version!\nZ:?\nz:?\nS:many\n";
    let table = [
        ("unsigned", gzip(&index_tar(&text)), 2),
        ("APKINDEX first, empty DESCRIPTION", gzip(&[entry(b'0', &text), description, TAR_END.to_vec()].concat()), 2),
        ("no DESCRIPTION", gzip(&[entry(b'0', &text), TAR_END.to_vec()].concat()), 2),
        ("no end of archive", gzip(&entry(b'0', &text)), 2),
        ("an unknown file", gzip(&[tar_entry("NOTES", b'0', b"x"), entry(b'0', &text)].concat()), 2),
        ("an extension header", gzip(&[tar_entry("x", b'x', b"11 path=x\n"), entry(b'0', &text)].concat()), 2),
        ("no blank line at the end", index(text.trim_end_matches('\n')), 1),
        ("a line feed at the end", index(&format!("{}\n", text.trim_end_matches('\n'))), 2),
        ("blank lines in a row", index(&text.replace("\n\n", "\n\n\n\n")), 2),
        ("an odd version, unknown letters", index(more), 1),
        ("a path that is none", index(&text.replace("V:1.2.5-r10", "V:1/../../2")), 1),
        ("carriage returns", index(&text.replace("V:1.2.5-r10\n", "V:1.2.5-r10\r\n")), 1),
        ("empty", index(""), 0),
    ];
    for (what, file, count) in table {
        let found = packages(&file).unwrap_or_else(|invalid| panic!("{what}: {invalid}"));
        assert_eq!(found.len(), count, "{what}");
    }
}

#[test]
fn what_apk_refuses_is_refused() {
    let text = sample();
    let whole = index(&text);
    let tar = index_tar(&text);
    let with = |from: &str, to: &str| index(&text.replacen(from, to, 1));
    let checksum = text.lines().next().expect("C:").to_owned();
    let table = [
        ("a NUL type", gzip(&tar_entry("APKINDEX", 0, text.as_bytes()))),
        ("no ustar", gzip(&tar.iter().map(|b| if *b == b'u' { b'v' } else { *b }).collect::<Vec<_>>())),
        ("two members", [signature_member(), gzip(&tar[..1024]), gzip(&tar[1024..])].concat()),
        ("a member after it", [whole.clone(), gzip(b"")].concat()),
        ("a byte after it", [&whole[..], b"\n"].concat()),
        ("zeros after it", [&whole[..], &[0; 512]].concat()),
        (
            "no index",
            [signature_member(), gzip(&[tar_entry("DESCRIPTION", b'0', b""), TAR_END.to_vec()].concat())].concat(),
        ),
        ("a signature that is not cut", {
            let signature = [tar_entry(".SIGN.RSA.x", b'0', b"x"), TAR_END.to_vec()].concat();
            [gzip(&signature), gzip(&tar)].concat()
        }),
        ("only a signature", signature_member()),
        ("nothing", Vec::new()),
        ("a page", b"<!DOCTYPE html><html></html>".to_vec()),
        ("a packed page", gzip(b"<!DOCTYPE html><html></html>")),
        ("no colon", with("V:1.2.5", "V 1.2.5")),
        ("bare hexadecimal", with(&checksum, "C:da39a3ee5e6b4b0d3255bfef95601890afd80709")),
        ("no checksum", with(&format!("{checksum}\n"), "")),
        ("no name", with("P:musl\n", "")),
        ("no version", with("V:1.2.5-r10\n", "")),
        ("an empty name", with("P:musl\n", "P:\n")),
    ];
    for (what, file) in table {
        assert!(packages(&file).is_err(), "{what}");
    }
}

#[test]
fn limits_have_names() {
    let over = |limits: &Limits, file: &[u8]| match read(ENTRY, file, limits) {
        Err(Invalid::OverLimit { limit, .. }) => limit,
        other => panic!("{other:?}"),
    };
    let long = index(&format!("{}D:{}\n\n", stanza("a", "1", "", &[1; 20]).trim_end(), "x".repeat(5000)));
    assert_eq!(over(&Limits { text_bytes: 4000, ..Limits::default() }, &long), "text_bytes");
    assert_eq!(over(&Limits { open_bytes: 4000, ..Limits::default() }, &long), "open_bytes");
    assert_eq!(over(&Limits { packages: 1, ..Limits::default() }, &index(&sample())), "packages");
    let limits = Limits { ratio: 2, ratio_free_bytes: 100, ..Limits::default() };
    assert_eq!(over(&limits, &long), "ratio");
    // One long line is no trouble in itself: real ones reach 72 KB.
    assert_eq!(read(ENTRY, &long, &Limits::default()).expect("valid").len(), 1);
}

#[test]
fn reading_stops_when_asked() {
    let root = IndexRoot { entry: RepoPath::new(ENTRY).expect("valid") };
    let mut seen = 0;
    let file = index(&sample());
    Alpine
        .packages(&root, &mut &file[..], &Limits::default(), &mut |_| {
            seen += 1;
            ControlFlow::Break(())
        })
        .expect("stopping is no error");
    assert_eq!(seen, 1);
}

pub(super) fn part(digest: &[u8]) -> Expected {
    let algorithm = if digest.len() == 20 { Algorithm::Sha1 } else { Algorithm::Sha256 };
    let digest = Digest::from_bytes(algorithm, digest).expect("of that length");
    Expected { size: None, identity: Identity::Part(digest) }
}

pub(super) const PACKAGE: &str = "v3.22/main/x86_64/sample-1.0-r0.apk";

#[test]
fn a_package_is_checked_with_and_without_an_index() {
    let apk = Apk::new("sample", "1.0-r0");
    let expected = part(&apk.control_sha1());
    let sha256 = part(Sha256::of(&apk.control).as_bytes());
    let unsigned = [&apk.control[..], &apk.data].concat();
    let pieces = apk.data.chunks(700).map(gzip).collect::<Vec<_>>().concat();
    let in_pieces = Apk::with_data("sample", "1.0-r0", pieces);
    for piece in [1, 13, 100_000] {
        check(PACKAGE, None, &apk.file(), piece).expect("valid");
        check(PACKAGE, Some(&expected), &apk.file(), piece).expect("as the index says");
        check(PACKAGE, Some(&sha256), &apk.file(), piece).expect("as the index says in SHA-256");
        check(PACKAGE, Some(&expected), &unsigned, piece).expect("unsigned");
        check(PACKAGE, None, &in_pieces.file(), piece).expect("data of several members");
        let other = check(PACKAGE, Some(&part(&[3; 20])), &apk.file(), piece);
        assert!(matches!(other, Err(Invalid::Mismatch { what: "apk control member", .. })), "{other:?}");
    }
    let long = Expected { size: Some(10), ..expected };
    assert!(check(PACKAGE, Some(&long), &apk.file(), 4).is_err());
}

#[test]
fn what_is_no_package_is_refused() {
    let apk = Apk::new("sample", "1.0-r0");
    let other = Apk::new("sample", "2.0-r0");
    let other_data = Apk::with_data("sample", "1.0-r0", gzip(b"other"));
    let info = |text: &str| gzip(&tar_entry(".PKGINFO", b'0', text.as_bytes()));
    let table = [
        ("a page", b"<!DOCTYPE html><html></html>".to_vec()),
        ("a packed page", gzip(b"<!DOCTYPE html><html></html>")),
        ("nothing", Vec::new()),
        ("another's data", [&apk.signature[..], &apk.control, &other_data.data].concat()),
        ("no data", [&apk.signature[..], &apk.control].concat()),
        ("no control", [&apk.signature[..], &apk.data].concat()),
        ("two signatures", [&apk.signature[..], &apk.file()].concat()),
        ("signature and control in one", {
            let tar = [tar_entry(".SIGN.RSA.x", b'0', b"x"), tar_entry(".PKGINFO", b'0', b"x = y\n")].concat();
            [gzip(&tar), apk.data.clone()].concat()
        }),
        ("no datahash", [info("pkgname = sample\n"), apk.data.clone()].concat()),
        ("an empty member", [gzip(b""), apk.file()].concat()),
        ("an index", index(&sample())),
    ];
    for (what, file) in table {
        assert!(check(PACKAGE, None, &file, 64).is_err(), "{what}");
    }
    assert!(check(PACKAGE, Some(&part(&apk.control_sha1())), &other.file(), 64).is_err());
}

#[test]
fn a_control_member_cannot_expand_without_end() {
    let bomb = gzip(&tar_entry(".PKGINFO", b'0', &vec![b'#'; 40 << 20]));
    let why = check(PACKAGE, None, &bomb, 4096);
    assert!(matches!(why, Err(Invalid::OverLimit { limit: "control_bytes", .. })), "{why:?}");
}

#[test]
fn keys_are_keys_and_digests_of_whole_files_decide() {
    assert!(check("keys/a.rsa.pub", None, b"-----BEGIN PUBLIC KEY-----\n", 5).is_ok());
    assert!(check("keys/a.rsa.pub", None, b"<html>", 5).is_err());
    let digest = Digest::from_hex(Algorithm::Sha256, &sha256(b"anything")).expect("hex");
    let expected = Expected { size: Some(8), identity: Identity::File(digest) };
    assert!(check(PACKAGE, Some(&expected), b"anything", 3).is_ok());
    assert!(check(PACKAGE, Some(&expected), b"Anything", 3).is_err());
}

#[test]
fn stanzas_are_cut_as_they_stand() {
    let one = stanza("musl", "1.2.5-r10", "x86_64", &[1; 20]);
    let other = stanza("doc-0", "1-r1", "noarch", &[2; 20]);
    // A package that nobody can ask for is in no merged index either.
    let file = index(&[&one, &stanza("../../a", "1", "x86_64", &[3; 20]), "\n", &other].concat());
    let root = IndexRoot { entry: RepoPath::new(ENTRY).expect("valid") };
    let mut cuts = Vec::new();
    let format = Alpine.publish().expect("indexes are written");
    let cut = format.cut(&root, 0, &mut &*file, &Limits::default(), &mut |cut| {
        let path = cut.package.expect("a package").path.to_string();
        cuts.push((path, String::from_utf8(cut.text.to_vec()).expect("text")));
        ControlFlow::Continue(())
    });
    cut.expect("cut");
    let expected = [("v3.22/main/x86_64/musl-1.2.5-r10.apk", one), ("v3.22/main/noarch/doc-0-1-r1.apk", other)];
    assert_eq!(cuts, expected.map(|(path, text)| (path.to_owned(), text)));
}
