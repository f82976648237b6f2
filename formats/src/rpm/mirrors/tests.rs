//! Mirror lists of every kind, made here.

use super::{read, read_any, write};
use crate::mirrors::{ListKind, OnlyMirror};
use crate::{Invalid, Limits, Sha256};

#[test]
fn mirror_lists_of_every_kind() {
    let bases = |list: &str| -> Vec<String> {
        let found = read(list.as_bytes(), &Limits::default()).expect("valid");
        found.mirrors.into_iter().map(|mirror| mirror.base_url).collect()
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
    let found = read(three.as_bytes(), &Limits::default()).expect("valid");
    assert_eq!((found.mirrors[0].preference, found.mirrors[0].location.as_deref()), (95, Some("DE")));
    let revisions: Vec<_> = found.revisions.iter().map(|r| (r.timestamp, r.size, r.digests.len())).collect();
    assert_eq!(revisions, [(Some(12), Some(7), 1), (Some(11), None, 1)]);
    let four = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"repomd.xml\"><size>7</size>\
        <hash type=\"sha-256\">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</hash>\
        <pieces length=\"4\" type=\"sha-1\"><hash>da39a3ee5e6b4b0d3255bfef95601890afd80709</hash></pieces>\
        <url priority=\"2\">http://b/repodata/repomd.xml</url><url priority=\"1\">http://a/repodata/repomd.xml</url></file></metalink>";
    assert_eq!(bases(four), ["http://a/", "http://b/"]);
    let found = read(four.as_bytes(), &Limits::default()).expect("valid");
    assert_eq!(found.revisions[0].digests.len(), 1);
    for bad in ["<html></html>", "[{\"url\":\"x\"}]", &three.replace("repomd.xml\">", "other\">"), &three[..300]] {
        assert!(read(bad.as_bytes(), &Limits::default()).is_err(), "{bad}");
    }
    let few = Limits { mirrors: 1, ..Limits::default() };
    for list in [plain, three, four] {
        assert!(matches!(read(list.as_bytes(), &few), Err(Invalid::OverLimit { limit: "mirrors", .. })));
    }
}

#[test]
fn a_metalink_about_another_file_is_none_of_ours() {
    let image = "<metalink><files><file name=\"boot.iso\"><resources/></file></files></metalink>";
    assert!(matches!(read_any(image.as_bytes(), &Limits::default()), Ok(None)));
    assert!(read_any(b"<html></html>", &Limits::default()).is_err());
}

/// What is written is read again, and is just this.
#[test]
fn lists_of_our_own() {
    let sha256 = Sha256::of(b"entry");
    let only = OnlyMirror { base_url: "http://here:8000/api/r&d/9/", size: 5, sha256: &sha256, timestamp: 12 };
    assert_eq!(write(ListKind::Plain, &only), "http://here:8000/api/r&d/9/\n");
    let three = write(ListKind::Metalink3, &only);
    let expected = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" xmlns:mm0=\"http://fedorahosted.org/mirrormanager\">\n\
         <files>\n<file name=\"repomd.xml\">\n<mm0:timestamp>12</mm0:timestamp>\n<size>5</size>\n\
         <verification>\n<hash type=\"sha256\">{}</hash>\n</verification>\n<resources>\n\
         <url protocol=\"http\" type=\"http\" preference=\"100\">http://here:8000/api/r&amp;d/9/repodata/repomd.xml</url>\n\
         </resources>\n</file>\n</files>\n</metalink>\n",
        sha256.hex()
    );
    assert_eq!(three, expected);
    for kind in [ListKind::Plain, ListKind::Metalink3, ListKind::Metalink4] {
        let found = read(write(kind, &only).as_bytes(), &Limits::default()).expect("valid");
        let bases: Vec<_> = found.mirrors.iter().map(|mirror| mirror.base_url.as_str()).collect();
        assert_eq!(bases, [only.base_url], "{kind:?}");
        assert_eq!(found.knows(b"entry"), kind != ListKind::Plain, "{kind:?}");
        assert!(!found.knows(b"other"), "{kind:?}");
    }
}
