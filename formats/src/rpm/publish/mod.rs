//! Indexes of our own: packages in, `repodata/` out (FORMATS 3, 5).
//!
//! An uploaded package is checked, opened and described once; what it contributes to the three lists is createrepo_c's, field by
//! field and in the corpus byte by byte, because that is the one writer that every client has been tried with. A list is the fragments
//! of its packages between two lines. `repomd.xml` names the lists by their digests and is signed as a whole.
//!
//! | file | what it knows |
//! |---|---|
//! | `place` | which root a path belongs to, what is carried, what a package must be called |
//! | `carried` | whether a file that is carried can be read by clients |
//! | `opened` | whether a package is whole, and where its headers are |
//! | `package` | the three elements of a package |
//! | `dependencies`, `files`, `changelog` | the lists within those |
//! | `text`, `xml` | which characters, and how they are written |
//! | `lists`, `repomd` | the documents around them |
//! | `cut` | elements out of another's documents |
//! | `join`, `groups` | groups, advisories and modules of several indexes |
//!
//! A package may stand for far more text than it is long, so everything is counted before it is made
//! ([`Limits::fragment_bytes`]), and no text gets in that our own reader, or a client's, would choke on.

mod carried;
mod changelog;
mod cut;
mod dependencies;
mod files;
mod groups;
mod join;
mod lists;
mod opened;
mod package;
mod place;
mod repomd;
mod text;
mod xml;

use std::io::{Read, Write};
use std::ops::ControlFlow;

use super::Rpm;
use crate::publish::{Compression, Cut, Described, Finished, Index, PublishFormat, Totals, Upload};
use crate::{IndexRoot, Invalid, Limits, ReadSeek, RepoPath};

impl PublishFormat for Rpm {
    fn lists(&self) -> &'static [&'static str] {
        &lists::NAMES
    }

    fn compressions(&self) -> &'static [Compression] {
        &[Compression::Gzip, Compression::Zstd]
    }

    fn cut(
        &self,
        root: &IndexRoot,
        list: usize,
        from: &mut dyn Read,
        limits: &Limits,
        each: &mut dyn FnMut(Cut<'_>) -> ControlFlow<()>,
    ) -> Result<(), Invalid> {
        cut::cut(root, list, from, limits, each)
    }

    fn check_fragment(&self, _root: &IndexRoot, list: usize, text: &[u8], limits: &Limits) -> Result<(), Invalid> {
        cut::check(list, text, limits)
    }

    fn root_for(&self, path: &RepoPath, depth: usize) -> Result<IndexRoot, Invalid> {
        place::root_for(path, depth)
    }

    fn describe(&self, upload: &Upload<'_>, whole: &mut dyn ReadSeek, limits: &Limits) -> Result<Described, Invalid> {
        let opened = opened::open(whole, upload.size, &upload.sha256, limits)?;
        package::describe(upload, &opened, limits)
    }

    fn carried_kind(&self, path: &RepoPath) -> Option<String> {
        place::carried_kind(path)
    }

    fn is_carried(&self, kind: &str) -> bool {
        place::is_carried(kind)
    }

    fn check_carried(&self, kind: &str, path: &RepoPath, whole: &mut dyn Read, limits: &Limits) -> Result<(), Invalid> {
        carried::check(kind, path, whole, limits)
    }

    fn joined_name(&self, kind: &str) -> Option<&'static str> {
        join::joined_name(kind)
    }

    fn join(
        &self,
        kind: &str,
        from: &mut [Box<dyn Read + Send>],
        limits: &Limits,
        into: &mut dyn Write,
    ) -> Result<(), Invalid> {
        join::join(kind, from, limits, into)
    }

    fn usual_folder(&self, file_name: &str) -> Result<String, &'static str> {
        Ok(place::usual_folder(file_name))
    }

    fn open(&self, _root: &IndexRoot, list: usize, totals: &Totals) -> Vec<u8> {
        lists::open(list, totals)
    }

    fn close(&self, _root: &IndexRoot, list: usize, _totals: &Totals) -> Vec<u8> {
        lists::close(list)
    }

    fn finish(&self, index: &Index<'_>) -> Result<Vec<Finished>, Invalid> {
        repomd::finish(index)
    }
}

/// Holds a count of entries to what their shortest elements would take, before memory is set aside for them.
fn few_enough(count: u64, limits: &Limits) -> Result<(), Invalid> {
    const SHORTEST: u64 = "<file></file>\n".len() as u64;
    if count.saturating_mul(SHORTEST) > limits.fragment_bytes {
        let (what, limit, value) = ("rpm package", "fragment_bytes", limits.fragment_bytes);
        return Err(Invalid::OverLimit { what, limit, value });
    }
    Ok(())
}
