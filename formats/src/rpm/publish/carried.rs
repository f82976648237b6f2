//! Whether a file that an index is to carry is what its name says: groups, advisories, modules, a product's certificate.
//!
//! Such a file goes to every client that reads the index, and most of them give up altogether on one that they cannot read. So it is
//! read here as they would, once, when it is put in: compressed as its name says, and well-formed from its first byte to its last,
//! of the kind that it is named for. What it says of groups or modules is its own affair.
//!
//! Files are read as streams; memory is that of one event of XML or one document of YAML ([`Limits::text_bytes`]).

use std::io::{BufRead, Cursor, Read};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::decompress::{Compression, into_invalid, open};
use crate::rpm::xml::{Document, Node, can_hold};
use crate::{Invalid, Limits, RepoPath};

/// How documents about modules call themselves, all of them: `modulemd`, `modulemd-defaults`, `modulemd-obsoletes`.
const MODULE_DOCUMENT: &str = "modulemd";

/// The frame of a certificate, without which no client looks at a productid.
const CERTIFICATE: [&str; 2] = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"];

/// Long enough to tell how a file is compressed.
const HEAD: u64 = 8;

/// Checks a file of a kind that is carried.
pub(super) fn check(kind: &str, path: &RepoPath, whole: &mut dyn Read, limits: &Limits) -> Result<(), Invalid> {
    // `repomd.xml` names it, and holds no such name.
    if !path.as_str().chars().all(can_hold) {
        return Err(Invalid::malformed("name", "it holds a character that no index can hold"));
    }
    let what = match kind.split('_').next() {
        Some("group") => "comps.xml",
        Some("updateinfo") => "updateinfo.xml",
        Some("modules") => "modules.yaml",
        _ => "productid",
    };
    let mut head = Vec::new();
    (&mut *whole).take(HEAD).read_to_end(&mut head).map_err(Invalid::Read)?;
    let (named, found) = (Compression::of_name(path.file_name()), Compression::of(&head));
    if named != found {
        let why = format!("by its name it is {}, by its first bytes {}", named.name(), found.name());
        return Err(Invalid::malformed(what, why));
    }
    let mut whole = Cursor::new(head).chain(whole);
    let mut open = open(what, &mut whole, limits)?;
    match what {
        "comps.xml" => document(what, "comps", open, limits),
        "updateinfo.xml" => document(what, "updates", open, limits),
        "modules.yaml" => modules(what, &mut open, limits),
        _ => certificate(what, &mut open, limits),
    }
}

fn document(what: &'static str, root: &'static str, from: impl BufRead, limits: &Limits) -> Result<(), Invalid> {
    let mut document = Document::new(what, root, from, limits).with_doctype().strictly();
    while !matches!(document.next()?, Node::End) {}
    Ok(())
}

