//! What the tests of publishing share: describing a package as the server would, taking createrepo_c's lists apart, and making
//! packages with whatever in their headers.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::BTreeMap;
use std::io::Cursor;

use artifactapi_formats::publish::{Described, Upload};
use artifactapi_formats::{Format, Invalid, Limits, PublishFormat, RepoPath, Sha256, find};

pub(crate) fn rpm() -> &'static dyn PublishFormat {
    find("rpm").and_then(Format::publish).expect("it publishes")
}

pub(crate) fn path(text: &str) -> RepoPath {
    RepoPath::new(text).expect(text)
}

/// Describes `file` as uploaded to `at`, whose first `depth` folders are its root.
pub(crate) fn describe_within(
    at: &str,
    depth: usize,
    file: &[u8],
    uploaded_at: u64,
    limits: &Limits,
) -> Result<Described, Invalid> {
    let path = path(at);
    let root = rpm().root_for(&path, depth)?;
    let (size, sha256) = (file.len() as u64, Sha256::of(file));
    let upload = Upload { root: &root, path: &path, size, sha256, uploaded_at };
    rpm().describe(&upload, &mut Cursor::new(file), limits)
}

pub(crate) fn describe(at: &str, file: &[u8]) -> Result<Described, Invalid> {
    describe_within(at, 0, file, 1_700_000_000, &Limits::default())
}

/// The elements of a list, each to its last line, by their packages' digests.
pub(crate) fn elements(list: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for element in list.split_inclusive("</package>\n") {
        let Some(begin) = element.find("<package ") else { continue };
        let element = &element[begin..];
        let id = between(element, "pkgid=\"YES\">", "<").or_else(|| between(element, "pkgid=\"", "\""));
        found.insert(id.expect("a package has a digest").to_owned(), element.to_owned());
    }
    found
}

pub(crate) fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

/// What the element in primary.xml says the package should be called.
pub(crate) fn file_name(primary: &str) -> String {
    let said = |before, after| between(primary, before, after).expect("said");
    format!("{}-{}-{}.{}.rpm", said("<name>", "<"), said(" ver=\"", "\""), said(" rel=\"", "\""), said("<arch>", "<"))
}

/// Compares what we say of a package with what createrepo_c says of it, to the byte. Packages in the corpus are not all
/// called what they are, so the place is put right first.
pub(crate) fn assert_as_expected(file: &[u8], expected: &[BTreeMap<String, String>; 3]) {
    let id = Sha256::of(file).hex();
    let primary = expected[0].get(&id).unwrap_or_else(|| panic!("{id} is not in createrepo_c's list"));
    let name = file_name(primary);
    let href = between(primary, "<location href=\"", "\"").expect("a place");
    let uploaded_at = between(primary, "<time file=\"", "\"").and_then(|time| time.parse().ok()).expect("a time");
    let found =
        describe_within(&name, 0, file, uploaded_at, &Limits::default()).unwrap_or_else(|why| panic!("{href}: {why}"));
    let href = format!("<location href=\"{href}\"/>");
    for (fragment, list) in found.fragments.iter().zip(expected) {
        let fragment = std::str::from_utf8(fragment).expect("UTF-8");
        let expected = list[&id].replace(&href, &format!("<location href=\"{name}\"/>"));
        assert_eq!(fragment, expected, "{href}");
    }
}

/// One entry of a header.
#[derive(Clone)]
pub(crate) struct Tag(pub(crate) u32, pub(crate) Value);

#[derive(Clone)]
pub(crate) enum Value {
    Int16(Vec<u16>),
    Int32(Vec<u32>),
    Int64(Vec<u64>),
    Text(Vec<u8>),
    Texts(Vec<Vec<u8>>),
    Languages(Vec<Vec<u8>>),
    /// Type, count and data as they are.
    Raw(u32, u32, Vec<u8>),
}

pub(crate) fn text(tag: u32, text: impl AsRef<[u8]>) -> Tag {
    Tag(tag, Value::Text(text.as_ref().to_vec()))
}

pub(crate) fn texts(tag: u32, texts: &[&str]) -> Tag {
    Tag(tag, Value::Texts(texts.iter().map(|text| text.as_bytes().to_vec()).collect()))
}

pub(crate) fn numbers(tag: u32, numbers: &[u32]) -> Tag {
    Tag(tag, Value::Int32(numbers.to_vec()))
}

/// A header. With `region`, all entries are covered by it as rpm 4 does.
pub(crate) fn header(tags: &[Tag], region: Option<u32>) -> Vec<u8> {
    let mut tags = tags.to_vec();
    tags.sort_by_key(|tag| tag.0);
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for Tag(tag, value) in &tags {
        let joined = |texts: &[Vec<u8>]| texts.iter().flat_map(|text| [text, &b"\0"[..]].concat()).collect::<Vec<_>>();
        let (kind, width, count, bytes): (u32, usize, usize, Vec<u8>) = match value {
            Value::Int16(all) => (3, 2, all.len(), all.iter().flat_map(|one| one.to_be_bytes()).collect()),
            Value::Int32(all) => (4, 4, all.len(), all.iter().flat_map(|one| one.to_be_bytes()).collect()),
            Value::Int64(all) => (5, 8, all.len(), all.iter().flat_map(|one| one.to_be_bytes()).collect()),
            Value::Text(one) => (6, 1, 1, [one, &b"\0"[..]].concat()),
            Value::Texts(all) => (8, 1, all.len(), joined(all)),
            Value::Languages(all) => (9, 1, all.len(), joined(all)),
            Value::Raw(kind, count, bytes) => (*kind, 1, usize::try_from(*count).expect("32 bits"), bytes.clone()),
        };
        data.resize(data.len().next_multiple_of(width), 0);
        index.extend(entry(*tag, kind, data.len(), count));
        data.extend(bytes);
    }
    let mut count = tags.len();
    if let Some(region) = region {
        count += 1;
        index = [&entry(region, 7, data.len(), 16)[..], &index].concat();
        let back = u32::try_from(count * 16).expect("small").wrapping_neg();
        for word in [region, 7, back, 16] {
            data.extend(word.to_be_bytes());
        }
    }
    let mut header = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    for length in [count, data.len()] {
        header.extend(u32::try_from(length).expect("small").to_be_bytes());
    }
    [header, index, data].concat()
}

