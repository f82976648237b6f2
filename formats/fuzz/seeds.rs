//! Writes the first inputs of every target below the folder named by its argument. They are the samples of the tests, each
//! behind the byte by which the target chooses how to take it.

#[path = "../tests/publishing/mod.rs"]
mod publishing;
#[path = "../tests/samples/mod.rs"]
mod samples;

// The coverage of everything linked here reports to libFuzzer, which must be there for it.
use libfuzzer_sys as _;
use base64::Engine as _;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use samples::alpine::{Apk, index, index_tar, index_v3, index_v3_values, package_v3, stanza, tar_entry};
use samples::rpm::{Kind, Rpm, data, primary, repomd};
use samples::{bzip2, gzip, xz, zstd};

fn main() {
    let folder = std::env::args().nth(1).expect("the folder to write to");
    for (target, inputs) in seeds() {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).expect("a folder for the target");
        for (number, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), input).expect("room for an input");
        }
    }
}

fn chosen(way: u8, input: &[u8]) -> Vec<u8> {
    [&[way], input].concat()
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn first_member(file: &[u8]) -> Vec<u8> {
    let mut open = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut open).expect("a gzip member");
    open
}

/// The fixtures whose names end so: each as it is, as the packets within its armor, and the packets taken in the way `another`.
fn openpgp(ends: &[&str], another: u8) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/signatures");
    let names = fs::read_dir(folder).expect("the fixtures").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| ends.iter().any(|end| name.ends_with(end)));
    names.sort();
    let mut inputs = Vec::new();
    for name in names {
        let file = fixture(&format!("signatures/{name}"));
        let packets = match file.first() {
            Some(first) if first & 0x80 != 0 => file.clone(),
            _ => packets(&file),
        };
        inputs.extend([chosen(0, &file), chosen(1, &packets), chosen(another, &packets)]);
    }
    inputs
}

/// What is in the armor of a file, as long as it is in one block.
fn packets(file: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(file);
    let lines = text.lines().skip_while(|line| !line.is_empty()).skip(1).take_while(|line| !line.starts_with(['=', '-']));
    base64::engine::general_purpose::STANDARD.decode(lines.collect::<String>()).unwrap_or_default()
}

fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let text = stanza("musl", "1.2.5-r10", "x86_64", &[1; 20]) + &stanza("doc", "1_git1~ab-r1", "noarch", &[2; 20]);
    let apk = Apk::new("sample", "1.0-r0");
    let info = format!("pkgname = sample\ndatahash = {}\n", samples::sha256(b"data"));
    let described = format!(
        "pkgname = sample\npkgver = 1.0-r0\narch = x86_64\nsize = 1\nbuilddate = 2\nprovider_priority = 3\n\
         depend = a>1\nprovides = b=1\ninstall_if = c\n{}",
        info.replace("pkgname = sample\n", "")
    );
    let packages: [(&str, &str, &str, &[u8]); 2] =
        [("one", "1.0", "x86_64", &[1; 32]), ("two", "2", "noarch", &[2; 20])];
    let values = index_v3_values("${arch}/${name:2}-${version}-${hash:4}.apk", &packages);
    let (package, package_values) = package_v3();
    let file_of_package = [&[1, 0, 0, 0, 1, 0, 0, 0][..], b"content"].concat();
    let xml = primary(&[("bash", "Packages/b/bash.rpm"), ("g++", "./../g++.rpm")]);
    let modern = Rpm::new(Kind::Modern);
    vec![
        (
            "apkindex",
            vec![
                chosen(0, &index(&text)),
                chosen(1, &index_tar(&text)),
                chosen(2, &index_tar(&text)),
                chosen(3, text.as_bytes()),
            ],
        ),
        (
            "apk_package",
            vec![
                chosen(0, &apk.file()),
                chosen(1, &tar_entry(".PKGINFO", b'0', info.as_bytes())),
                chosen(2, info.as_bytes()),
            ],
        ),
        (
            "apk_describe",
            vec![
                chosen(0, &apk.file()),
                chosen(1, &tar_entry(".PKGINFO", b'0', described.as_bytes())),
                chosen(2, described.as_bytes()),
                chosen(3, &package),
                chosen(4, &package_values),
            ],
        ),
        (
            "adb",
            vec![
                chosen(0, &index_v3("", &packages)),
                chosen(0, &package),
                chosen(2, &values),
                chosen(3, &values),
                chosen(4, &values),
                chosen(5, &[package_values, file_of_package].concat()),
            ],
        ),
        (
            "repomd",
            vec![
                repomd(&(data("primary", "repodata/p.gz", b"1") + &data("x", "y", b"2"))).into_bytes(),
                b"-----BEGIN PGP SIGNATURE-----\n".to_vec(),
                b"<!-- --><html>".to_vec(),
                gzip(b"x"),
            ],
        ),
        (
            "primary",
            vec![
                chosen(0, xml.as_bytes()),
                chosen(1, xml.as_bytes()),
                chosen(2, xml.as_bytes()),
                chosen(3, xml.as_bytes()),
                chosen(4, xml.as_bytes()),
                chosen(5, &gzip(xml.as_bytes())),
                chosen(6, &xz(xml.as_bytes())),
                chosen(7, &zstd(xml.as_bytes())),
                chosen(8, &bzip2(xml.as_bytes())),
            ],
        ),
        (
            "rpm_package",
            vec![
                chosen(0, &modern.file()),
                chosen(0, &Rpm::new(Kind::Old).file()),
                chosen(1, &modern.file()[96..]),
                chosen(2, &modern.header),
            ],
        ),
        (
            "rpm_describe",
            vec![
                chosen(0, &publishing::package(&publishing::everything())),
                chosen(1, &publishing::header(&publishing::everything(), Some(63))),
                chosen(1, &publishing::header(&publishing::with([]), None)),
            ],
        ),
        (
            "rpm_carried",
            [
                "\0<?xml version=\"1.0\"?><!DOCTYPE comps PUBLIC \"a\" \"b\"><comps><group><id>a</id><!-- b --></group></comps>",
                "\x01<updates><update type=\"security\"><id>A-1</id><title>1 &lt; 2&#10;</title></update></updates>",
                "\x02%YAML 1.1\n---\ndocument: modulemd\nversion: 2\ndata:\n  name: a\n...\n--- \ndocument: modulemd-defaults\nversion: 1\ndata: {}\n",
                "\x03-----BEGIN CERTIFICATE-----\nMIIB+Q==\n-----END CERTIFICATE-----\n",
            ]
            .map(|content| content.as_bytes().to_vec())
            .into(),
        ),
        (
            "mirrors",
            vec![
                b"# x\nhttps://a.example.com/9/$basearch\nhttp://b/\n".to_vec(),
                b"<metalink><files><file name=\"repomd.xml\"><timestamp>1</timestamp><size>2</size><verification>\
                  <hash type=\"md5\">d41d8cd98f00b204e9800998ecf8427e</hash></verification><alternates><alternate><size>3</size>\
                  <hash type=\"sha1\">bad</hash></alternate></alternates><resources><url preference=\"9\" location=\"DE\">\
                  http://a/repodata/repomd.xml</url><url priority=\"1\">https://b/repodata/repomd.xml</url></resources></file>\
                  </files></metalink>"
                    .to_vec(),
            ],
        ),
        (
            "apk_signature",
            vec![
                chosen(0, &fixture("small/alpine/APKINDEX.tar.gz")),
                chosen(0, &fixture("small/alpine/community/APKINDEX.tar.gz")),
                chosen(1, &first_member(&fixture("small/alpine/APKINDEX.tar.gz"))),
                chosen(2, &fixture("small/alpine/feed/packages.adb")),
                chosen(3, &[&[0, 4][..], &[1; 16], &[2; 256]].concat()),
                chosen(4, &[&[0, 4][..], &[1; 16], &[2; 256]].concat()),
                chosen(5, b"ADB.indx"),
            ],
        ),
        ("openpgp_key", openpgp(&[".key", ".pgp"], 3)),
        ("openpgp_signature", [openpgp(&[".asc", ".sig"], 0), vec![chosen(2, &fixture("signatures/repomd.xml"))]].concat()),
        (
            "repo_path",
            ["p/a%2bb-1.0%7erc%5e1.rpm", "9/os/repodata/repomd.xml", "main/x86_64/APKINDEX.tar.gz", "a/%2e%2e/b", "a=1&countme=2"]
                .map(|path| path.as_bytes().to_vec())
                .to_vec(),
        ),
    ]
}