/// What every document about modules has.
#[derive(Deserialize)]
struct ModuleDocument {
    document: String,
    #[serde(rename = "version")]
    _version: IgnoredAny,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

/// A stream of documents, each read for itself. A line of three dashes begins one wherever it stands, one of three dots ends it.
fn modules(what: &'static str, from: &mut dyn BufRead, limits: &Limits) -> Result<(), Invalid> {
    let (mut text, mut line, mut count) = (String::new(), Vec::new(), 0_u64);
    loop {
        line.clear();
        let most = limits.text_bytes.saturating_sub(text.len() as u64);
        let read = (&mut *from).take(most + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| into_invalid(what, error))?;
        if read as u64 > most {
            return Err(Invalid::OverLimit { what, limit: "text_bytes", value: limits.text_bytes });
        }
        let next = std::str::from_utf8(&line).map_err(|_| Invalid::malformed(what, "it is not UTF-8"))?;
        let (begins, ends) = (behind_mark("---", next).is_some(), behind_mark("...", next).is_some());
        let unbroken = next.strip_suffix('\n').map_or(next, |line| line.strip_suffix('\r').unwrap_or(line));
        if !unbroken.chars().all(is_of_a_line) {
            return Err(Invalid::malformed(what, "it holds a character that YAML cannot, or not everywhere"));
        }
        if (begins || ends || read == 0) && !is_prelude(&text) {
            count += 1;
            if count > limits.packages {
                return Err(Invalid::OverLimit { what, limit: "packages", value: limits.packages });
            }
            module(&text).map_err(|why| Invalid::malformed(what, format!("its document {count}: {why}")))?;
            text.clear();
        }
        match read {
            0 if count == 0 => return Err(Invalid::malformed(what, "it has no document about a module")),
            0 => return Ok(()),
            _ if ends => text.clear(),
            _ => text.push_str(next),
        }
    }
}

/// Whether readers of every version of YAML take a character, and for the same: some break lines where others do not.
fn is_of_a_line(character: char) -> bool {
    let is_control = character.is_control() && character != '\t';
    !is_control && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// What is behind a mark of a document, which stands at the beginning of a line, alone or with something behind it.
pub(super) fn behind_mark<'l>(mark: &str, line: &'l str) -> Option<&'l str> {
    line.strip_prefix(mark).filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Whether nothing but comments and directives has come yet, which belong to the document that follows.
pub(super) fn is_prelude(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.starts_with(['#', '%']))
}

fn module(text: &str) -> Result<(), String> {
    let options = serde_yaml::options! {
        // Of clients, the last one counts for some and the first for others; it is read by all.
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    };
    let document: ModuleDocument =
        serde_yaml::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    if document.document.starts_with(MODULE_DOCUMENT) {
        return Ok(());
    }
    Err(format!("it is a document of the kind {:?}, which says nothing about modules", document.document))
}