fn entry(tag: u32, kind: u32, offset: usize, count: usize) -> Vec<u8> {
    let small = |number| u32::try_from(number).expect("small");
    [tag, kind, small(offset), small(count)].into_iter().flat_map(u32::to_be_bytes).collect()
}

/// A package with these signature and main headers.
pub(crate) fn package_of(lead_type: u8, signature: &[Tag], main: &[u8]) -> Vec<u8> {
    let mut lead = vec![0; 96];
    lead[..8].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0, 0, lead_type]);
    lead[79] = 5;
    let payload = b"payload";
    let mut signature = signature.to_vec();
    signature.push(numbers(1000, &[u32::try_from(main.len() + payload.len()).expect("small")]));
    let mut file = [lead, header(&signature, Some(62))].concat();
    file.resize(file.len().next_multiple_of(8), 0);
    [&file[..], main, payload].concat()
}

/// A package as rpm 4 would make it.
pub(crate) fn package(tags: &[Tag]) -> Vec<u8> {
    package_of(0, &[], &header(tags, Some(63)))
}

/// What every package says: this one is called `sample-1.0-1.noarch.rpm`.
pub(crate) fn basic() -> Vec<Tag> {
    let language = |tag, text: &str| Tag(tag, Value::Languages(vec![text.as_bytes().to_vec()]));
    vec![
        text(1000, "sample"),
        text(1001, "1.0"),
        text(1002, "1"),
        language(1004, "A sample"),
        language(1005, "Of nothing,\nin two lines."),
        numbers(1006, &[1_600_000_000]),
        numbers(1009, &[5]),
        text(1014, "MIT"),
        text(1021, "linux"),
        text(1022, "noarch"),
        text(1044, "sample-1.0-1.src.rpm"),
    ]
}

/// Names, flags and versions of one kind of dependency.
pub(crate) fn dependencies(tags: (u32, u32, u32), list: &[(&str, u32, &str)]) -> Vec<Tag> {
    let column = |tag, of: fn(&(&str, u32, &str)) -> Vec<u8>| Tag(tag, Value::Texts(list.iter().map(of).collect()));
    vec![
        column(tags.0, |one| one.0.as_bytes().to_vec()),
        numbers(tags.1, &list.iter().map(|one| one.1).collect::<Vec<_>>()),
        column(tags.2, |one| one.2.as_bytes().to_vec()),
    ]
}

pub(crate) const PROVIDES: (u32, u32, u32) = (1047, 1112, 1113);
pub(crate) const REQUIRES: (u32, u32, u32) = (1049, 1048, 1050);

/// Path, mode and flags of files.
pub(crate) fn files(list: &[(&str, u16, u32)]) -> Vec<Tag> {
    let split = |path: &str| {
        let (folder, name) = path.rsplit_once('/').expect("whole paths");
        (format!("{folder}/"), name.to_owned())
    };
    let mut folders: Vec<String> = Vec::new();
    let (mut numbers_of, mut names) = (Vec::new(), Vec::new());
    for (path, _, _) in list {
        let (folder, name) = split(path);
        let at = folders.iter().position(|known| *known == folder).unwrap_or_else(|| {
            folders.push(folder);
            folders.len() - 1
        });
        numbers_of.push(u32::try_from(at).expect("small"));
        names.push(name.into_bytes());
    }
    vec![
        Tag(1030, Value::Int16(list.iter().map(|one| one.1).collect())),
        numbers(1037, &list.iter().map(|one| one.2).collect::<Vec<_>>()),
        numbers(1116, &numbers_of),
        Tag(1117, Value::Texts(names)),
        Tag(1118, Value::Texts(folders.into_iter().map(String::into_bytes).collect())),
    ]
}

pub(crate) fn with(more: impl IntoIterator<Item = Tag>) -> Vec<Tag> {
    let more: Vec<_> = more.into_iter().collect();
    let mut tags = basic();
    tags.retain(|tag| more.iter().all(|other| other.0 != tag.0));
    tags.extend(more);
    tags
}

/// Bytes that look random and never change.
pub(crate) fn random() -> impl FnMut(&mut [u8]) {
    let mut state = 1_u64;
    move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
    }
}

/// Everything that a header can hold, in one.
pub(crate) fn everything() -> Vec<Tag> {
    with(
        [
            dependencies(PROVIDES, &[("sample", 8, "1.0-1"), ("p", 0, "")]),
            dependencies(REQUIRES, &[("libc.so.6(GLIBC_2.4)", 0, ""), ("/usr/bin/x", 0x40, ""), ("q", 12, "1:2-3")]),
            files(&[("/usr/bin/x", 0o100_755, 0), ("/etc/y", 0o40_755, 0), ("/z", 0o100_644, 64)]),
            vec![numbers(1080, &[2, 2, 1]), texts(1081, &["a", "b", "c"]), texts(1082, &["x", "y", "z"])],
        ]
        .concat(),
    )
}
