//! The pieces that lists are joined of, ready compressed, in a folder on this machine.
//!
//! A chunk is some dozens of neighbouring packages of a root: for each list their fragments as text and the same compressed. It
//! is named by what is in it ([`ChunkName`]), so it never changes and is never wrong, only absent or damaged ([`Lost`]); then it
//! is made of the fragments in the catalog ([`making`]). The folder is a cache: it may be lost at any time, and is kept within
//! [`FOLDER_BYTES`].
//!
//! However large its packages are, a chunk is never held whole, neither when it is made nor when it is read.

mod file;
mod folder;
mod growing;
mod making;
mod packing;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use artifactapi_formats::publish::Compression;

pub(super) use self::file::{Chunk, Lost, Stretch};
pub(super) use self::folder::FOLDER_BYTES;
use self::folder::{ChunkName, Folder};
use self::growing::without_a_name;
use self::making::Makers;
#[cfg(test)]
pub(super) use self::making::write_texts;
#[cfg(test)]
pub(super) use self::packing::unpack;
pub(super) use self::packing::{pack, packed};
use super::PublishError;
use super::sheet::{Listed, Sheet};
use crate::store::catalog::fragments::Fragments;
use crate::store::key::Target;

/// Chunks whose sizes are remembered.
const REMEMBERED: usize = 16_384;

/// The most bytes of one package's fragments, together. A package with a million files has about 100 MiB.
pub(super) const MAX_FRAGMENT: u64 = 256 << 20;

/// What a chunk is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// How many lists the format has.
    pub(super) lists: usize,
    /// How they are compressed.
    pub(super) compression: Compression,
}

/// How far a chunk is trusted that lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is what it was; should it not be, whoever reads it will see.
    Usual,
    /// One has just been found to be [`Lost`]: all of them are read once, and what is not whole is made again.
    Shaken,
    /// What was made of them is not what it should be: all of them are made again.
    Gone,
}

/// Makes chunks, and knows them.
pub(super) struct Chunks {
    folder: Arc<Folder>,
    known: Arc<quick_cache::sync::Cache<ChunkName, Arc<Chunk>>>,
    makers: Makers,
}

impl Chunks {
    /// In this folder, which is made, and where they may take so many bytes.
    pub(super) fn open(folder: &Path, bound: u64, fragments: Arc<dyn Fragments>) -> io::Result<Self> {
        let folder = Arc::new(Folder::open(folder, bound)?);
        let known = Arc::new(quick_cache::sync::Cache::new(REMEMBERED));
        Ok(Self { folder, known, makers: Makers::new(fragments) })
    }

    /// A file without a name, for what must be laid aside for a while.
    pub(super) async fn aside(&self) -> io::Result<File> {
        let path = self.folder.path().join("aside");
        tokio::task::spawn_blocking(move || without_a_name(&path)).await.map_err(io::Error::other)?
    }

    /// The chunks of a root's sheet in their order, made if need be.
    pub(super) async fn all(
        &self,
        root: &Target,
        sheet: &Sheet,
        shape: Shape,
        trust: Trust,
    ) -> Result<Vec<Arc<Chunk>>, PublishError> {
        let wanted: Vec<(ChunkName, &[Listed])> =
            sheet.chunks().map(|(key, packages)| (ChunkName::of(root, key, shape), packages)).collect();
        self.folder.uses(root, wanted.iter().map(|(name, _)| *name).collect());
        let mut there: HashMap<ChunkName, Arc<Chunk>> = match trust {
            Trust::Usual => wanted.iter().filter_map(|(name, _)| Some((*name, self.known.get(name)?))).collect(),
            Trust::Shaken | Trust::Gone => HashMap::new(),
        };
        let unknown: Vec<ChunkName> =
            wanted.iter().map(|(name, _)| *name).filter(|name| !there.contains_key(name)).collect();
        if !unknown.is_empty() && trust != Trust::Gone {
            there.extend(self.find(unknown, shape, trust).await?);
        }
        let (mut chunks, mut has_made) = (Vec::with_capacity(wanted.len()), false);
        for (name, packages) in wanted {
            chunks.push(match there.get(&name) {
                Some(chunk) => Arc::clone(chunk),
                None => {
                    has_made = true;
                    let chunk = self.makers.make(root, self.folder.path_of(name), packages, shape).await?;
                    self.remember(name, chunk)
                }
            });
        }
        if has_made && self.folder.is_over_bound() {
            let (folder, known) = (Arc::clone(&self.folder), Arc::clone(&self.known));
            // Nobody waits for it.
            tokio::task::spawn_blocking(move || folder.sweep(|name| drop(known.remove(&name))));
        }
        Ok(chunks)
    }

    /// Those that lie in the folder. All are looked for in one go: after a start these are thousands.
    async fn find(
        &self,
        names: Vec<ChunkName>,
        shape: Shape,
        trust: Trust,
    ) -> io::Result<HashMap<ChunkName, Arc<Chunk>>> {
        let folder = Arc::clone(&self.folder);
        let looking = tokio::task::spawn_blocking(move || {
            let open = |name| {
                let chunk = Chunk::open(folder.path_of(name), shape.lists)?;
                (trust == Trust::Usual || chunk.is_whole()).then_some((name, chunk))
            };
            names.into_iter().filter_map(open).collect::<Vec<_>>()
        });
        let found = looking.await.map_err(io::Error::other)?;
        Ok(found.into_iter().map(|(name, chunk)| (name, self.remember(name, chunk))).collect())
    }

    fn remember(&self, name: ChunkName, chunk: Chunk) -> Arc<Chunk> {
        self.folder.has(name, chunk.bytes());
        let chunk = Arc::new(chunk);
        self.known.insert(name, Arc::clone(&chunk));
        chunk
    }
}