fn certificate(what: &'static str, from: &mut dyn BufRead, limits: &Limits) -> Result<(), Invalid> {
    let mut text = Vec::new();
    let read = from.take(limits.key_bytes + 1).read_to_end(&mut text).map_err(|error| into_invalid(what, error))?;
    if read as u64 > limits.key_bytes {
        return Err(Invalid::OverLimit { what, limit: "key_bytes", value: limits.key_bytes });
    }
    let text = std::str::from_utf8(&text).map_err(|_| Invalid::malformed(what, "it is not text"))?;
    let mut lines = text.lines().map(str::trim_end);
    let [begin, end] = CERTIFICATE;
    let is_base64 = |line: &str| line.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
    let has_frame = lines.any(|line| line == begin);
    let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
    let ends = text.lines().any(|line| line.trim_end() == end);
    if has_frame && ends && !body.is_empty() && body.iter().all(|line| is_base64(line)) {
        return Ok(());
    }
    Err(Invalid::malformed(what, "it is no certificate in PEM, which is what clients look for under this name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::publish::place::carried_kind;

    fn said(name: &str, content: &[u8], limits: &Limits) -> Result<(), String> {
        let path = RepoPath::new(&format!("repodata/{name}")).expect(name);
        let kind = carried_kind(&path).expect(name);
        check(&kind, &path, &mut &*content, limits).map_err(|why| why.to_string())
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, content).expect("memory");
        packed.finish().expect("memory")
    }

    const COMPS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n<!-- ours -->\n\
        <comps xmlns:x='urn:x'><group><id>core</id><name xml:lang=\"de\">Kern &amp; mehr&#10;</name><x:a b='&lt;'/>\
        <![CDATA[<]]></group></comps>\n";
    const UPDATES: &str = "<updates><update type=\"security\"><id>A-1</id><title>1 &lt; 2</title></update></updates>";
    const MODULES: &str = "# ours\n%YAML 1.1\n---\ndocument: modulemd\nversion: 2\ndata:\n  name: a\n  stream: \"1\"\n\
        \u{20} description: >-\n    --- not a mark\n  context: 00000000\n...\n---\ndocument: modulemd-defaults\nversion: 1\n\
        data:\n  module: a\n--- \ndocument: modulemd-obsoletes\nversion: 1\ndata: {module: a}\n...\n";
    const PRODUCT: &str = "-----BEGIN CERTIFICATE-----\nMIIB+Q==\n-----END CERTIFICATE-----\n";

    #[test]
    fn what_clients_read_is_taken() {
        let limits = Limits::default();
        for (name, content) in [
            ("comps.xml", COMPS),
            ("comps-Everything.x86_64.xml", "<comps/>"),
            ("comps.xml", "<!DOCTYPE comps>\n<?ours a?><comps a='=\"' \n b = \"it's\"/>"),
            ("comps.xml", "<!DOCTYPE  comps  SYSTEM  'comps.dtd' ><comps/>"),
            ("updateinfo.xml", UPDATES),
            ("modules.yaml", MODULES),
            ("modules.yaml", "document: modulemd\nversion: 2\ndata: {}"),
            ("productid", PRODUCT),
        ] {
            assert_eq!(said(name, content.as_bytes(), &limits), Ok(()), "{name}");
            assert_eq!(said(&format!("{name}.gz"), &gzip(content.as_bytes()), &limits), Ok(()), "{name}.gz");
        }
    }

    #[test]
    fn what_clients_give_up_on_is_refused() {
        let page = "<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>";
        let table = [
            ("comps.xml", "EVILKEY", "text outside"),
            ("comps.xml", "", "ends before it is complete"),
            ("comps.xml", page, "<html> where <comps>"),
            ("updateinfo.xml", page, "<html> where <updates>"),
            ("updateinfo.xml", COMPS, "<comps> where <updates>"),
            ("updateinfo.xml", &UPDATES[..UPDATES.len() - 3], "updateinfo.xml"),
            ("updateinfo.xml", "<updates><a></b></updates>", "updateinfo.xml"),
            ("updateinfo.xml", "<updates/><updates/>", "is the only one"),
            ("updateinfo.xml", " <?xml version=\"1.0\"?><updates/>", "not at its start"),
            ("updateinfo.xml", "<?xml version=\"1.0\" encoding=\"latin1\"?><updates/>", "use UTF-8"),
            ("updateinfo.xml", "<updates a=1/>", "updateinfo.xml"),
            ("updateinfo.xml", "<updates a='1' a='2'/>", "twice"),
            ("updateinfo.xml", "<updates a='<'/>", "in an attribute"),
            ("updateinfo.xml", "<updates a='&b;'/>", "updateinfo.xml"),
            ("updateinfo.xml", "<updates>&b;</updates>", "entity"),
            ("updateinfo.xml", "<updates>a & b</updates>", "updateinfo.xml"),
            ("updateinfo.xml", "<updates>]]></updates>", "]]>"),
            ("updateinfo.xml", "<updates>\u{1}</updates>", "cannot hold"),
            ("updateinfo.xml", "<updates>&#1;</updates>", "cannot hold"),
            ("updateinfo.xml", "<updates>\u{ffff}</updates>", "cannot hold"),
            ("updateinfo.xml", "<updates><!-- a -- b --></updates>", "updateinfo.xml"),
            ("updateinfo.xml", "<updates><1/></updates>", "name"),
            ("updateinfo.xml", "<updates><\u{d7}/></updates>", "name"),
            ("updateinfo.xml", "<updates a='1'b='2'/>", "right behind"),
            ("updateinfo.xml", "<updates><a b=\"1\"c=\"2\"></a></updates>", "right behind"),
            ("updateinfo.xml", "<updates><? x?></updates>", "processing instruction"),
            ("updateinfo.xml", "<updates><?XML x?></updates>", "processing instruction"),
            ("comps.xml", "<!DOCTYPE comps PUBLIC><comps/>", "DOCTYPE"),
            ("comps.xml", "<!DOCTYPE comps PUBLIC \"a\"><comps/>", "DOCTYPE"),
            ("comps.xml", "<!DOCTYPE comps PUBLIC \"a\"\"b\"><comps/>", "DOCTYPE"),
            ("comps.xml", "<!DOCTYPE comps SYSTEM 'a' 'b'><comps/>", "DOCTYPE"),
            ("comps.xml", "<!DOCTYPE comps><!DOCTYPE comps><comps/>", "DOCTYPE"),
            ("comps.xml", "<!DOCTYPE comps 'a'><comps/>", "DOCTYPE"),
            ("modules.yaml", "EVILKEY", "its document 1"),
            ("modules.yaml", "", "no document"),
            ("modules.yaml", "# nothing\n", "no document"),
            ("modules.yaml", "---\n---\n", "its document 1"),
            ("modules.yaml", page, "its document 1"),
            ("modules.yaml", "---\ndocument: modulemd\nversion: 2\n", "data"),
            ("modules.yaml", "---\ndocument: other\nversion: 2\ndata: {}\n", "\"other\""),
            ("modules.yaml", &format!("{MODULES}---\nEVILKEY\n"), "its document 4"),
            ("modules.yaml", &format!("{MODULES}...\nEVILKEY\n"), "its document 4"),
            ("modules.yaml", "---\ndocument: modulemd\nversion: 2\ndata: {a: [}\n", "its document 1"),
            ("modules.yaml", "---\ndocument: modulemd\nversion: 2\ndata:\n\t- a\n b\n", "its document 1"),
            (
                "modules.yaml",
                "---\ndocument: modulemd\nversion: 2\ndata: {}\u{2028}---\u{2028}EVILKEY\n",
                "not everywhere",
            ),
            ("modules.yaml", "---\ndocument: modulemd\nversion: 2\ndata: \u{1b}\n", "not everywhere"),
            ("modules.yaml", "---\ndocument: modulemd\nversion: 2\ndata: {}\r---\rEVILKEY\n", "not everywhere"),
            ("modules.yaml", "%YAML 1.1\r---\ndocument: modulemd\nversion: 2\ndata: {}\n", "not everywhere"),
            ("productid", "EVILKEY", "PEM"),
            ("productid", "-----BEGIN CERTIFICATE-----\nMIIB+Q==\n", "PEM"),
            ("productid", "-----BEGIN CERTIFICATE-----\n<html>\n-----END CERTIFICATE-----\n", "PEM"),
        ];
        for (name, content, why) in table {
            let said = said(name, content.as_bytes(), &Limits::default()).expect_err(content);
            assert!(said.contains(why), "{name} {content:?}: {said}");
        }
        assert!(said("modules.yaml", b"\xff\xfe", &Limits::default()).is_err_and(|why| why.contains("UTF-8")));
    }

    #[test]
    fn names_say_how_a_file_is_compressed_and_can_be_written() {
        let limits = Limits::default();
        let packed = gzip(COMPS.as_bytes());
        for (name, content) in [
            ("comps.xml", &packed[..]),
            ("comps.xml.xz", &packed),
            ("comps.xml.gz", COMPS.as_bytes()),
            ("modules.yaml.zst", MODULES.as_bytes()),
            ("comps.xml.gz", &packed[..packed.len() - 9]),
        ] {
            assert!(said(name, content, &limits).is_err(), "{name}");
        }
        assert!(
            said("comps\u{ffff}.xml", COMPS.as_bytes(), &limits).is_err_and(|why| why.contains("no index can hold"))
        );
    }

    #[test]
    fn memory_is_bounded() {
        let limits = Limits { text_bytes: 1_000, key_bytes: 1_000, ..Limits::default() };
        let long = "x".repeat(2_000);
        for (name, content) in [
            ("comps.xml", format!("<comps>{long}</comps>")),
            ("modules.yaml", format!("---\ndocument: modulemd\nversion: 2\ndata: {long}\n")),
            ("modules.yaml", format!("# {long}")),
            ("productid", format!("{PRODUCT}{long}")),
        ] {
            assert!(said(name, content.as_bytes(), &limits).is_err_and(|why| why.contains("over the limit")), "{name}");
        }
        let many = MODULES.repeat(100);
        assert_eq!(said("modules.yaml", many.as_bytes(), &limits), Ok(()), "each document for itself");
    }
}
