//! What several indexes carry beside their lists, joined to one file: groups, advisories, modules.
//!
//! Such a file is a sequence of entries that have names of their own. The joined one has the entries of all, those of the most wanted
//! index first; of two advisories or modules of one name the first is taken, whole, and groups are united ([`super::groups`]). An
//! entry stands as it stood, so what this knows nothing of is kept. Files are read as streams; memory is that of one entry, and some
//! bytes for the name of each.
//!
//! Not joined is what is about one product alone, such as `productid`.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::carried::{behind_mark, is_prelude};
use super::cut::bound;
use super::groups;
use crate::decompress::{into_invalid, open};
use crate::rpm::xml::{Document, Namespaces, Node, gather};
use crate::{Algorithm, Invalid, Limits};

/// A kind of file that can be joined.
struct Kind {
    /// As `repomd.xml` calls it, without how it is compressed.
    kind: &'static str,
    /// What the joined file is called.
    name: &'static str,
    /// The element around all entries; `None` when they are documents of YAML.
    root: Option<&'static str>,
    is_compressed: bool,
}

/// Groups are read without compression by every client under the one word that all of them know.
const KINDS: [Kind; 3] = [
    Kind { kind: "group", name: "comps.xml", root: Some("comps"), is_compressed: false },
    Kind { kind: "updateinfo", name: "updateinfo.xml.gz", root: Some("updates"), is_compressed: true },
    Kind { kind: "modules", name: "modules.yaml.gz", root: None, is_compressed: true },
];

/// The documents that say which stream of a module is its usual one: there is one answer for each module, whoever gives it.
const MODULE_DEFAULTS: &str = "modulemd-defaults";

/// The fields by which another document about a module is told from others: those of its `data`, as libmodulemd writes them.
const MODULE_FIELDS: [&str; 7] = ["name", "module", "stream", "version", "context", "arch", "modified"];

fn find(kind: &str) -> Option<&'static Kind> {
    let kind = kind.split('_').next()?;
    KINDS.iter().find(|known| known.kind == kind)
}

/// What a joined file of this kind is called; `None` if it cannot be joined.
pub(super) fn joined_name(kind: &str) -> Option<&'static str> {
    find(kind).map(|kind| kind.name)
}

/// Joins files of one kind, the most wanted first.
pub(super) fn join(
    kind: &str,
    from: &mut [Box<dyn Read + Send>],
    limits: &Limits,
    into: &mut dyn Write,
) -> Result<(), Invalid> {
    let kind = find(kind).ok_or_else(|| Invalid::malformed("index", format!("{kind} is not joined")))?;
    if !kind.is_compressed {
        return entries(kind, from, limits, into);
    }
    let mut packed = GzEncoder::new(into, Compression::default());
    entries(kind, from, limits, &mut packed)?;
    packed.finish().map(drop).map_err(Invalid::Read)
}

fn entries(
    kind: &Kind,
    from: &mut [Box<dyn Read + Send>],
    limits: &Limits,
    into: &mut dyn Write,
) -> Result<(), Invalid> {
    let mut taken = Taken { names: HashSet::new(), what: kind.name, most: limits.packages };
    if kind.kind == "group" {
        return groups::join(from, limits, into);
    }
    if let Some(root) = kind.root {
        writeln!(into, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>").map_err(Invalid::Read)?;
        for from in from {
            elements(kind.name, root, from, limits, &mut taken, into)?;
        }
        return writeln!(into, "</{root}>").map_err(Invalid::Read);
    }
    from.iter_mut().try_for_each(|from| documents(kind.name, from, limits, &mut taken, into))
}

/// The names of the entries there are already, by their digests.
struct Taken {
    names: HashSet<[u8; 16]>,
    what: &'static str,
    most: u64,
}

impl Taken {
    /// Whether an entry of this name is to be taken: it is the first.
    fn take(&mut self, parts: &[&str]) -> Result<bool, Invalid> {
        if self.names.len() as u64 >= self.most {
            return Err(Invalid::OverLimit { what: self.what, limit: "packages", value: self.most });
        }
        Ok(self.names.insert(name(parts)))
    }
}

/// A digest that stands for a name.
pub(super) fn name(parts: &[&str]) -> [u8; 16] {
    let mut hasher = Algorithm::Sha256.hasher();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(b"\0");
    }
    let mut name = [0; 16];
    name.iter_mut().zip(hasher.finish().bytes()).for_each(|(to, from)| *to = *from);
    name
}

