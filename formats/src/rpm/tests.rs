//! What the metadata readers and the package check take and refuse, on files made here.

use std::io::Cursor;
use std::ops::ControlFlow;

use super::Rpm as Format_;
use super::mirrors;
use crate::samples::rpm::{Kind, Rpm, data, header, int32, primary, primary_package, repomd, string, strings};
use crate::samples::{bzip2, gzip, sha256, xz, zstd};
use crate::{
    Algorithm, Digest, Expected, Format, Identity, IndexFormat, IndexRoot, Invalid, Limits, Member, PackageEntry,
    RepoPath,
};

fn root() -> IndexRoot {
    IndexRoot { entry: RepoPath::new("9/os/repodata/repomd.xml").expect("valid") }
}

fn members(xml: &str) -> Result<Vec<Member>, Invalid> {
    let members = Format_.members(&root(), xml.as_bytes(), &Limits::default());
    let checked = check("9/os/repodata/repomd.xml", None, xml.as_bytes(), 7);
    assert_eq!(checked.is_ok(), members.is_ok(), "{checked:?} against {members:?}");
    members
}

fn packages_within(limits: &Limits, mut file: &[u8]) -> Result<Vec<PackageEntry>, Invalid> {
    let mut all = Vec::new();
    Format_.packages(&root(), &mut file, limits, &mut |package| {
        all.push(package);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

fn packages(file: &[u8]) -> Result<Vec<PackageEntry>, Invalid> {
    packages_within(&Limits::default(), file)
}

fn check(path: &str, expected: Option<&Expected>, file: &[u8], piece: usize) -> Result<(), Invalid> {
    let path = RepoPath::new(path).expect("valid");
    let mut checker = Format_.checker(&path, expected, &Limits::default()).expect("there is one");
    for piece in file.chunks(piece) {
        checker.update(piece)?;
    }
    checker.finish(&mut Cursor::new(file))
}

fn whole(content: &[u8]) -> Expected {
    let digest = Digest::from_hex(Algorithm::Sha256, &sha256(content)).expect("hex");
    Expected { size: Some(content.len() as u64), identity: Identity::File(digest) }
}

#[test]
fn a_repomd_is_read() {
    let xml = repomd(
        &[
            data("primary", "repodata/abc-primary.xml.gz", b"one"),
            data("never-heard-of", "repodata/x", b"two"),
            "<data type=\"other\"><location href=\"repodata/o\"/><checksum type=\"SHA\">da39a3ee5e6b4b0d3255bfef95601890afd80709</checksum></data>".into(),
            data("elsewhere", "x", b"three").replace("<location ", "<location xml:base=\"https://example.com/\" "),
        ]
        .concat(),
    );
    let members = members(&xml).expect("valid");
    let paths: Vec<_> = members.iter().map(|member| (member.kind.as_str(), member.path.as_str())).collect();
    assert_eq!(
        paths,
        [
            ("primary", "9/os/repodata/abc-primary.xml.gz"),
            ("never-heard-of", "9/os/repodata/x"),
            ("other", "9/os/repodata/o")
        ]
    );
    assert_eq!(members[0].expected, whole(b"one"));
    assert_eq!(members[2].expected.size, None);
    assert_eq!(Format_.package_list(&root(), &members), Some(members[0].path.clone()));
}

#[test]
fn namespaces_may_be_bound_otherwise() {
    let xml =
        repomd(&data("primary", "p", b"one")).replace("<repomd xmlns=", "<r:repomd xmlns:r=").replace("</", "</r:");
    let xml = ["data", "checksum", "location", "size", "revision", "timestamp", "open-checksum", "open-size"]
        .iter()
        .fold(xml, |xml, name| xml.replace(&format!("<{name}"), &format!("<r:{name}")));
    assert_eq!(members(&xml).expect("valid").len(), 1);
}

#[test]
fn what_is_no_repomd_is_refused() {
    let good = repomd(&data("primary", "repodata/p", b"one"));
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let table = [
        ("a page", "<!DOCTYPE html><html><body>Sign in</body></html>".to_owned()),
        ("an xhtml page", "<html xmlns=\"x\"><body/></html>".to_owned()),
        ("a metalink", "<metalink version=\"3.0\"></metalink>".to_owned()),
        ("nothing", String::new()),
        ("a DOCTYPE", with("<repomd", "<!DOCTYPE repomd [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><repomd")),
        ("an entity", with("1700000000<", "&x;<")),
        ("no type", with(" type=\"primary\"", "")),
        ("no location", with("<location href=\"repodata/p\"/>", "")),
        ("a way out", with("repodata/p", "../../../etc/passwd")),
        ("itself", with("repodata/p", "repodata/repomd.xml")),
        ("an absolute way out", with("repodata/p", "/etc/passwd")),
        ("an unknown checksum", with("type=\"sha256\"", "type=\"crc32\"")),
        ("a short checksum", with("sha256\">", "sha256\">00")),
        ("text behind", format!("{good}text")),
        ("a second root", format!("{good}<repomd/>")),
        ("crossed elements", with("</checksum>", "</size>")),
    ];
    for (what, xml) in table {
        assert!(members(&xml).is_err(), "{what}");
    }
    for cut in 0..good.len() - 1 {
        assert!(members(&good[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn limits_of_documents_have_names() {
    let over = |limits: Limits, xml: &str| match Format_.members(&root(), xml.as_bytes(), &limits) {
        Err(Invalid::OverLimit { limit, .. }) => limit,
        other => panic!("{other:?}"),
    };
    let one = data("primary", "p", b"one");
    assert_eq!(over(Limits { entry_bytes: 10, ..Limits::default() }, &repomd(&one)), "entry_bytes");
    assert_eq!(over(Limits { members: 1, ..Limits::default() }, &repomd(&one.repeat(2))), "members");
    assert_eq!(over(Limits::default(), &repomd(&"<a>".repeat(100))), "depth");
    let limits = Limits { text_bytes: 3000, ..Limits::default() };
    for long in [
        repomd(&one.replace("1700000000", &"7".repeat(4000))),
        repomd(
            &one.replace("repodata/p", &"p".repeat(4000)).replace("href=\"", &format!("href=\"{}", "p".repeat(4000))),
        ),
        repomd(&one.replace("<size>", &format!("<size>{}", "&#55;".repeat(4000)))),
    ] {
        assert_eq!(over(limits.clone(), &long), "text_bytes");
    }
    let primary = primary(&[("a", "a.rpm"), ("b", "b.rpm")]);
    let too_many = packages_within(&Limits { packages: 1, ..Limits::default() }, primary.as_bytes());
    assert!(matches!(too_many, Err(Invalid::OverLimit { limit: "packages", .. })), "{too_many:?}");
    assert!(members(&repomd(&format!("<{}/>", "n".repeat(300)))).is_err());
}

#[test]
fn a_primary_is_read_in_every_compression() {
    let xml = primary(&[("bash", "Packages/b/bash.rpm"), ("g++", "Packages/g/g++~1^2.rpm")]);
    let halves = xml.split_at(xml.len() / 2);
    let packed = [
        xml.clone().into_bytes(),
        gzip(xml.as_bytes()),
        xz(xml.as_bytes()),
        zstd(xml.as_bytes()),
        bzip2(xml.as_bytes()),
        [gzip(halves.0.as_bytes()), gzip(halves.1.as_bytes())].concat(),
    ];
    for file in packed {
        let found = packages(&file).expect("valid");
        assert_eq!(found.len(), 2);
        let PackageEntry { name, version, arch, path, size, identity } = &found[1];
        assert_eq!((name.as_str(), version.as_str(), arch.as_str(), *size), ("g++", "1.2.3-4.el9", "x86_64", 1846));
        assert_eq!(path.as_str(), "9/os/Packages/g/g++~1^2.rpm");
        assert_eq!(identity, &Identity::File(Digest::from_hex(Algorithm::Sha256, &sha256(b"g++")).expect("hex")));
    }
    let zchunk = packages(b"\0ZCK1 and so on").expect_err("not opened");
    assert!(zchunk.to_string().contains("zchunk"), "{zchunk}");
}

#[test]
fn packages_that_nobody_can_ask_for_are_not_handed_out() {
    let paths = |xml: &str| -> Vec<String> {
        packages(xml.as_bytes()).expect("valid").iter().map(|package| package.path.to_string()).collect()
    };
    assert_eq!(paths(&primary(&[("a", "../../../a.rpm"), ("b", "b.rpm")])), ["9/os/b.rpm"]);
    let based = primary(&[("a", "a.rpm")]).replace("<location ", "<location xml:base=\"https://example.com/\" ");
    assert_eq!(paths(&based), [""; 0]);
    let escaped = primary(&[("a", "a&amp;b.rpm")]);
    assert_eq!(paths(&escaped), ["9/os/a&b.rpm"]);
    let epoch = primary(&[("a", "a.rpm")]).replace("epoch=\"0\"", "epoch=\"2\"");
    assert_eq!(packages(epoch.as_bytes()).expect("valid")[0].version, "2:1.2.3-4.el9");
}

#[test]
fn what_is_no_primary_is_refused() {
    let good = primary(&[("a", "a.rpm")]);
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let table = [
        ("a page", "<!DOCTYPE html><html></html>".to_owned()),
        ("another document", good.replace("metadata", "filelists")),
        ("no checksum", with("<checksum type=\"sha256\"", "<checksum")),
        ("no name", with("<name>a</name>", "")),
        ("no version", with("<version", "<ignored")),
        ("no location", with("<location", "<ignored")),
        ("nothing", String::new()),
    ];
    for (what, xml) in table {
        assert!(packages(xml.as_bytes()).is_err(), "{what}");
    }
    for cut in 0..good.len() - 1 {
        assert!(packages(&good.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    let stopped = Format_.packages(&root(), &mut good.as_bytes(), &Limits::default(), &mut |_| ControlFlow::Break(()));
    assert!(stopped.is_ok());
}

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

#[test]
fn other_files_by_index_by_name_and_by_first_bytes() {
    let content = gzip(b"<metadata/>");
    let named = format!("9/os/repodata/{}-primary.xml.gz", sha256(&content));
    let plain = "9/os/repodata/primary.xml.gz";
    let page = b"<!DOCTYPE html><html></html>";
    let table: [(&str, Option<Expected>, &[u8], bool); 24] = [
        (&named, None, &content, true),
        (&named, None, b"other", false),
        // The index decides, even where the name disagrees.
        (&named, Some(whole(b"other")), b"other", true),
        (plain, Some(whole(&content)), &content, true),
        (plain, Some(whole(&content)), b"other", false),
        (plain, None, &content, true),
        (plain, None, page, false),
        (plain, None, b"", false),
        ("repodata/comps.xml", None, b"<comps/>", true),
        ("repodata/comps.xml", None, page, false),
        ("repodata/modules.yaml.zst", None, b"\x28\xb5\x2f\xfd", true),
        ("repodata/primary.zck", None, b"\0ZCK1", true),
        ("repodata/other.sqlite.bz2", None, b"BZh9", true),
        ("repodata/repomd.xml.asc", None, b"-----BEGIN PGP SIGNATURE-----\n", true),
        ("repodata/repomd.xml.asc", None, page, false),
        ("repodata/repomd.xml.key", None, b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", true),
        ("repodata/repomd.xml.key", None, b"", false),
        ("drpms/a.drpm", None, b"drpmDLT3", true),
        ("drpms/a.drpm", None, page, false),
        (".treeinfo", None, b"[general]\n", true),
        (".treeinfo", None, page, false),
        ("mirrorlist", None, b"https://example.com/\n", true),
        ("metalink", None, page, false),
        ("repodata/repomd.xml", Some(whole(b"other")), b"<repomd/>", false),
    ];
    for (path, expected, content, good) in table {
        assert_eq!(check(path, expected.as_ref(), content, 9).is_ok(), good, "{path} {}", content.escape_ascii());
    }
    let none = Format_.checker(&RepoPath::new("isos/a-1.iso").expect("valid"), None, &Limits::default());
    assert!(none.is_none());
    let long = check("repodata/repomd.xml", None, &vec![b' '; 9 << 20], 1 << 20);
    assert!(matches!(long, Err(Invalid::OverLimit { limit: "entry_bytes", .. })), "{long:?}");
}

#[test]
fn mirror_lists_of_every_kind() {
    let bases = |list: &str| -> Vec<String> {
        let read = mirrors::read(list.as_bytes(), &Limits::default()).expect("valid");
        read.mirrors.into_iter().map(|mirror| mirror.base_url).collect()
    };
    let plain = "# repo = x\n  https://a.example.com/9/$basearch\nhttp://b.example.com/\nftp://c/\nnonsense\n/local\n";
    assert_eq!(bases(plain), ["https://a.example.com/9/$basearch/", "http://b.example.com/"]);
    assert_eq!(bases(""), [""; 0]);
    let three = "<?xml version=\"1.0\"?><metalink version=\"3.0\" xmlns:mm0=\"x\"><files><file name=\"repomd.xml\">\
        <mm0:timestamp>12</mm0:timestamp><size>7</size><verification><hash type=\"md5\">bad</hash>\
        <hash type=\"sha1\">da39a3ee5e6b4b0d3255bfef95601890afd80709</hash></verification><mm0:alternates><mm0:alternate>\
        <mm0:timestamp>11</mm0:timestamp><verification><hash type=\"md5\">d41d8cd98f00b204e9800998ecf8427e</hash></verification>\
        </mm0:alternate></mm0:alternates><resources>\
        <url protocol=\"rsync\" preference=\"100\">rsync://a/repodata/repomd.xml</url>\
        <url type=\"http\" preference=\"90\">http://b/repodata/repomd.xml</url>\
        <url type=\"https\" location=\"DE\" preference=\"95\">https://c/x/repodata/repomd.xml</url>\
        <url preference=\"99\">https://d/other</url></resources></file></files></metalink>";
    assert_eq!(bases(three), ["https://c/x/", "http://b/"]);
    let read = mirrors::read(three.as_bytes(), &Limits::default()).expect("valid");
    assert_eq!((read.mirrors[0].preference, read.mirrors[0].location.as_deref()), (95, Some("DE")));
    let revisions: Vec<_> = read.revisions.iter().map(|r| (r.timestamp, r.size, r.digests.len())).collect();
    assert_eq!(revisions, [(Some(12), Some(7), 1), (Some(11), None, 1)]);
    let four = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"repomd.xml\"><size>7</size>\
        <hash type=\"sha-256\">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</hash>\
        <pieces length=\"4\" type=\"sha-1\"><hash>da39a3ee5e6b4b0d3255bfef95601890afd80709</hash></pieces>\
        <url priority=\"2\">http://b/repodata/repomd.xml</url><url priority=\"1\">http://a/repodata/repomd.xml</url></file></metalink>";
    assert_eq!(bases(four), ["http://a/", "http://b/"]);
    let read = mirrors::read(four.as_bytes(), &Limits::default()).expect("valid");
    assert_eq!(read.revisions[0].digests.len(), 1);
    for bad in ["<html></html>", "[{\"url\":\"x\"}]", &three.replace("repomd.xml\">", "other\">"), &three[..300]] {
        assert!(mirrors::read(bad.as_bytes(), &Limits::default()).is_err(), "{bad}");
    }
    let few = Limits { mirrors: 1, ..Limits::default() };
    for list in [plain, three, four] {
        assert!(matches!(mirrors::read(list.as_bytes(), &few), Err(Invalid::OverLimit { limit: "mirrors", .. })));
    }
}

#[test]
fn a_single_package_sample_is_what_the_reader_sees() {
    // Guards the sample itself: the bench and the fuzz seeds are made of it.
    let xml = primary_package("a", "a.rpm", &sha256(b"a"));
    assert!(xml.starts_with("<package") && xml.trim_end().ends_with("</package>"));
}
