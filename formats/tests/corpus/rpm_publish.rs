//! Descriptions of every rpm package of the corpus against createrepo_c's: the lists that are kept with it, and those that
//! createrepo_c itself makes here and now.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use artifactapi_formats::{Limits, RepoPath};

use crate::publishing::{
    PROVIDES, REQUIRES, Tag, Value, assert_as_expected, dependencies, describe, elements, files as brings, header,
    numbers, package, package_of, text, texts, with,
};
use crate::testbed::{folder, tool};
use crate::{files, read};

const MTIME: u64 = 1_700_000_000;

/// The three lists in a folder, whatever they are named.
fn lists(repodata: &Path) -> [BTreeMap<String, String>; 3] {
    ["primary", "filelists", "other"].map(|name| {
        let ending = format!("{name}.xml.gz");
        let mut found = fs::read_dir(repodata).expect("readable").map(|entry| entry.expect("readable").path());
        let list = found.find(|path| path.to_str().is_some_and(|path| path.ends_with(&ending))).expect("a list");
        let mut file = File::open(list).expect("readable");
        let mut open = artifactapi_formats::decompress::open("list", &mut file, &Limits::default()).expect("gzip");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut open, &mut text).expect("UTF-8");
        elements(&text)
    })
}

/// What createrepo_c makes of these packages.
fn createrepo_c(name: &str, packages: &[Vec<u8>]) -> [BTreeMap<String, String>; 3] {
    let folder = folder(name);
    for (number, package) in packages.iter().enumerate() {
        let path = folder.join(format!("{number:03}.rpm"));
        fs::write(&path, package).expect("room");
        let file = File::options().write(true).open(&path).expect("writable");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(MTIME)).expect("a time");
    }
    let mut command = Command::new(tool("CREATEREPO_C"));
    command.env("LC_ALL", "C.UTF-8").args(["--quiet", "--no-database", "--compress-type=gz"]).arg(&folder);
    let output = command.output().expect("createrepo_c runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lists(&folder.join("repodata"))
}

fn packages(folder: &str) -> Vec<Vec<u8>> {
    files(folder, |name| name.ends_with(".rpm")).iter().map(read).collect()
}

#[test]
fn the_kept_lists_agree() {
    for (oracle, folder, count) in
        [("createrepo_c", "createrepo_c", 12), ("pulp-assets", "pulp-assets", 35), ("rpm-rs-v4", "rpm-rs", 4)]
    {
        let repodata = RepoPath::new(&format!("rpm/oracle/{oracle}/repodata")).expect("a path");
        let expected = lists(&crate::corpus().join(repodata.as_str()));
        let all = packages(&format!("rpm/packages/{folder}"));
        let known = all.iter().filter(|file| expected[0].contains_key(&artifactapi_formats::Sha256::of(file).hex()));
        let mut compared = 0;
        for file in known {
            assert_as_expected(file, &expected);
            compared += 1;
        }
        assert_eq!((compared, expected[0].len()), (count, count), "{oracle}");
    }
}

#[test]
fn every_package_agrees_with_createrepo_c() {
    let mut all = packages("rpm");
    all.sort();
    all.dedup();
    assert!(all.len() >= 90, "{}", all.len());
    let expected = createrepo_c("all", &all);
    for file in &all {
        assert_as_expected(file, &expected);
    }
}

/// Headers that no builder makes today, and some that none ever made: what createrepo_c makes of them is what we do.
#[test]
fn strange_packages_agree_with_createrepo_c() {
    let mut all: Vec<_> = strange().iter().map(|tags| package(tags)).collect();
    // rpm 3: no region, files with whole paths, a package that does not provide itself. Of one that does, librpm says so
    // twice, which is of no use to anybody.
    for tags in
        [with([]), with(dependencies(PROVIDES, &[("x", 8, "1")])), with([texts(1047, &["x", "y"])]), with(old_files())]
    {
        all.push(package_of(0, &[], &header(&tags, None)));
    }
    for signature in [
        vec![numbers(1007, &[99])],
        vec![Tag(271, Value::Int64(vec![1 << 41]))],
        vec![numbers(1007, &[99]), Tag(271, Value::Int64(vec![100]))],
    ] {
        all.push(package_of(0, &signature, &header(&with([]), Some(63))));
    }
    let expected = createrepo_c("strange", &all);
    assert_eq!(expected[0].len(), all.len(), "createrepo_c takes all of them");
    for file in &all {
        assert_as_expected(file, &expected);
    }
}

