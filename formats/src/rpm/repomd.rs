//! `repomd.xml`: the files of a root, each with its digest (FORMATS 3.2).
//!
//! Types nobody has heard of are carried: they are legal, and clients may ask for them. What is not carried is a file that
//! lies elsewhere by its own URL (an absolute `xml:base`), because clients fetch it without us, and a file without any
//! checksum, of which there is nothing to hold it to: clients take those as they come.

use super::place;
use super::xml::{Document, Node, gather};
use crate::{Algorithm, Digest, Expected, Identity, IndexLayout, Invalid, Limits, Member};

const WHAT: &str = "repomd.xml";

/// What a `repomd.xml` says.
#[derive(Default)]
pub(super) struct Repomd {
    pub members: Vec<Member>,
    /// The newest of its files' times. `revision` is free text and often the same for ever.
    pub made_at: Option<u64>,
}

/// One `data` element as far as it has come.
#[derive(Default)]
struct Data {
    kind: String,
    algorithm: Option<String>,
    checksum: String,
    size: String,
    timestamp: String,
    href: Option<String>,
    base: Option<String>,
}

/// The fields whose text matters.
#[derive(Clone, Copy)]
enum Field {
    Checksum,
    Size,
    Timestamp,
}

/// Reads a `repomd.xml`.
pub(super) fn read(layout: &IndexLayout, entry: &[u8], limits: &Limits) -> Result<Repomd, Invalid> {
    if entry.len() as u64 > limits.entry_bytes {
        return Err(Invalid::OverLimit { what: WHAT, limit: "entry_bytes", value: limits.entry_bytes });
    }
    let mut document = Document::new(WHAT, "repomd", entry, limits);
    let text_bytes = document.text_bytes();
    let (mut repomd, mut named) = (Repomd::default(), 0_u64);
    let mut data: Option<Data> = None;
    let mut field = None;
    loop {
        match document.next()? {
            Node::Open(2, element) if element.name() == "data" => {
                let kind = element.attribute("type")?.ok_or_else(|| malformed("a data element without a type"))?;
                data = Some(Data { kind: kind.into_owned(), ..Data::default() });
            }
            Node::Open(3, element) => {
                let Some(data) = &mut data else { continue };
                match element.name() {
                    "checksum" => {
                        data.algorithm = element.attribute("type")?.map(Into::into);
                        field = Some(Field::Checksum);
                    }
                    "size" => field = Some(Field::Size),
                    "timestamp" => field = Some(Field::Timestamp),
                    "location" => {
                        data.href = element.attribute("href")?.map(Into::into);
                        data.base = element.attribute("xml:base")?.map(Into::into);
                    }
                    _ => {}
                }
            }
            Node::Text(text) => {
                let (Some(data), Some(field)) = (&mut data, field) else {
                    continue;
                };
                let field = match field {
                    Field::Checksum => &mut data.checksum,
                    Field::Size => &mut data.size,
                    Field::Timestamp => &mut data.timestamp,
                };
                gather(WHAT, field, &text, text_bytes)?;
            }
            Node::Close(3) => field = None,
            Node::Close(2) => {
                let Some(data) = data.take() else { continue };
                named += 1;
                if named > limits.members {
                    return Err(Invalid::OverLimit { what: WHAT, limit: "members", value: limits.members });
                }
                // createrepo writes whole seconds, its ancestor wrote fractions.
                let made_at = data.timestamp.trim().split('.').next().and_then(|seconds| seconds.parse().ok());
                repomd.made_at = repomd.made_at.max(made_at);
                repomd.members.extend(data.member(layout)?);
            }
            Node::Open(..) | Node::Close(_) => {}
            Node::End => return Ok(repomd),
        }
    }
}

impl Data {
    fn member(self, layout: &IndexLayout) -> Result<Option<Member>, Invalid> {
        let Self { kind, algorithm, checksum, size, href, base, .. } = self;
        let href = href.ok_or_else(|| malformed(&format!("data '{kind}' has no location")))?;
        let path = place::of_member(&layout.folder, base.as_deref(), &href)
            .map_err(|why| malformed(&format!("data '{kind}' lies at '{}': {why}", href.escape_debug())))?;
        if path.as_ref().is_some_and(|path| *path == layout.entry || layout.companions.contains(path)) {
            return Err(malformed(&format!("data '{kind}' lies where repomd.xml or its signature does")));
        }
        if algorithm.is_none() && checksum.trim().is_empty() {
            return Ok(None);
        }
        let digest = algorithm
            .and_then(|name| Algorithm::from_name(&name))
            .and_then(|algorithm| Digest::from_hex(algorithm, checksum.trim()).ok())
            .ok_or_else(|| malformed(&format!("data '{kind}' has no checksum that can be read")))?;
        // A size of 0 is a writer's way to say that it does not know: no metadata file is empty.
        let size = size.trim().parse().ok().filter(|&size| size > 0);
        let expected = Expected { size, identity: Identity::File(digest) };
        Ok(path.map(|path| Member { kind, path, expected }))
    }
}

fn malformed(why: &str) -> Invalid {
    Invalid::malformed(WHAT, why)
}
