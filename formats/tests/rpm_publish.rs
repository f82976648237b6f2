//! rpm indexes of our own: packages described as createrepo_c describes them, refused where they should be, and put together into
//! what our readers, and clients, read back. `corpus` compares with createrepo_c itself.

mod publishing;
mod samples;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use artifactapi_formats::publish::{Carried, Compression, Described, FinishedContent, Index, Totals, WrittenList};
use artifactapi_formats::{
    Expected, Format, Identity, IndexFormat, IndexRoot, KeyKind, Limits, Member, OpenPgpKey, OpenPgpKind, PackageEntry,
    RepoPath, Sha256, SigningKey, SigningKeys, TrustedKeys, find,
};
use publishing::{
    REQUIRES, Tag, Value, assert_as_expected, dependencies, describe, describe_within, elements, everything, files,
    header, numbers, package, package_of, path, random, rpm, text, with,
};

const NAME: &str = "sample-1.0-1.noarch.rpm";
const NOW: u64 = 1_700_000_000;

fn index() -> &'static dyn IndexFormat {
    find("rpm").and_then(Format::index).expect("it has indexes")
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/small/rpm")
}

/// A list that createrepo_c wrote.
fn list(name: &str) -> BTreeMap<String, String> {
    let mut file = File::open(fixtures().join(format!("repodata/{name}.xml.gz"))).expect("a fixture");
    let mut open = artifactapi_formats::decompress::open("list", &mut file, &Limits::default()).expect("gzip");
    let mut text = String::new();
    open.read_to_string(&mut text).expect("UTF-8");
    elements(&text)
}

/// The packages that are committed, by their names.
fn fixture_packages() -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(fixtures()).expect("fixtures").map(|entry| entry.expect("readable"));
    let all = entries.map(|entry| (entry.file_name().into_string().expect("UTF-8"), entry.path()));
    let packages: BTreeMap<_, _> = all
        .filter(|(name, _)| name.ends_with(".rpm"))
        .map(|(name, path)| (name, fs::read(path).expect("readable")))
        .collect();
    assert_eq!(packages.len(), 4);
    packages
}

#[test]
fn fixtures_are_described_as_by_createrepo_c() {
    let expected = ["primary", "filelists", "other"].map(list);
    for (name, file) in fixture_packages() {
        // The source package is in another root.
        if name.ends_with(".src.rpm") {
            let found = describe(&name, &file).expect("good");
            assert_eq!((found.entry.arch.as_str(), found.entry.version.as_str()), ("src", "1.0-1.el9"));
        } else {
            assert_as_expected(&file, &expected);
        }
    }
}

#[test]
fn a_package_is_named_from_its_root() {
    let file = package(&with([numbers(1003, &[7])]));
    let limits = Limits::default();
    let at = "el9/x86_64/Packages/s/sample-1.0-1.noarch.rpm";
    let found = describe_within(at, 2, &file, NOW, &limits).expect("good");
    let expected = PackageEntry {
        name: "sample".to_owned(),
        version: "7:1.0-1".to_owned(),
        arch: "noarch".to_owned(),
        path: path(at),
        size: file.len() as u64,
        identity: Identity::File(Sha256::of(&file).into()),
    };
    assert_eq!(found.entry, expected);
    let primary = String::from_utf8(found.fragments[0].clone()).expect("UTF-8");
    assert!(primary.contains("<location href=\"Packages/s/sample-1.0-1.noarch.rpm\"/>"), "{primary}");
    assert!(describe_within(NAME, 1, &file, NOW, &limits).is_err(), "no folder that could be its root");
    assert!(describe(&format!("repodata/{NAME}"), &file).is_err(), "among the index");
}

/// Of each cut, nothing is left that could be listed, and no cut panics.
#[test]
fn truncated_packages() {
    let rich = package(&everything());
    describe(NAME, &rich).expect("whole");
    let (name, real) = fixture_packages().into_iter().next().expect("one");
    describe(&name, &real).expect("whole");
    for (name, file, step) in [(NAME, &rich, 1), (&*name, &real, 7)] {
        for end in (0..file.len()).step_by(step) {
            assert!(describe(name, &file[..end]).is_err(), "cut at {end} of {}", file.len());
        }
    }
}

