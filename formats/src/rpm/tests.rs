//! What the metadata readers and the package check take and refuse, on files made here.

use std::io::Cursor;
use std::ops::ControlFlow;

use super::Rpm;
use crate::samples::rpm::{data, primary, repomd};
use crate::samples::{bzip2, gzip, sha256, xz, zstd};
use crate::{
    Algorithm, Digest, Expected, Format, Identity, IndexFormat, IndexRoot, Invalid, Limits, Member, PackageEntry,
    RepoPath, Sha256,
};

fn root() -> IndexRoot {
    IndexRoot { entry: RepoPath::new("9/os/repodata/repomd.xml").expect("valid") }
}

fn members(xml: &str) -> Result<Vec<Member>, Invalid> {
    let members = Rpm.members(&root(), xml.as_bytes(), &Limits::default());
    let checked = check("9/os/repodata/repomd.xml", None, xml.as_bytes(), 7);
    assert_eq!(checked.is_ok(), members.is_ok(), "{checked:?} against {members:?}");
    members
}

fn packages_within(limits: &Limits, mut file: &[u8]) -> Result<Vec<PackageEntry>, Invalid> {
    let mut all = Vec::new();
    Rpm.packages(&root(), &mut file, limits, &mut |package| {
        all.push(package);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

fn packages(file: &[u8]) -> Result<Vec<PackageEntry>, Invalid> {
    packages_within(&Limits::default(), file)
}

pub(super) fn check(path: &str, expected: Option<&Expected>, file: &[u8], piece: usize) -> Result<(), Invalid> {
    let path = RepoPath::new(path).expect("valid");
    let mut checker = Rpm.checker(&path, expected, &Limits::default()).expect("there is one");
    for piece in file.chunks(piece) {
        checker.update(piece)?;
    }
    checker.finish(&mut Cursor::new(file), &Sha256::of(file))
}

pub(super) fn whole(content: &[u8]) -> Expected {
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
            "<data type=\"unbound\"><location href=\"repodata/u\"/></data>".into(),
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
    assert_eq!(Rpm.package_list(&root(), &members), Some(members[0].path.clone()));
}

#[test]
fn a_repomd_may_say_when_it_was_made() {
    let one = data("primary", "p", b"one");
    let of = |xml: &str| Rpm.made_at(&root(), xml.as_bytes(), &Limits::default());
    let newer = one.replace("1700000000", "1700000005.25");
    assert_eq!(of(&repomd(&[newer, one.clone()].concat())), Some(1_700_000_005));
    assert_eq!(of(&repomd(&one.replace("1700000000", "today"))), None);
    assert_eq!(of("<html/>"), None);
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
    let over = |limits: Limits, xml: &str| match Rpm.members(&root(), xml.as_bytes(), &limits) {
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
    let stopped = Rpm.packages(&root(), &mut good.as_bytes(), &Limits::default(), &mut |_| ControlFlow::Break(()));
    assert!(stopped.is_ok());
}

#[test]
fn other_files_by_index_by_name_and_by_first_bytes() {
    let content = gzip(b"<metadata/>");
    let named = format!("9/os/repodata/{}-primary.xml.gz", sha256(&content));
    let plain = "9/os/repodata/primary.xml.gz";
    let page = b"<!DOCTYPE html><html></html>";
    let table: [(&str, Option<Expected>, &[u8], bool); 26] = [
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
        (
            "repodata/repomd.xml.asc",
            None,
            b"-----BEGIN PGP SIGNATURE-----\n\nAA==\n-----END PGP SIGNATURE-----\n",
            true,
        ),
        ("repodata/repomd.xml.asc", None, b"-----BEGIN PGP SIGNATURE-----\n\nAA", false),
        ("repodata/repomd.xml.asc", None, page, false),
        (
            "repodata/repomd.xml.key",
            None,
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n-----END PGP PUBLIC KEY BLOCK-----",
            true,
        ),
        ("repodata/repomd.xml.key", None, b"", false),
        ("drpms/a.drpm", None, b"drpmDLT3", true),
        ("drpms/a.drpm", None, page, false),
        (".treeinfo", None, b"[general]\n", true),
        (".treeinfo", None, page, false),
        ("mirrorlist", None, b"https://example.com/\n", true),
        ("metalink", None, page, false),
        ("x.iso.meta4", None, b"<?xml version=\"1.0\"?><metalink>", true),
        ("repodata/repomd.xml", Some(whole(b"other")), b"<repomd/>", false),
    ];
    for (path, expected, content, good) in table {
        assert_eq!(check(path, expected.as_ref(), content, 9).is_ok(), good, "{path} {}", content.escape_ascii());
    }
    let none = Rpm.checker(&RepoPath::new("isos/a-1.iso").expect("valid"), None, &Limits::default());
    assert!(none.is_none());
    let long = check("repodata/repomd.xml", None, &vec![b' '; 9 << 20], 1 << 20);
    assert!(matches!(long, Err(Invalid::OverLimit { limit: "entry_bytes", .. })), "{long:?}");
}
