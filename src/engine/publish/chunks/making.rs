//! Making a chunk of its packages' fragments, within bounds.
//!
//! Fragments come in groups ([`groups`]), compressed as they are kept, and are unpacked as streams into the texts of their lists,
//! which are held only while they are short ([`Growing`]). Nobody is spared by how large a package is: a group has
//! [`GROUP_BYTES`](crate::store::catalog::fragments::GROUP_BYTES), or one package that is longer; no more than [`GROUPS_BYTES`] of groups are held at once, or one that is longer;
//! and no more than [`MAKERS`] chunks are made at once. One that does not come to its end leaves nothing behind.

use std::collections::HashMap;
use std::io;
#[cfg(test)]
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::Shape;
use super::file::{Chunk, Writing};
use super::growing::Growing;
use super::packing::{pack_into, unpack_into};
use crate::engine::publish::PublishError;
use crate::engine::publish::budget::{Budget, Claim};
use crate::engine::publish::sheet::Listed;
use crate::engine::threads::{Pace, on_its_own};
use crate::store::catalog::fragments::{FRAGMENTS, Fragments, groups};
use crate::store::catalog::snapshots::PackageMark;
use crate::store::key::Target;

/// Chunks that are made at once.
const MAKERS: usize = 4;

/// The most bytes of fragments that are held at once for all chunks that are being made, as they are kept.
const GROUPS_BYTES: u64 = 32 << 20;

/// Makes chunks.
pub(super) struct Makers {
    fragments: Arc<dyn Fragments>,
    turns: Semaphore,
    held: Budget,
}

/// Fragments of some neighbours, in the order of their sheet.
struct Group {
    bodies: Vec<Vec<u8>>,
    _claim: Claim,
}

impl Makers {
    pub(super) fn new(fragments: Arc<dyn Fragments>) -> Self {
        Self { fragments, turns: Semaphore::new(MAKERS), held: Budget::of(GROUPS_BYTES) }
    }

    /// Makes the chunk of these packages of a root, under this path.
    pub(super) async fn make(
        &self,
        root: &Target,
        path: PathBuf,
        packages: &[Listed],
        shape: Shape,
    ) -> Result<Chunk, PublishError> {
        let _turn = self.turns.acquire().await.map_err(|_| PublishError::Contended)?;
        let measured = self.measure(root, packages).await?;
        let (sender, mut coming) = mpsc::channel(1);
        let count = packages.len();
        let making = on_its_own(Pace::Usual, move || {
            let mut texts: Vec<Growing> = (0..shape.lists).map(|_| Growing::beside(&path)).collect();
            let mut added = 0;
            while let Some(Group { bodies, _claim }) = coming.blocking_recv() {
                bodies.iter().try_for_each(|body| unpack_into(body, &mut texts))?;
                added += bodies.len();
            }
            if added < count {
                return Err(io::Error::other("not all fragments of a chunk have come"));
            }
            write(path, texts, shape)
        });
        let (made, fed) = tokio::join!(making, self.feed(root, &measured, sender));
        fed?;
        Ok(made.ok_or_else(|| io::Error::other("the thread that made a chunk died"))??)
    }

    /// How long the fragments of each of these are.
    async fn measure(&self, root: &Target, packages: &[Listed]) -> Result<Vec<(PackageMark, u64)>, PublishError> {
        let mut lengths = HashMap::with_capacity(packages.len());
        for some in packages.chunks(FRAGMENTS) {
            let marks: Vec<PackageMark> = some.iter().map(|listed| listed.mark).collect();
            lengths.extend(self.fragments.fragment_lengths(root, &marks).await?);
        }
        let length =
            |listed: &Listed| Ok((listed.mark, *lengths.get(&listed.mark).ok_or_else(|| gone(listed.path.as_str()))?));
        packages.iter().map(length).collect()
    }

    /// Hands out the fragments of these, group by group.
    async fn feed(
        &self,
        root: &Target,
        measured: &[(PackageMark, u64)],
        into: mpsc::Sender<Group>,
    ) -> Result<(), PublishError> {
        for group in groups(measured) {
            let bytes = group.iter().map(|(_, length)| *length).sum();
            let claim = self.held.claim(bytes).await?;
            let marks: Vec<PackageMark> = group.iter().map(|(mark, _)| *mark).collect();
            let mut found: HashMap<_, _> = self.fragments.fragments(root, &marks).await?.into_iter().collect();
            let bodies: Option<Vec<Vec<u8>>> = marks.iter().map(|mark| found.remove(mark)).collect();
            let bodies = bodies.ok_or_else(|| gone("a package"))?;
            // Whoever writes it no longer takes any only when it failed, and then says so itself.
            if into.send(Group { bodies, _claim: claim }).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn gone(path: &str) -> PublishError {
    PublishError::Unreadable(format!("what {path} contributes to its index is gone"))
}

/// Writes a chunk of these texts. On a thread that may block.
fn write(path: PathBuf, texts: Vec<Growing>, shape: Shape) -> io::Result<Chunk> {
    let mut writing = Writing::begin(&path, shape.lists)?;
    // Each text goes when it is written: there may be a file of it.
    for mut text in texts {
        writing.text(|into| io::copy(&mut text.read()?, into).map(drop))?;
        writing.packed(|into| pack_into(&mut text, shape.compression, into))?;
    }
    writing.finish()?;
    Chunk::open(path, shape.lists).ok_or_else(|| io::Error::other("a chunk is not as it was written"))
}

/// Writes a chunk of these texts.
#[cfg(test)]
pub(in crate::engine::publish) fn write_texts(
    path: &std::path::Path,
    texts: &[Vec<u8>],
    compression: artifactapi_formats::publish::Compression,
) -> io::Result<Chunk> {
    let grown = texts.iter().map(|text| {
        let mut growing = Growing::beside(path);
        growing.write_all(text).map(|()| growing)
    });
    write(path.into(), grown.collect::<io::Result<_>>()?, Shape { lists: texts.len(), compression })
}