/// The elements below the root, each told by its own name and the text of its `id`; without one, by all of it.
fn elements(
    what: &'static str,
    root: &'static str,
    from: &mut dyn Read,
    limits: &Limits,
    taken: &mut Taken,
    into: &mut dyn Write,
) -> Result<(), Invalid> {
    let document = Document::new(what, root, open(what, from, limits)?, limits);
    let mut document = document.recording(limits).with_doctype().strictly();
    let text_bytes = document.text_bytes();
    let (mut namespaces, mut text) = (Namespaces::default(), Vec::new());
    let (mut name, mut id, mut in_id) = (String::new(), String::new(), false);
    loop {
        let mut is_whole = false;
        match document.next()? {
            Node::Open(1, element) => namespaces.of_root = element.namespaces()?,
            Node::Open(2, element) => {
                namespaces.of_package = element.namespaces()?;
                element.name().clone_into(&mut name);
                id.clear();
            }
            Node::Open(3, element) => in_id = element.name() == "id" && id.is_empty(),
            Node::Text(piece) if in_id => gather(what, &mut id, &piece, text_bytes)?,
            Node::Close(3) => in_id = false,
            Node::Close(2) => is_whole = true,
            Node::Open(..) | Node::Close(_) | Node::Text(_) => {}
            Node::End => return Ok(()),
        }
        if is_whole {
            let recorded = document.recorded();
            if taken.take(&[&name, if id.trim().is_empty() { recorded } else { id.trim() }])? {
                bound(recorded, &namespaces, &|_, _| false, &mut text);
                into.write_all(&text).map_err(Invalid::Read)?;
            }
        }
    }
}

/// The documents of a stream of YAML, each told by what it is about, if that can be seen, and by all of it if not.
fn documents(
    what: &'static str,
    from: &mut dyn Read,
    limits: &Limits,
    taken: &mut Taken,
    into: &mut dyn Write,
) -> Result<(), Invalid> {
    let mut lines = BufReader::new(open(what, from, limits)?);
    let (mut document, mut line) = (String::new(), Vec::new());
    loop {
        line.clear();
        let most = limits.fragment_bytes.saturating_sub(document.len() as u64);
        let read = (&mut lines).take(most + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| into_invalid(what, error))?;
        if read as u64 > most {
            return Err(Invalid::OverLimit { what, limit: "fragment_bytes", value: limits.fragment_bytes });
        }
        let text = std::str::from_utf8(&line).map_err(|_| Invalid::malformed(what, "it is not UTF-8"))?;
        let (begins, ends) = (behind_mark("---", text), behind_mark("...", text));
        if (begins.is_some() || ends.is_some() || read == 0) && !is_prelude(&document) {
            let told = told(&document);
            if taken.take(&told.iter().map(String::as_str).collect::<Vec<_>>())? {
                // The last line of a file may have no end.
                let end = if document.ends_with('\n') { "...\n" } else { "\n...\n" };
                let parts = ["---\n", &document, end];
                parts.iter().try_for_each(|part| into.write_all(part.as_bytes())).map_err(Invalid::Read)?;
            }
        }
        match (read, begins, ends) {
            (0, ..) => return Ok(()),
            // What readers are told of the stream is no part of what is said of modules.
            (_, Some(rest), _) => rest.trim_start().clone_into(&mut document),
            (_, _, Some(_)) => document.clear(),
            _ => document.push_str(text),
        }
    }
}

