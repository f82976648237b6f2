//! rpm packages and their metadata.

use super::{hex, sha1, sha256};

/// (tag, type, count, data)
pub(crate) type Entry = (u32, u32, u32, Vec<u8>);

pub(crate) fn string(tag: u32, text: &str) -> Entry {
    (tag, 6, 1, [text.as_bytes(), b"\0"].concat())
}

pub(crate) fn strings(tag: u32, text: &str) -> Entry {
    (tag, 8, 1, [text.as_bytes(), b"\0"].concat())
}

pub(crate) fn int32(tag: u32, number: usize) -> Entry {
    (tag, 4, 1, u32::try_from(number).expect("a small number").to_be_bytes().to_vec())
}

pub(crate) fn header(entries: &[Entry]) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, kind, count, bytes) in entries {
        if *kind == 4 {
            data.resize(usize::next_multiple_of(data.len(), 4), 0);
        }
        let offset = u32::try_from(data.len()).expect("a small header");
        for word in [*tag, *kind, offset, *count] {
            index.extend_from_slice(&word.to_be_bytes());
        }
        data.extend_from_slice(bytes);
    }
    let mut header = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    for count in [entries.len(), data.len()] {
        header.extend_from_slice(&u32::try_from(count).expect("a small header").to_be_bytes());
    }
    [header, index, data].concat()
}

/// What a sample package promises about itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SHA-256 of header and payload, sizes.
    Modern,
    /// SHA-1 of the header, MD5 of both, sizes.
    Old,
}

pub(crate) struct Rpm {
    pub(crate) signature: Vec<u8>,
    pub(crate) header: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Rpm {
    pub(crate) fn new(kind: Kind) -> Self {
        let content: Vec<u8> = (0..500_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        Self::with_payload(kind, super::gzip(&content))
    }

    pub(crate) fn with_payload(kind: Kind, payload: Vec<u8>) -> Self {
        let mut entries = vec![string(1000, "sample"), string(1001, "1.0"), string(1002, "1"), string(1022, "noarch")];
        if kind == Kind::Modern {
            entries.push(strings(5092, &sha256(&payload)));
            entries.push(int32(5093, 8));
        }
        let header = header(&entries);
        let both = [&header[..], &payload].concat();
        let signature = match kind {
            Kind::Modern => {
                vec![string(269, &hex(&sha1(&header))), string(273, &sha256(&header)), int32(1000, both.len())]
            }
            Kind::Old => {
                use md5::Digest as _;
                let md5 = md5::Md5::digest(&both).to_vec();
                vec![string(269, &hex(&sha1(&header))), int32(1000, both.len()), (1004, 7, 16, md5)]
            }
        };
        Self { signature: self::header(&signature), header, payload }
    }

    pub(crate) fn lead() -> Vec<u8> {
        let mut lead = vec![0; 96];
        lead[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
        lead
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let mut file = [Self::lead(), self.signature.clone()].concat();
        file.resize(file.len().next_multiple_of(8), 0);
        [&file[..], &self.header, &self.payload].concat()
    }
}

/// A primary.xml of these (name, href) pairs, each with the SHA-256 of its name.
pub(crate) fn primary(packages: &[(&str, &str)]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n",
        packages.len()
    );
    for (name, href) in packages {
        xml.push_str(&primary_package(name, href, &sha256(name.as_bytes())));
    }
    xml.push_str("</metadata>\n");
    xml
}

pub(crate) fn primary_package(name: &str, href: &str, checksum: &str) -> String {
    format!(
        "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>x86_64</arch>\n  <version epoch=\"0\" ver=\"1.2.3\" rel=\"4.el9\"/>\n  \
         <checksum type=\"sha256\" pkgid=\"YES\">{checksum}</checksum>\n  <summary>A sample &amp; nothing else</summary>\n  \
         <description>Text with &lt;tags&gt;, said of {name}.\n\nMore of it.</description>\n  <packager>Some One</packager>\n  \
         <url>https://example.com/{name}</url>\n  <time file=\"1700000000\" build=\"1331831374\"/>\n  \
         <size package=\"1846\" installed=\"42\" archive=\"296\"/>\n  <location href=\"{href}\"/>\n  <format>\n    \
         <rpm:license>MIT</rpm:license>\n    <rpm:vendor>Example</rpm:vendor>\n    <rpm:group>Unspecified</rpm:group>\n    \
         <rpm:buildhost>builder.example.com</rpm:buildhost>\n    <rpm:sourcerpm>{name}-1.2.3-4.el9.src.rpm</rpm:sourcerpm>\n    \
         <rpm:header-range start=\"280\" end=\"1697\"/>\n    <rpm:provides>\n      \
         <rpm:entry name=\"{name}\" flags=\"EQ\" epoch=\"0\" ver=\"1.2.3\" rel=\"4.el9\"/>\n      \
         <rpm:entry name=\"{name}(x86-64)\" flags=\"EQ\" epoch=\"0\" ver=\"1.2.3\" rel=\"4.el9\"/>\n    </rpm:provides>\n    \
         <rpm:requires>\n      <rpm:entry name=\"libc.so.6(GLIBC_2.34)(64bit)\"/>\n      <rpm:entry name=\"/bin/sh\" pre=\"1\"/>\n      \
         <rpm:entry name=\"rtld(GNU_HASH)\"/>\n    </rpm:requires>\n    <file>/usr/bin/{name}</file>\n    \
         <file type=\"dir\">/etc/{name}</file>\n  </format>\n</package>\n"
    )
}

/// One `data` element of a repomd.xml.
pub(crate) fn data(kind: &str, href: &str, content: &[u8]) -> String {
    format!(
        "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><open-checksum type=\"sha256\">{}</open-checksum>\
         <location href=\"{href}\"/><timestamp>1700000000</timestamp><size>{}</size><open-size>7</open-size></data>\n",
        sha256(content),
        sha256(b"open"),
        content.len()
    )
}

pub(crate) fn repomd(data: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n  <revision>1700000000</revision>\n{data}</repomd>\n"
    )
}
