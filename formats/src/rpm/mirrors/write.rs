//! Mirror lists of our own: one place, and of a metalink the entry that is served there now.
//!
//! The same things give the same bytes, so that a list is as cacheable as what it is about: no date of writing stands in it.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::BELOW;
use crate::mirrors::{ListKind, OnlyMirror};

/// The list in a form.
pub(in crate::rpm) fn write(kind: ListKind, only: &OnlyMirror<'_>) -> String {
    let mut list = String::new();
    // Writing into a text cannot fail.
    let _ = match kind {
        ListKind::Plain => writeln!(list, "{}", only.base_url),
        ListKind::Metalink3 => three(&mut list, only),
        ListKind::Metalink4 => four(&mut list, only),
    };
    list
}

const DECLARATION: &str = r#"<?xml version="1.0" encoding="utf-8"?>"#;

/// As MirrorManager writes it: what dnf reads.
fn three(list: &mut String, only: &OnlyMirror<'_>) -> std::fmt::Result {
    let OnlyMirror { base_url, size, sha256, timestamp } = only;
    let scheme = if base_url.starts_with("https:") { "https" } else { "http" };
    writeln!(list, "{DECLARATION}")?;
    writeln!(
        list,
        r#"<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">"#
    )?;
    writeln!(list, "<files>\n<file name=\"{}\">", super::FILE)?;
    writeln!(list, "<mm0:timestamp>{timestamp}</mm0:timestamp>\n<size>{size}</size>")?;
    writeln!(list, "<verification>\n<hash type=\"sha256\">{}</hash>\n</verification>", sha256.hex())?;
    writeln!(
        list,
        "<resources>\n<url protocol=\"{scheme}\" type=\"{scheme}\" preference=\"100\">{}{BELOW}</url>\n</resources>",
        escape(*base_url)
    )?;
    writeln!(list, "</file>\n</files>\n</metalink>")
}

/// RFC 5854: what zypper reads.
fn four(list: &mut String, only: &OnlyMirror<'_>) -> std::fmt::Result {
    let OnlyMirror { base_url, size, sha256, .. } = only;
    writeln!(list, "{DECLARATION}\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">")?;
    writeln!(list, "<file name=\"{}\">\n<size>{size}</size>", super::FILE)?;
    writeln!(list, "<hash type=\"sha-256\">{}</hash>", sha256.hex())?;
    writeln!(list, "<url priority=\"1\">{}{BELOW}</url>\n</file>\n</metalink>", escape(*base_url))
}
