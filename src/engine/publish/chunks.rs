//! The pieces that lists are joined of, ready compressed, in a folder on this machine.
//!
//! A chunk is some dozens of neighbouring packages of a root: for each list their fragments as text and the same compressed. It
//! is named by what is in it ([`ChunkName`]), so it never changes and is never wrong, only absent or damaged ([`Lost`]); then it
//! is made of the fragments in the catalog. The folder is a cache: it may be lost at any time, and is kept within
//! [`FOLDER_BYTES`].

mod file;
mod folder;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use artifactapi_formats::pieces::gzip_piece;
use artifactapi_formats::publish::Compression;

use self::file::unfinished;
pub(super) use self::file::{Chunk, Lost};
pub(super) use self::folder::FOLDER_BYTES;
use self::folder::{ChunkName, Folder};
use super::PublishError;
use super::sheet::{Listed, Sheet};
use crate::engine::threads::{Pace, on_its_own};
use crate::store::catalog::fragments::{FRAGMENTS, Fragments};
use crate::store::catalog::snapshots::PackageMark;
use crate::store::key::Target;

/// Chunks whose sizes are remembered.
const REMEMBERED: usize = 16_384;

/// The most bytes of one package's fragments, together. A package with a million files has about 100 MiB.
pub(super) const MAX_FRAGMENT: u64 = 256 << 20;

/// gzip's own measure of how hard to compress.
const EFFORT: u32 = 6;

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
    fragments: Arc<dyn Fragments>,
}

impl Chunks {
    /// In this folder, which is made, and where they may take so many bytes.
    pub(super) fn open(folder: &Path, bound: u64, fragments: Arc<dyn Fragments>) -> io::Result<Self> {
        let folder = Arc::new(Folder::open(folder, bound)?);
        Ok(Self { folder, known: Arc::new(quick_cache::sync::Cache::new(REMEMBERED)), fragments })
    }

    /// A file without a name, for what must be laid aside for a while.
    pub(super) async fn aside(&self) -> io::Result<File> {
        let path = unfinished(&self.folder.path().join("aside"));
        let opening = tokio::task::spawn_blocking(move || {
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(path)?;
            Ok(file)
        });
        opening.await.map_err(io::Error::other)?
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
                    let chunk = self.make(root, name, packages, shape).await?;
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

    async fn make(
        &self,
        root: &Target,
        name: ChunkName,
        packages: &[Listed],
        shape: Shape,
    ) -> Result<Chunk, PublishError> {
        let path = self.folder.path_of(name);
        let marks: Vec<PackageMark> = packages.iter().map(|listed| listed.mark).collect();
        let mut bodies = HashMap::with_capacity(marks.len());
        for marks in marks.chunks(FRAGMENTS) {
            bodies.extend(self.fragments.fragments(root, marks).await?);
        }
        let missing = packages.iter().find(|listed| !bodies.contains_key(&listed.mark));
        if let Some(missing) = missing {
            return Err(PublishError::Unreadable(format!("what {} contributes to its index is gone", missing.path)));
        }
        let making = on_its_own(Pace::Usual, move || {
            let mut texts = vec![Vec::new(); shape.lists];
            for mark in &marks {
                let fragments = bodies.get(mark).map(|body| unpack(body)).transpose()?.unwrap_or_default();
                for (text, fragment) in texts.iter_mut().zip(fragments) {
                    text.extend_from_slice(&fragment);
                }
            }
            write(&path, &texts, shape.compression)?;
            Chunk::open(path, shape.lists).ok_or_else(|| io::Error::other("a chunk is not as it was written"))
        });
        Ok(making.await.ok_or_else(|| io::Error::other("the thread that made a chunk died"))??)
    }
}

/// A piece of gzip or a zstd frame. Nothing is written for nothing.
pub(super) fn pack(text: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    match compression {
        Compression::Gzip => gzip_piece(text, EFFORT).map_err(io::Error::other),
        Compression::Zstd => zstd::bulk::compress(text, 9),
    }
}

pub(super) fn write(path: &Path, texts: &[Vec<u8>], compression: Compression) -> io::Result<()> {
    let packed = texts.iter().map(|text| Ok((text, pack(text, compression)?)));
    file::write(path, &packed.collect::<io::Result<Vec<_>>>()?)
}

/// A package's fragments as they are kept: compressed, each with its length before it.
pub(super) fn packed(fragments: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for fragment in fragments {
        member.write_all(&(fragment.len() as u64).to_be_bytes())?;
        member.write_all(fragment)?;
    }
    member.finish()
}

pub(super) fn unpack(body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut whole = Vec::new();
    flate2::read::GzDecoder::new(body).take(MAX_FRAGMENT).read_to_end(&mut whole)?;
    let (mut fragments, mut rest) = (Vec::new(), &whole[..]);
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(io::Error::other)?;
        let Some((fragment, after)) = after.split_at_checked(length) else {
            return Err(io::Error::other("a fragment is cut short"));
        };
        fragments.push(fragment.to_vec());
        rest = after;
    }
    Ok(fragments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_come_back() {
        let fragments = vec![b"<package/>".to_vec(), Vec::new(), vec![b'x'; 100_000]];
        assert_eq!(unpack(&packed(&fragments).expect("packed")).expect("unpacked"), fragments);
        assert!(unpack(b"nonsense").is_err());
    }
}
