//! The files that bind the lists together: `repomd.xml`, and beside it its signature and the keys that made it (FORMATS 3.2, 3.5).
//!
//! Lists are named by their digests, so those of one index never stand in the way of those of the next: a client that holds
//! the older `repomd.xml` finds everything that it names for as long as the server keeps it. What is carried stays under its own name.

use super::lists;
use super::xml::Xml;
use crate::publish::{Carried, Compression, Finished, FinishedContent, Index, WrittenList};
use crate::rpm::names;
use crate::trust::OpenPgpKey;
use crate::{Invalid, RepoPath, Sha256};

const WHAT: &str = "repomd.xml";

/// All files of an index, `repomd.xml` first.
pub(super) fn finish(index: &Index<'_>) -> Result<Vec<Finished>, Invalid> {
    if index.lists.len() != lists::NAMES.len() {
        let why = format!("an index has {} lists, not {}", lists::NAMES.len(), index.lists.len());
        return Err(Invalid::malformed(WHAT, why));
    }
    let layout = names::layout(index.root);
    let mut written = Vec::new();
    for (list, (name, of)) in lists::NAMES.into_iter().zip(index.lists).enumerate() {
        let relative = format!("repodata/{}-{name}.xml.{}", of.sha256.hex(), ending(of.compression));
        let path = RepoPath::join(&layout.folder, &relative)
            .map_err(|why| Invalid::malformed(WHAT, format!("{name} has no place: {why}")))?;
        written.push(Finished { path, content: FinishedContent::List { prefix: Vec::new(), list } });
    }

    let document = document(index, &layout.folder, &written)?;
    let mut files = Vec::new();
    // Clients that know one of the keys are content; some look at the first signature only.
    let signature = OpenPgpKey::sign_all(index.keys.openpgp(), &document, index.written_at)?;
    // A block for each: rpm imports only the first certificate of a block.
    let certificates = signature.is_some().then(|| index.keys.openpgp().map(OpenPgpKey::certificate).collect());
    files.push(Finished { path: layout.entry, content: FinishedContent::Bytes(document) });
    for (path, content) in layout.companions.into_iter().zip([signature, certificates]) {
        files.extend(content.map(|content| Finished { path, content: FinishedContent::Bytes(content.into_bytes()) }));
    }
    files.append(&mut written);
    Ok(files)
}

const fn ending(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gz",
        Compression::Zstd => "zst",
    }
}

/// `repomd.xml`.
fn document(index: &Index<'_>, folder: &str, written: &[Finished]) -> Result<Vec<u8>, Invalid> {
    let mut xml = Xml::document(WHAT);
    let namespaces =
        [("xmlns", "http://linux.duke.edu/metadata/repo"), ("xmlns:rpm", "http://linux.duke.edu/metadata/rpm")];
    xml.begin("repomd", &namespaces)?;
    xml.text("revision", &[], &index.revision.to_string())?;
    for ((name, list), file) in lists::NAMES.into_iter().zip(index.lists).zip(written) {
        let WrittenList { size, sha256, open_size, open_sha256, .. } = *list;
        let open = Some((open_size, open_sha256));
        Data { kind: name, path: &file.path, size, sha256, open, made_at: index.written_at }.write(&mut xml, folder)?;
    }
    let groups = groups_asked_for(index.carried);
    for (number, Carried { kind, path, size, sha256, open, uploaded_at }) in index.carried.iter().enumerate() {
        let kind = if groups == Some(number) { "group" } else { kind };
        let data = Data {
            kind,
            path,
            size: *size,
            sha256: *sha256,
            open: open.map(|(size, sha256)| (size, Some(sha256))),
            made_at: *uploaded_at,
        };
        data.write(&mut xml, folder)?;
    }
    xml.end();
    Ok(xml.finish())
}

/// Clients ask for groups by two words, `group_gz` and then `group`. Where nothing goes by either, the first of the groups that are
/// compressed in another way goes by the latter, as createrepo_c has it; which way that is, its name shows.
fn groups_asked_for(carried: &[Carried]) -> Option<usize> {
    let is_asked_for = carried.iter().any(|file| matches!(&*file.kind, "group" | "group_gz"));
    if is_asked_for { None } else { carried.iter().position(|file| file.kind.starts_with("group_")) }
}

/// What `repomd.xml` says of one file.
struct Data<'d> {
    kind: &'d str,
    path: &'d RepoPath,
    size: u64,
    sha256: Sha256,
    /// Length of what is compressed in it, and its digest if that is known.
    open: Option<(u64, Option<Sha256>)>,
    made_at: u64,
}

impl Data<'_> {
    fn write(&self, xml: &mut Xml, folder: &str) -> Result<(), Invalid> {
        let href = below(folder, self.path)
            .ok_or_else(|| Invalid::malformed(WHAT, format!("{} lies outside the root", self.path)))?;
        xml.begin("data", &[("type", self.kind)])?;
        xml.text("checksum", &[("type", "sha256")], &self.sha256.hex())?;
        if let Some((_, Some(sha256))) = self.open {
            xml.text("open-checksum", &[("type", "sha256")], &sha256.hex())?;
        }
        xml.empty("location", &[("href", href)])?;
        xml.text("timestamp", &[], &self.made_at.to_string())?;
        xml.text("size", &[], &self.size.to_string())?;
        if let Some((size, _)) = self.open {
            xml.text("open-size", &[], &size.to_string())?;
        }
        xml.end();
        Ok(())
    }
}

/// A path from its root folder, as indexes name it.
pub(super) fn below<'p>(folder: &str, path: &'p RepoPath) -> Option<&'p str> {
    match folder {
        "" => Some(path.as_str()),
        folder => path.as_str().strip_prefix(folder)?.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_go_by_a_word_that_clients_ask_for() {
        let path = RepoPath::new("repodata/comps.xml.zst").expect("a path");
        let carried = |kinds: &[&str]| -> Vec<_> {
            let one = |kind: &&str| Carried {
                kind: (*kind).to_owned(),
                path: path.clone(),
                size: 1,
                sha256: Sha256::of(b""),
                open: None,
                uploaded_at: 0,
            };
            kinds.iter().map(one).collect()
        };
        let table: [(&[&str], Option<usize>); 6] = [
            (&[], None),
            (&["updateinfo"], None),
            (&["updateinfo", "group_zst", "group_xz"], Some(1)),
            (&["group_xz", "group"], None),
            (&["group_gz", "group_zst"], None),
            (&["group", "group_gz"], None),
        ];
        for (kinds, expected) in table {
            assert_eq!(groups_asked_for(&carried(kinds)), expected, "{kinds:?}");
        }
    }
}