/// Every word of both headers set to what could lead out of them. Whatever is still taken is an element that can be read back.
#[test]
fn damaged_headers() {
    let good = package(&everything());
    let mut taken = 0;
    for at in (96..good.len() - 8).step_by(4) {
        for value in [0_u32, 1, 0x7f, 0xffff, 0x10_0000, 0x0fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let mut file = good.clone();
            file[at..at + 4].copy_from_slice(&value.to_be_bytes());
            if let Ok(found) = describe(NAME, &file) {
                assert_eq!(
                    read_back(std::slice::from_ref(&found), Compression::Gzip),
                    [found.entry],
                    "{value:x} at {at}"
                );
                taken += 1;
            }
        }
    }
    assert!(taken > 0, "texts can change without harm");
}

/// What is refused, and what is said of it.
#[test]
fn packages_that_cannot_be_listed() {
    let raw = |tag, kind, count, data: &[u8]| package(&with([Tag(tag, Value::Raw(kind, count, data.to_vec()))]));
    let mut outside = header(&with([]), Some(63));
    // One more entry than the region says.
    let trailer = outside.len() - 8;
    outside[trailer..trailer + 4].copy_from_slice(&0xffff_ff00_u32.to_be_bytes());
    let twice = header(&[with([]), vec![text(1000, "other")]].concat(), Some(63));
    let without = |tag: u32| package(&with([]).into_iter().filter(|one| one.0 != tag).collect::<Vec<_>>());
    let mut no_signature = package(&with([]));
    no_signature[79] = 0;
    let lost_folder = with([files(&[("/usr/bin/x", 0o100_755, 0)]), vec![numbers(1116, &[1])]].concat());
    let endless = package_of(0, &[], &header(&with([Tag(5056, Value::Raw(8, 1, b"abc".to_vec()))]), None));
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "rpm package ends before it is complete"),
        ("a page", b"<html>".to_vec(), "malformed rpm package: it begins like no rpm package does"),
        ("a lead of rpm 2", no_signature, "malformed rpm package: its lead announces no signature header"),
        ("a number as name", raw(1000, 4, 1, &[0; 4]), "tag 1000 is of another type, or reaches beyond the end"),
        ("a text without end", endless, "tag 5056"),
        ("more texts than there are", raw(1049, 8, 1 << 20, b"a\0"), "tag 1049"),
        ("a count that overflows", raw(1050, 8, u32::MAX, b"a\0"), "tag 1050"),
        ("numbers beyond the end", raw(1009, 4, u32::MAX, &[0; 4]), "tag 1009"),
        ("a folder that is not there", package(&lost_folder), "tag 1116"),
        ("a tag twice", package_of(0, &[], &twice), "malformed rpm header: tag 1000 is in it twice"),
        ("an entry outside the region", package_of(0, &[], &outside), "outside the region that signatures cover"),
        ("no name", without(1000), "its name is '', which cannot be one"),
        ("no version", without(1001), "its version is ''"),
        ("no release", without(1002), "its release is ''"),
        ("no arch", without(1022), "its arch is ''"),
        (
            "another name",
            package(&with([text(1000, "other")])),
            "by its header it is other-1.0-1.noarch.rpm; upload it",
        ),
        ("a way out", package(&with([text(1000, "../sample")])), "its name is '../sample'"),
        ("a version with a dash", package(&with([text(1001, "1-0")])), "its version is '1-0'"),
        ("a line end", package(&with([text(1000, "a\nb")])), "its name is 'a\\nb'"),
    ];
    for (what, file, said) in table {
        let refused = describe(NAME, &file).expect_err(what).to_string();
        assert!(refused.contains(said), "{what}: {refused}");
    }
}

#[test]
fn another_length_than_was_uploaded() {
    let file = package(&with([]));
    let path = path(NAME);
    let root = rpm().root_for(&path, 0).expect("a root");
    let (size, sha256) = (file.len() as u64 + 1, Sha256::of(&file));
    let upload = artifactapi_formats::publish::Upload { root: &root, path: &path, size, sha256, uploaded_at: NOW };
    assert!(rpm().describe(&upload, &mut Cursor::new(&file), &Limits::default()).is_err());
}