fn old_files() -> Vec<Tag> {
    vec![
        texts(1027, &["/usr/bin/x", "/etc/y", "/usr/bin/z"]),
        Tag(1030, Value::Int16(vec![0o100_644, 0o40_755, 0o100_644])),
        numbers(1037, &[0, 0, 64]),
    ]
}

fn strange() -> Vec<Vec<Tag>> {
    const STRONG: u32 = 1 << 27;
    let language = |tag, texts: &[&[u8]]| Tag(tag, Value::Languages(texts.iter().map(|text| text.to_vec()).collect()));
    let changes = |times: &[u32], authors: &[&str], said: &[&str]| {
        with([numbers(1080, times), texts(1081, authors), texts(1082, said)])
    };
    let letters = ["a  ", "b", " ", "d", "", "f ä ", "g", "h", "i", "j", "k", "l"];
    vec![
        with([text(1021, "linux")]),
        // Texts.
        with([language(1004, &[b"a\xe4\x85\xb9\xffb"]), language(1005, &["grün \u{2028}\u{1f600} \u{7f}".as_bytes()])]),
        with([text(1014, "a<b>&\"'c ]]>"), language(1016, &[b"tab\there\rand\nthere"]), text(1007, "ü\u{85}")]),
        with([texts(100, &["C", "de"]), language(1004, &[b"first", b"second"]), language(1005, &[b" \n "])]),
        with(dependencies(PROVIDES, &[("ü<>&\"'\t\n\r\u{7f}", 8, "1")])),
        // Numbers.
        with([numbers(1003, &[3])]),
        with([numbers(1003, &[0])]),
        with([numbers(1003, &[3, 4])]),
        with([Tag(5009, Value::Int64(vec![1 << 40]))]),
        with([numbers(1046, &[77])]),
        with([numbers(1106, &[1])]),
        with([numbers(1106, &[0])]),
        // Dependencies.
        with(dependencies(
            PROVIDES,
            &[
                ("x1", 8, "x:1"),
                ("x2", 8, "1-2-3"),
                ("x3", 8, "1:2:3-4-5"),
                ("x4", 8, ":1"),
                ("x5", 8, "5:"),
                ("x6", 8, "-"),
                ("x7", 8, ""),
                ("x8", 0, "4"),
                ("x9", 6, "4"),
                ("", 8, "4"),
                ("x10", 12, "1-"),
                ("x11", 15, "1"),
                ("x12", 2, "1"),
            ],
        )),
        with(
            [
                dependencies(PROVIDES, &[("p", 0, ""), ("v", 8, "2")]),
                dependencies(
                    REQUIRES,
                    &[
                        ("p", 0, ""),
                        ("p", 8, "2"),
                        ("v", 8, "2"),
                        ("v", 8, "0:2"),
                        ("v", 8 | 0x40, "2"),
                        ("q", 8, "1"),
                        ("q", 8, "2"),
                        ("q", 8, "1"),
                        ("q", 8 | 0x40, "1"),
                        ("q", 8 | 0x200, "1"),
                        ("rpmlib(X)", 8, "1"),
                        ("rpmlib", 8, "1"),
                        ("w1", 0x20, ""),
                        ("w2", 0x80, ""),
                        ("w3", 0x400, ""),
                        ("w4", 0x800, ""),
                        ("(a or b)", 0, ""),
                        ("libc.so.6(GLIBC_2.4)", 0, ""),
                        ("libc.so.6()", 0, ""),
                        ("libc.so.6(GLIBC_2.14)", 0x200, ""),
                        ("libc.so.6(GLIBC_ABI_DT_RELR)(64bit)", 0, ""),
                        ("libc.so.6x", 0, ""),
                    ],
                ),
            ]
            .concat(),
        ),
        with(
            [
                dependencies(
                    REQUIRES,
                    &[("/usr/bin/x", 0, ""), ("/usr/share/y", 0, ""), ("/bin/sh", 0, ""), ("/etc/g", 0, "")],
                ),
                brings(&[
                    ("/usr/bin/x", 0o100_755, 0),
                    ("/usr/share/y", 0o100_644, 0),
                    ("/etc/z", 0o40_755, 64),
                    ("/etc/g", 0o100_644, 64),
                    ("/usr/lib/sendmail", 0o100_644, 0),
                    ("/usr/lib/sendmail2", 0o120_777, 0),
                    ("/opt/sbin/", 0o40_755, 0),
                    ("/x/robin/ü", 0o100_644, 0),
                    ("/usr/bin/x", 0o100_755, 0),
                ]),
            ]
            .concat(),
        ),
        with(
            [
                dependencies((1156, 1158, 1157), &[("s1", 8, "1"), ("s2", 8 | STRONG, "1")]),
                dependencies((1159, 1161, 1160), &[("e1", 8, "1"), ("e2", 8 | STRONG, "1")]),
                dependencies((5049, 5051, 5050), &[("n1", 0, "")]),
                dependencies((5046, 5048, 5047), &[("n2", 0, "")]),
                dependencies((5052, 5054, 5053), &[("n3", 0, ""), ("n3", 0, "")]),
            ]
            .concat(),
        ),
        // Halves of things.
        with([texts(1047, &["x", "y"])]),
        with([texts(1047, &["x", "y"]), numbers(1112, &[8]), texts(1113, &["1", "2"])]),
        with(brings(&[("/etc/x", 0o100_644, 0)]).into_iter().filter(|tag| tag.0 != 1037)),
        with(brings(&[("/etc/x", 0o100_644, 0)]).into_iter().filter(|tag| tag.0 != 1030)),
        with(old_files()),
        // Changelogs.
        changes(&[5000, 5000, 5000, 4999, 4000, 3000, 3000, 2000, 1000, 900, 800, 700], &letters, &letters),
        changes(&[5001, 5000, 5000, 5000, 4999], &letters[..5], &letters[..5]),
        changes(&[10, 20, 10, 10, 20], &letters[..5], &letters[..5]),
        changes(&[5, 4], &["x", "y", "z"], &["1"]),
    ]
}

/// What XML cannot hold is refused by both.
#[test]
fn control_characters_are_refused_as_by_createrepo_c() {
    let tags = [
        with([text(1004, "a\u{1}b")]),
        with([text(1004, b"a\x01b\xe4")]),
        with([text(1007, "a\u{1}")]),
        with([text(1044, "a\u{1}")]),
        with([numbers(1080, &[1]), texts(1081, &["a"]), texts(1082, &["x\u{1b}[0m"])]),
        with(brings(&[("/usr/\u{1}", 0o100_644, 0)])),
        with(dependencies(REQUIRES, &[("a\u{1}", 8, "1")])),
        with(dependencies(REQUIRES, &[("a", 8, "1\u{1}")])),
    ];
    let mut all: Vec<_> = tags.iter().map(|tags| package(tags)).collect();
    all.push(package(&with([])));
    let expected = createrepo_c("control", &all);
    let taken = all.pop().expect("one without");
    assert_as_expected(&taken, &expected);
    assert_eq!(expected[0].len(), 1);
    for file in &all {
        let said = describe("sample-1.0-1.noarch.rpm", file).expect_err("refused").to_string();
        assert!(said.contains("holds a control character"), "{said}");
    }
}
