//! The pieces that lists are joined of, ready compressed, in a folder on this machine.
//!
//! A chunk is some dozens of neighbouring packages: for each list their fragments as text and the same compressed. It is
//! named by what is in it ([`ChunkKey`]), so it never changes and is never wrong, only absent; then it is made of the
//! fragments in the catalog. The folder is a cache: it may be lost at any time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use artifactapi_formats::pieces::gzip_piece;
use artifactapi_formats::publish::Compression;

use super::PublishError;
use super::sheet::{ChunkKey, Listed};
use crate::engine::threads::{Pace, on_its_own};
use crate::store::catalog::fragments::{FRAGMENTS, Fragments};
use crate::store::catalog::snapshots::PackageMark;
use crate::store::key::Target;

/// Chunks whose sizes are remembered.
const REMEMBERED: usize = 16_384;

/// A chunk that was made this long ago is made anew after the next start.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// The most bytes of one package's fragments, together. A package with a million files has about 100 MiB.
pub(super) const MAX_FRAGMENT: u64 = 256 << 20;

/// gzip's own measure of how hard to compress.
const EFFORT: u32 = 6;

/// Where the parts of a chunk's file are: for each list its text, and the same compressed.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    path: PathBuf,
    sections: Vec<Section>,
}

#[derive(Debug, Clone, Copy)]
struct Section {
    text_at: u64,
    text: u64,
    packed_at: u64,
    packed: u64,
}

impl Chunk {
    /// The length of a list's text, in bytes.
    pub(super) fn text(&self, list: usize) -> u64 {
        self.sections.get(list).map_or(0, |section| section.text)
    }

    fn head(lists: usize) -> u64 {
        16 * lists as u64
    }

    /// Reads where things are. `None` if the file is not whole.
    pub(super) fn open(path: PathBuf, lists: usize) -> Option<Self> {
        let mut file = File::open(&path).ok()?;
        let (mut sections, mut at) = (Vec::with_capacity(lists), Self::head(lists));
        for _ in 0..lists {
            let mut lengths = [0; 16];
            file.read_exact(&mut lengths).ok()?;
            let (text, packed) = lengths.split_at(8);
            let (text, packed) =
                (u64::from_be_bytes(text.try_into().ok()?), u64::from_be_bytes(packed.try_into().ok()?));
            sections.push(Section { text_at: at, text, packed_at: at.checked_add(text)?, packed });
            at = at.checked_add(text)?.checked_add(packed)?;
        }
        (file.metadata().ok()?.len() == at).then_some(Self { path, sections })
    }

    /// Reads what a list has of the chunk, compressed, and its text if that is asked for. Buffers are used again.
    pub(super) fn read(&self, list: usize, packed: &mut Vec<u8>, text: Option<&mut Vec<u8>>) -> io::Result<()> {
        let Some(section) = self.sections.get(list) else {
            return Err(io::Error::other("a chunk has no such list"));
        };
        let file = File::open(&self.path)?;
        let part = |at, length, bytes: &mut Vec<u8>| {
            bytes.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            file.read_exact_at(bytes, at)
        };
        if let Some(text) = text {
            part(section.text_at, section.text, text)?;
        }
        part(section.packed_at, section.packed, packed)
    }
}

/// What a chunk is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// How many lists the format has.
    pub(super) lists: usize,
    /// How they are compressed.
    pub(super) compression: Compression,
}

/// Makes chunks, and knows them.
pub(super) struct Chunks {
    folder: PathBuf,
    known: quick_cache::sync::Cache<ChunkKey, Arc<Chunk>>,
    fragments: Arc<dyn Fragments>,
}

impl Chunks {
    /// In this folder, which is made, and cleaned of what is old.
    pub(super) fn open(folder: &Path, fragments: Arc<dyn Fragments>) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let made = entry.metadata()?.modified()?;
            let is_old = SystemTime::now().duration_since(made).unwrap_or_default() > KEPT;
            if is_old || entry.path().extension().is_some_and(|extension| extension == "new") {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { folder: folder.into(), known: quick_cache::sync::Cache::new(REMEMBERED), fragments })
    }

    /// A file without a name, for what must be laid aside for a while.
    pub(super) fn aside(&self) -> io::Result<File> {
        let path = self.folder.join(format!("aside.{}.new", UNFINISHED.fetch_add(1, Ordering::Relaxed)));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }

    /// The chunk of these packages, made if need be.
    pub(super) async fn of(
        &self,
        root: &Target,
        key: ChunkKey,
        packages: &[Listed],
        shape: Shape,
    ) -> Result<Arc<Chunk>, PublishError> {
        if let Some(chunk) = self.known.get(&key) {
            return Ok(chunk);
        }
        let name: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(format!("{name}-{}", shape.compression.suffix()));
        let chunk = match Chunk::open(path.clone(), shape.lists) {
            Some(chunk) => chunk,
            None => self.make(root, path, packages, shape).await?,
        };
        let chunk = Arc::new(chunk);
        self.known.insert(key, Arc::clone(&chunk));
        Ok(chunk)
    }

    async fn make(
        &self,
        root: &Target,
        path: PathBuf,
        packages: &[Listed],
        shape: Shape,
    ) -> Result<Chunk, PublishError> {
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

/// Tells apart two that make the same chunk at once.
static UNFINISHED: AtomicU64 = AtomicU64::new(0);

pub(super) fn write(path: &Path, texts: &[Vec<u8>], compression: Compression) -> io::Result<()> {
    let packed: Vec<Vec<u8>> = texts.iter().map(|text| pack(text, compression)).collect::<Result<_, _>>()?;
    let unfinished = path.with_extension(format!("{}.new", UNFINISHED.fetch_add(1, Ordering::Relaxed)));
    let mut file = io::BufWriter::new(File::create_new(&unfinished)?);
    for (text, packed) in texts.iter().zip(&packed) {
        file.write_all(&(text.len() as u64).to_be_bytes())?;
        file.write_all(&(packed.len() as u64).to_be_bytes())?;
    }
    for (text, packed) in texts.iter().zip(&packed) {
        file.write_all(text)?;
        file.write_all(packed)?;
    }
    file.flush()?;
    std::fs::rename(&unfinished, path)
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
