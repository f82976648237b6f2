//! What lists of another's making say of each package: its element as it stands.
//!
//! Nothing in an element refers to what is around it but namespaces: those that the foreign document binds at its root and ours does
//! not are bound by the element itself from then on. Paths in it are relative to the root, which lies at the same place here as
//! there. No document has entities of its own, for those are not let in ([`crate::rpm::xml`]).

use std::io::Read;
use std::ops::ControlFlow;

use super::lists;
use crate::decompress::open;
use crate::publish::Cut;
use crate::rpm::xml::{Document, Namespaces, Node};
use crate::rpm::{names, primary};
use crate::{IndexRoot, Invalid, Limits};

/// Streams the fragments of a list.
pub(super) fn cut(
    root: &IndexRoot,
    list: usize,
    from: &mut dyn Read,
    limits: &Limits,
    each: &mut dyn FnMut(Cut<'_>) -> ControlFlow<()>,
) -> Result<(), Invalid> {
    let mut text = Vec::new();
    if list == 0 {
        return primary::elements(&names::layout(root).folder, from, limits, &mut |package, element, namespaces| {
            fragment(list, element, namespaces, &mut text);
            let key = package.identity.digest().hex();
            each(Cut { package: Some(package), key: &key, text: &text })
        });
    }
    let Some((name, root_name)) = lists::NAMES.get(list).copied().zip(lists::root(list)) else {
        return Ok(());
    };
    let mut document = Document::new(name, root_name, open(name, from, limits)?, limits).recording(limits);
    let (mut namespaces, mut key, mut count) = (Namespaces::default(), None, 0_u64);
    loop {
        let mut closed = None;
        match document.next()? {
            Node::Open(1, element) => namespaces.of_root = element.namespaces()?,
            Node::Open(2, element) if element.name() == "package" => {
                namespaces.of_package = element.namespaces()?;
                key = element.attribute("pkgid")?.map(|pkgid| pkgid.trim().to_ascii_lowercase());
            }
            Node::Close(2) => closed = key.take(),
            Node::Open(..) | Node::Close(_) | Node::Text(_) => {}
            Node::End => return Ok(()),
        }
        if let Some(key) = closed {
            count += 1;
            if count > limits.packages {
                return Err(Invalid::OverLimit { what: name, limit: "packages", value: limits.packages });
            }
            fragment(list, document.recorded(), &namespaces, &mut text);
            if each(Cut { package: None, key: &key, text: &text }).is_break() {
                return Ok(());
            }
        }
    }
}

/// Whether every client can read a fragment: those who cut it took what they needed, and looked no closer.
pub(super) fn check(list: usize, text: &[u8], limits: &Limits) -> Result<(), Invalid> {
    let name = lists::NAMES.get(list).copied().unwrap_or("index");
    let mut document = Document::new(name, "package", text, limits).strictly();
    while !matches!(document.next()?, Node::End) {}
    Ok(())
}

/// An element as it can stand in a list of ours, with the line feed that ours have.
fn fragment(list: usize, element: &str, namespaces: &Namespaces, text: &mut Vec<u8>) {
    bound(element, namespaces, &|name, value| lists::binds(list, name, value), text);
}

/// An element with the namespaces bound that the document around it will not bind, and a line feed.
pub(super) fn bound(element: &str, namespaces: &Namespaces, binds: &dyn Fn(&str, &str) -> bool, text: &mut Vec<u8>) {
    text.clear();
    let name_ends = element.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).unwrap_or(element.len());
    let (begin, rest) = element.split_at(name_ends);
    text.extend_from_slice(begin.as_bytes());
    for (name, value) in &namespaces.of_root {
        let is_bound = namespaces.of_package.iter().any(|(bound, _)| bound == name) || binds(name, value);
        if !is_bound {
            text.extend_from_slice(format!(" {name}=\"{value}\"").as_bytes());
        }
    }
    text.extend_from_slice(rest.as_bytes());
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RepoPath;

    fn all(list: usize, document: &str) -> Vec<(Option<String>, String, String)> {
        let root = IndexRoot { entry: RepoPath::new("9/repodata/repomd.xml").expect("a path") };
        let mut cuts = Vec::new();
        let mut note = |cut: Cut<'_>| {
            let path = cut.package.map(|package| package.path.to_string());
            cuts.push((path, cut.key.to_owned(), String::from_utf8(cut.text.to_vec()).expect("UTF-8")));
            ControlFlow::Continue(())
        };
        cut(&root, list, &mut document.as_bytes(), &Limits::default(), &mut note).expect(document);
        cuts
    }

    #[test]
    fn elements_as_they_stand() {
        let digest = "ab".repeat(32);
        let element = format!(
            "<package type=\"rpm\"><name>a</name><arch>noarch</arch><version epoch='0' ver=\"1\" rel=\"2\"/>\
             <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum><summary>x &lt; &#228; &amp; \u{fc}</summary>\n  \
             <location href=\"Packages/a.rpm\"/><x:y/><format><rpm:license>MIT</rpm:license></format></package>"
        );
        let document = format!(
            "<?xml version=\"1.0\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
             xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" xmlns:x='urn:x' packages=\"1\"><!-- no --> {element}\n</metadata>"
        );
        let bound = element.replacen("<package", "<package xmlns:x=\"urn:x\"", 1) + "\n";
        assert_eq!(all(0, &document), [(Some("9/Packages/a.rpm".to_owned()), digest.clone(), bound)]);

        let files = format!("<package pkgid=\"{digest}\" name=\"a\" arch=\"noarch\"><file>/a &amp; b</file></package>");
        let document = format!(
            "<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" packages=\"2\">{files} {files}</filelists>"
        );
        let expected = (None, digest, files + "\n");
        assert_eq!(all(1, &document), [expected.clone(), expected]);
    }

    #[test]
    fn what_no_client_can_read_is_told() {
        let limits = Limits::default();
        for good in ["<package a='&lt;'><x:y/>&#228; <![CDATA[<]]></package>\n", "<package/>"] {
            assert!(check(0, good.as_bytes(), &limits).is_ok(), "{good}");
        }
        for bad in [
            "<package>\u{1}</package>",
            "<package>&#1;</package>",
            "<package a='1' a='2'/>",
            "<package>]]></package>",
            "<package><1/></package>",
            "<package/><package/>",
            "<package>",
            "",
        ] {
            assert!(check(1, bad.as_bytes(), &limits).is_err(), "{bad}");
        }
        assert!(check(2, b"<package>\xff</package>", &limits).is_err());
    }

    #[test]
    fn what_lies_elsewhere_is_left_out() {
        let digest = "ab".repeat(32);
        let document = format!(
            "<metadata><package><name>a</name><version ver=\"1\"/><checksum type=\"sha256\">{digest}</checksum>\
             <location xml:base=\"https://example.com/\" href=\"a.rpm\"/></package></metadata>"
        );
        assert_eq!(all(0, &document), []);
    }
}