/// Small files that stand for much more, and what keeps them small.
#[test]
fn limits() {
    let limits = Limits { text_bytes: 4096, fragment_bytes: 64 << 10, header_bytes: 1 << 20, ..Limits::default() };
    let said =
        |file: &[u8]| describe_within(NAME, 0, file, NOW, &limits).map(|_| ()).expect_err("too much").to_string();
    let long = "x".repeat(5000);
    assert!(said(&package(&with([text(1005, &long)]))).contains("text_bytes"));
    let requires = dependencies(REQUIRES, &[(&long, 0, "")]);
    assert!(said(&package(&with(requires))).contains("text_bytes"));
    // One folder, a thousand files in it.
    let folder = format!("/{}", "x".repeat(2000));
    let paths: Vec<_> = (0..1000).map(|number| format!("{folder}/{number}")).collect();
    let many: Vec<_> = paths.iter().map(|path| (path.as_str(), 0o100_644, 0)).collect();
    assert!(said(&package(&with(files(&many)))).contains("fragment_bytes"));
    // As many texts as there are bytes.
    let nothing = Tag(1047, Value::Raw(8, 100_000, vec![0; 100_000]));
    assert!(said(&package(&with([nothing]))).contains("fragment_bytes"));
    let names: Vec<_> = (0..1500).map(|number| format!("{number:040}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), 0, "")).collect();
    assert!(said(&package(&with(dependencies(REQUIRES, &many)))).contains("fragment_bytes"));
    assert!(said(&package(&with([text(1005, "x".repeat(1 << 20))]))).contains("header_bytes"));
    let entries: Vec<_> = (0..70_000).map(|number| Tag(10_000 + number, Value::Raw(7, 0, vec![]))).collect();
    let wide = Limits { header_bytes: 8 << 20, ..limits };
    let said = describe_within(NAME, 0, &package(&entries), NOW, &wide).expect_err("too many").to_string();
    assert!(said.contains("more than 65535 entries"), "{said}");
}

fn compress(piece: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Gzip => samples::gzip(piece),
        Compression::Zstd => samples::zstd(piece),
    }
}

/// A list, each piece compressed for itself.
fn written(list: usize, described: &[Described], compression: Compression) -> (Vec<u8>, WrittenList) {
    let fragments: Vec<_> = described.iter().map(|one| &one.fragments[list][..]).collect();
    let bytes = fragments.iter().map(|one| one.len() as u64).sum();
    let totals = Totals { packages: described.len() as u64, bytes, written_at: NOW };
    let root = &rpm().root_for(&path("Packages/a.rpm"), 0).expect("a root");
    let (open, close) = (rpm().open(root, list, &totals), rpm().close(root, list, &totals));
    let pieces = [&[&open[..]], &fragments[..], &[&close[..]]].concat();
    let file: Vec<u8> = pieces.iter().flat_map(|piece| compress(piece, compression)).collect();
    let plain = pieces.concat();
    let list = WrittenList {
        compression,
        size: file.len() as u64,
        sha256: Sha256::of(&file),
        sha1: [0; 20],
        open_size: plain.len() as u64,
        open_sha256: Some(Sha256::of(&plain)),
    };
    (file, list)
}

/// What our reader finds in the primary that is made of these.
fn read_back(described: &[Described], compression: Compression) -> Vec<PackageEntry> {
    let (file, _) = written(0, described, compression);
    let root = IndexRoot { entry: path("repodata/repomd.xml") };
    let mut found = Vec::new();
    let read = index().packages(&root, &mut &file[..], &Limits::default(), &mut |package| {
        found.push(package);
        ControlFlow::Continue(())
    });
    read.expect("a list that we wrote");
    found
}

#[test]
fn lists_made_of_pieces_are_read_back() {
    let mut described: Vec<_> =
        fixture_packages().iter().map(|(name, file)| describe(name, file).expect("good")).collect();
    described.push(describe(NAME, &package(&everything())).expect("good"));
    let entries: Vec<_> = described.iter().map(|one| one.entry.clone()).collect();
    for compression in rpm().compressions() {
        assert_eq!(read_back(&described, *compression), entries);
        assert_eq!(read_back(&[], *compression), []);
    }
    assert_eq!(rpm().lists(), ["primary", "filelists", "other"]);
    let root = rpm().root_for(&path("Packages/a.rpm"), 0).expect("a root");
    assert_eq!((rpm().open(&root, 3, &Totals::default()), rpm().close(&root, 3, &Totals::default())), (vec![], vec![]));
}

/// The document that createrepo_c wrote for its fixtures, but for the names of its lists.
#[test]
fn repomd_is_written_as_by_createrepo_c() {
    let expected = fs::read_to_string(fixtures().join("repodata/repomd.xml")).expect("a fixture");
    let root = IndexRoot { entry: path("repodata/repomd.xml") };
    let members = index().members(&root, expected.as_bytes(), &Limits::default()).expect("readable");
    let of = |member: &Member| {
        let file = fs::read(fixtures().join(member.path.as_str())).expect("a fixture");
        let mut open = Vec::new();
        artifactapi_formats::decompress::open("member", &mut &file[..], &Limits::default())
            .and_then(|mut from| from.read_to_end(&mut open).map_err(artifactapi_formats::Invalid::Read))
            .expect("readable");
        (file, open)
    };
    let (lists, carried) = members.split_at(3);
    let written: Vec<_> = lists
        .iter()
        .map(|member| {
            let (file, open) = of(member);
            WrittenList {
                compression: Compression::Gzip,
                size: file.len() as u64,
                sha256: Sha256::of(&file),
                sha1: [0; 20],
                open_size: open.len() as u64,
                open_sha256: Some(Sha256::of(&open)),
            }
        })
        .collect();
    let carried: Vec<_> = carried
        .iter()
        .map(|member| {
            let (file, open) = of(member);
            let kind = rpm().carried_kind(&member.path).expect("it is carried");
            assert_eq!(kind, member.kind);
            Carried {
                kind,
                path: member.path.clone(),
                size: file.len() as u64,
                sha256: Sha256::of(&file),
                open: (open != file).then(|| (open.len() as u64, Sha256::of(&open))),
                uploaded_at: 1_735_689_600,
            }
        })
        .collect();
    let at = 1_735_689_600;
    let keys = SigningKeys::default();
    let index = Index { root: &root, lists: &written, carried: &carried, keys: &keys, written_at: at, revision: at };
    let finished = rpm().finish(&index).expect("finished");
    let mut expected = expected;
    for (list, written) in ["primary", "filelists", "other"].iter().zip(&written) {
        let plain = format!("\"repodata/{list}.xml.gz\"");
        assert!(expected.contains(&plain));
        expected = expected.replace(&plain, &format!("\"repodata/{}-{list}.xml.gz\"", written.sha256));
    }
    let FinishedContent::Bytes(found) = &finished[0].content else { panic!("the entry is written whole") };
    assert_eq!(std::str::from_utf8(found), Ok(&*expected));
    assert_eq!(finished.len(), 4, "no signature without keys");
}

/// An index with everything: its entry names what is there, its signature is one by its keys.
#[test]
fn a_whole_index() {
    let described =
        [describe_within(&format!("el9/x86_64/{NAME}"), 2, &package(&everything()), NOW, &Limits::default())
            .expect("good")];
    let root = rpm().root_for(&described[0].entry.path, 2).expect("a root");
    for compression in [Compression::Gzip, Compression::Zstd] {
        let files: Vec<_> = (0..3).map(|list| written(list, &described, compression)).collect();
        let lists: Vec<_> = files.iter().map(|(_, list)| list.clone()).collect();
        let comps = b"<comps/>";
        let at = path("el9/x86_64/repodata/comps.xml");
        let kind = rpm().carried_kind(&at).expect("it is carried");
        let sha256 = Sha256::of(comps);
        let carried = [Carried { kind, path: at, size: comps.len() as u64, sha256, open: None, uploaded_at: NOW - 5 }];
        let pair = [OpenPgpKind::Ed25519, OpenPgpKind::Ed25519].into_iter().zip([NOW - 10, NOW - 9]);
        let pair: Vec<_> = pair
            .map(|(kind, made)| OpenPgpKey::generate(kind, "Example", made, &mut random()).expect("a key"))
            .collect();
        let certificates: Vec<_> = pair.iter().map(|key| key.certificate().to_owned()).collect();
        let keys = SigningKeys::new(pair.into_iter().map(SigningKey::from).collect()).expect("two keys");
        let index_of =
            |written_at| Index { root: &root, lists: &lists, carried: &carried, keys: &keys, written_at, revision: 7 };
        let finished = rpm().finish(&index_of(NOW)).expect("finished");

        let ending = if compression == Compression::Gzip { "gz" } else { "zst" };
        let named = |list: usize, name| format!("el9/x86_64/repodata/{}-{name}.xml.{ending}", lists[list].sha256);
        let entry = "el9/x86_64/repodata/repomd.xml";
        let expected = [
            entry.to_owned(),
            format!("{entry}.asc"),
            format!("{entry}.key"),
            named(0, "primary"),
            named(1, "filelists"),
            named(2, "other"),
        ];
        assert_eq!(finished.iter().map(|file| file.path.to_string()).collect::<Vec<_>>(), expected);
        let bytes = |at: usize| match &finished[at].content {
            FinishedContent::Bytes(bytes) => &bytes[..],
            FinishedContent::List { .. } | FinishedContent::Composed { .. } => panic!("{at} is a list"),
        };
        for (list, file) in finished[3..].iter().enumerate() {
            assert_eq!(file.content, FinishedContent::List { prefix: vec![], list });
        }

        let members = index().members(&root, bytes(0), &Limits::default()).expect("readable");
        let shown: Vec<_> = members.iter().map(|member| (member.kind.as_str(), member.path.to_string())).collect();
        let comps_at = "el9/x86_64/repodata/comps.xml".to_owned();
        let expected = [
            ("primary", named(0, "primary")),
            ("filelists", named(1, "filelists")),
            ("other", named(2, "other")),
            ("group", comps_at),
        ];
        assert_eq!(shown, expected);
        for (member, (_, list)) in members.iter().zip(&files) {
            let identity = Identity::File(list.sha256.into());
            assert_eq!(member.expected, Expected { size: Some(list.size), identity });
        }
        assert_eq!(index().made_at(&root, bytes(0), &Limits::default()), Some(NOW));
        assert!(String::from_utf8_lossy(bytes(0)).contains("<revision>7</revision>"));

        for trusted in certificates.iter().map(String::as_bytes).chain([bytes(2)]) {
            let mut keys = TrustedKeys::default();
            keys.add(KeyKind::Certificate, None, trusted, &Limits::default()).expect("a good key");
            let companion = (path(&format!("{entry}.asc")), bytes(1).to_vec());
            let verdict =
                index().verify(&root, &mut Cursor::new(bytes(0)), &[companion], &keys, NOW + 1, &Limits::default());
            assert_eq!(verdict.expect("signed").algorithm, "Ed25519, sha512");
        }
        assert_eq!(String::from_utf8_lossy(bytes(2)).matches("-----BEGIN PGP PUBLIC KEY BLOCK-----").count(), 2);
        assert_eq!(String::from_utf8_lossy(bytes(1)).matches("-----BEGIN PGP SIGNATURE-----").count(), 1);
        assert_eq!(rpm().finish(&index_of(NOW)).expect("finished"), finished, "the same again");
        assert!(rpm().finish(&index_of(NOW - 60)).is_err(), "before the keys were made");
    }
}

#[test]
fn finishing_what_is_not_whole() {
    let root = IndexRoot { entry: path("el9/repodata/repomd.xml") };
    let keys = SigningKeys::default();
    let (_, list) = written(0, &[], Compression::Gzip);
    let lists = [list.clone(), list.clone(), list];
    let carried = |at: &str| {
        let path = RepoPath::new(at).expect("a path");
        [Carried { kind: "group".to_owned(), path, size: 1, sha256: Sha256::of(b""), open: None, uploaded_at: NOW }]
    };
    let finish = |lists: &[WrittenList], carried: &[Carried]| {
        rpm().finish(&Index { root: &root, lists, carried, keys: &keys, written_at: NOW, revision: 1 })
    };
    assert!(finish(&lists, &carried("el9/repodata/comps.xml")).is_ok());
    assert!(finish(&lists, &carried("el8/repodata/comps.xml")).is_err(), "outside the root");
    assert!(finish(&lists[..2], &[]).is_err(), "a list is missing");
}
