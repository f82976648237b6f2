//! Mirror lists: where else a repository lies, and which `repomd.xml` is current there (FORMATS 3.6).
//!
//! Three kinds are told apart by their content, never by name or media type: a plain list of base URLs, metalink 3 (Fedora's
//! mirror manager) and metalink 4 (RFC 5854). What comes out is base URLs, best first, and digests of the `repomd.xml`
//! that mirrors should have. Only `http` and `https` are handed out; ftp and rsync entries are common and skipped.
//!
//! Lists of ours are written by [`write`](mod@write): they name one place, ourselves.

mod write;

pub(super) use self::write::write;
use super::xml::{Document, Element, Node, gather};
pub use crate::mirrors::{Mirror, MirrorList, Revision};
use crate::{Algorithm, Digest, Invalid, Limits};

const WHAT: &str = "mirror list";
const METALINK: &str = "metalink";
/// The file a usable metalink is about.
const FILE: &str = "repomd.xml";
/// Where that file lies below a base URL.
const BELOW: &str = "repodata/repomd.xml";

/// Reads a mirror list of any kind.
///
/// # Errors
/// [`Invalid`] when it is malformed, over a limit, a web page, or about another file than `repomd.xml`.
pub fn read(list: &[u8], limits: &Limits) -> Result<MirrorList, Invalid> {
    let other = || Invalid::malformed(WHAT, "a metalink about another file than repomd.xml");
    read_any(list, limits)?.ok_or_else(other)
}

/// The same for a list that may be about another file, as those beside disk images are: that is `None`.
pub(super) fn read_any(list: &[u8], limits: &Limits) -> Result<Option<MirrorList>, Invalid> {
    if list.len() as u64 > limits.entry_bytes {
        return Err(Invalid::OverLimit { what: WHAT, limit: "entry_bytes", value: limits.entry_bytes });
    }
    let read = match list.trim_ascii_start().first() {
        Some(b'<') => metalink(list, limits)?,
        Some(b'[' | b'{') => {
            return Err(Invalid::malformed(WHAT, "a list in JSON, which was not asked for"));
        }
        _ => Some(plain(list, limits)?),
    };
    Ok(read.map(|mut read| {
        read.mirrors.sort_by_key(|mirror| std::cmp::Reverse(mirror.preference));
        read
    }))
}

fn plain(list: &[u8], limits: &Limits) -> Result<MirrorList, Invalid> {
    let text = std::str::from_utf8(list).map_err(|_| Invalid::malformed(WHAT, "it is not UTF-8"))?;
    let mut read = MirrorList::default();
    for line in text.lines().map(str::trim).filter(|line| is_web(line)) {
        let base_url = if line.ends_with('/') { line.to_owned() } else { format!("{line}/") };
        read.mirrors.push(Mirror { base_url, preference: 100, location: None });
        bounded(&read, limits)?;
    }
    Ok(read)
}

/// What the text of an element belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Timestamp,
    Size,
    Hash,
    Url,
}

/// A metalink as far as it has come.
#[derive(Default)]
struct Metalink {
    read: MirrorList,
    revision: Revision,
    has_hash: bool,
    seen_file: bool,
    in_file: bool,
    algorithm: Option<Algorithm>,
    mirror: Option<(u32, Option<String>)>,
    text: String,
}

fn metalink(list: &[u8], limits: &Limits) -> Result<Option<MirrorList>, Invalid> {
    let mut document = Document::new(WHAT, METALINK, list, limits);
    let text_bytes = document.text_bytes();
    let mut metalink = Metalink::default();
    // The elements that are open: a text belongs to the innermost, a revision to `file` or `alternate`.
    let mut field = None;
    loop {
        match document.next()? {
            Node::Open(_, element) => {
                field = metalink.open(&element)?;
                metalink.text.clear();
            }
            Node::Text(text) => {
                if field.is_some() {
                    gather(WHAT, &mut metalink.text, &text, text_bytes)?;
                }
            }
            Node::Close(_) => {
                if let Some(field) = field.take() {
                    metalink.close(field);
                    bounded(&metalink.read, limits)?;
                }
            }
            Node::End => return Ok(metalink.finish()),
        }
    }
}

impl Metalink {
    fn open(&mut self, element: &Element<'_>) -> Result<Option<Field>, Invalid> {
        match element.name() {
            "file" => {
                self.in_file = element.attribute("name")?.as_deref() == Some(FILE);
                self.seen_file |= self.in_file;
            }
            // What came before belongs to the file itself or to the alternate before this one.
            "alternate" => self.revision_ends(),
            _ if !self.in_file => {}
            "timestamp" => return Ok(Some(Field::Timestamp)),
            "size" => return Ok(Some(Field::Size)),
            "hash" => {
                let name = element.attribute("type")?;
                self.algorithm = name.and_then(|name| Algorithm::from_name(&name.replace('-', "")));
                return Ok(Some(Field::Hash));
            }
            "url" => {
                let number = |name| -> Result<Option<u32>, Invalid> {
                    Ok(element.attribute(name)?.and_then(|text| text.trim().parse().ok()))
                };
                let preference = number("preference")?.map(|preference| preference.min(100));
                // Metalink 4 counts the other way: 1 is best.
                let priority = number("priority")?.map(|priority| 101_u32.saturating_sub(priority.max(1)));
                let location = element.attribute("location")?.map(Into::into);
                self.mirror = Some((preference.or(priority).unwrap_or(0), location));
                return Ok(Some(Field::Url));
            }
            _ => {}
        }
        Ok(None)
    }

    fn close(&mut self, field: Field) {
        let text = self.text.trim();
        match field {
            Field::Timestamp => self.revision.timestamp = text.parse().ok(),
            Field::Size => self.revision.size = text.parse().ok(),
            // Without a type it is of a piece of the file.
            Field::Hash => {
                let Some(algorithm) = self.algorithm.take() else {
                    return;
                };
                self.has_hash = true;
                self.revision.digests.extend(Digest::from_hex(algorithm, text));
            }
            Field::Url => {
                let base = text.strip_suffix(BELOW).filter(|base| is_web(base) && base.ends_with('/'));
                if let (Some(base), Some((preference, location))) = (base, self.mirror.take()) {
                    self.read.mirrors.push(Mirror { base_url: base.to_owned(), preference, location });
                }
            }
        }
    }

    fn revision_ends(&mut self) {
        let revision = std::mem::take(&mut self.revision);
        if std::mem::take(&mut self.has_hash) {
            self.read.revisions.push(revision);
        }
    }

    /// What it says; `None` when it is about another file.
    fn finish(mut self) -> Option<MirrorList> {
        self.revision_ends();
        self.seen_file.then_some(self.read)
    }
}

fn bounded(read: &MirrorList, limits: &Limits) -> Result<(), Invalid> {
    if read.mirrors.len().max(read.revisions.len()) as u64 > limits.mirrors {
        return Err(Invalid::OverLimit { what: WHAT, limit: "mirrors", value: limits.mirrors });
    }
    Ok(())
}

fn is_web(url: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

#[cfg(test)]
mod tests;