fn told(document: &str) -> Vec<String> {
    let kind = document.lines().find_map(|line| line.strip_prefix("document:")).map(str::trim);
    let Some(kind) = kind else { return vec![document.to_owned()] };
    let mut told = vec![kind.to_owned()];
    for line in document.lines() {
        let field = line.strip_prefix("  ").and_then(|line| line.split_once(':'));
        let tells = |field: &str| match kind {
            MODULE_DEFAULTS => field == "module",
            _ => MODULE_FIELDS.contains(&field),
        };
        if let Some((field, value)) = field.filter(|(field, _)| tells(field)) {
            told.push(format!("{field}={}", value.trim().trim_matches(['"', '\''])));
        }
    }
    if told.len() == 1 { vec![document.to_owned()] } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(kind: &str, from: &[&str]) -> String {
        let mut from: Vec<Box<dyn Read + Send>> = from
            .iter()
            .map(|text| Box::new(std::io::Cursor::new((*text).to_owned())) as Box<dyn Read + Send>)
            .collect();
        let mut into = Vec::new();
        join(kind, &mut from, &Limits::default(), &mut into).expect(kind);
        let mut text = String::new();
        match joined_name(kind).expect(kind).ends_with(".gz") {
            true => flate2::read::GzDecoder::new(&*into).read_to_string(&mut text).expect("gzip"),
            false => into.as_slice().read_to_string(&mut text).expect("text"),
        };
        text
    }

    #[test]
    fn advisories() {
        let one = "<updates><update type=\"security\"><id>A-1</id><title>1 &lt; 2</title></update></updates>";
        let two = "<updates><update><id>A-2</id></update><update><id>A-1</id><title>Other</title></update></updates>";
        let text = joined("updateinfo", &[one, two]);
        assert_eq!(text.matches("<update ").count() + text.matches("<update>").count(), 2, "{text}");
        assert!(text.contains("<title>1 &lt; 2</title>") && !text.contains("Other"), "{text}");
    }

    #[test]
    fn modules() {
        let stream = |version: &str, summary: &str| {
            format!(
                "---\ndocument: modulemd\nversion: 2\ndata:\n  name: a\n  stream: \"1\"\n  version: {version}\n  summary: {summary}\n...\n"
            )
        };
        let defaults = "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: a\n  stream: \"1\"\n";
        let ours = [stream("1", "Ours"), defaults.to_owned()].concat();
        let others = defaults.replace("\"1\"", "\"2\"").replace("stream:", "modified: 202501010000\n  stream:");
        let theirs =
            [stream("1", "Theirs"), stream("2", "Theirs"), format!("{others}...\n"), "--- \nx: y\n".to_owned()]
                .concat();
        let expected =
            [stream("1", "Ours"), format!("{defaults}...\n"), stream("2", "Theirs"), "---\nx: y\n...\n".to_owned()];
        let ours = format!("# ours\n%YAML 1.1\n{ours}--- {{document: modulemd, version: 2, data: {{}}}}\n---\nx: z");
        let text = joined("modules", &[&ours, &theirs]);
        assert!(
            text.contains("---\n{document: modulemd, version: 2, data: {}}\n...\n") && !text.contains('%'),
            "{text}"
        );
        assert!(text.contains("---\nx: z\n...\n"), "{text}");
        assert_eq!(text.matches("Theirs").count(), 1, "{text}");
        assert_eq!(text.matches("modulemd-defaults").count(), 1, "{text}");
        assert!(expected.iter().all(|document| text.contains(document)), "{text}");
    }

    #[test]
    fn what_is_hostile_is_refused() {
        let refused = |kind: &str, text: &str, limits: &Limits| {
            let mut from: [Box<dyn Read + Send>; 1] = [Box::new(std::io::Cursor::new(text.to_owned()))];
            join(kind, &mut from, limits, &mut Vec::new()).is_err()
        };
        let limits = Limits { fragment_bytes: 1 << 10, ..Limits::default() };
        let entity = "<!DOCTYPE comps [<!ENTITY a \"b\">]><comps/>";
        assert!(refused("group", entity, &limits));
        assert!(refused("group", "<comps><group>", &limits));
        assert!(refused("group", "<html/>", &limits));
        assert!(refused("group", "<comps><group>\u{1}</group></comps>", &limits));
        assert!(refused("updateinfo", "<updates><update>\u{1}</update></updates>", &limits));
        assert!(refused("group", &format!("<comps><group>{}</group></comps>", "x".repeat(2_000)), &limits));
        assert!(refused("modules", &format!("---\n{}", "x".repeat(2_000)), &limits));
        assert!(refused("productid", "", &limits));
    }
}
