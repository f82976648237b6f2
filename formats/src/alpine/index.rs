//! `APKINDEX.tar.gz`: a signature member, then one member with the index (FORMATS 1.2).
//!
//! [`IndexReader`] takes the file in pieces of any size, in one pass: gzip members to one tar stream to stanzas. It
//! promises to refuse whatever apk refuses, because a client that was served such a file could install nothing: an index
//! split over two members, anything after the last member, a file that breaks off. Asked to, it collects the signatures and
//! the digests they are over in the same pass, so that what is verified is what was read.

use std::io::Read;
use std::ops::ControlFlow;

use super::gzip::Members;
use super::signature::Seals;
use super::stanza::{Each, Stanzas};
use super::tar::{Event, Tar};
use crate::decompress::{Expansion, pieces};
use crate::{Checker, IndexRoot, Invalid, Limits, PackageEntry, ReadSeek, Sha256, SignedBy, TrustedKeys, Untrusted};

const WHAT: &str = "APKINDEX.tar.gz";
/// Signature members before the index. One is usual; signing tools that put theirs in front make a few.
const MAX_SIGNATURES: u8 = 16;

/// What a stretch of the file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Signature members, or nothing yet.
    Signatures,
    /// The one member that holds the index.
    Index,
    /// After it.
    Over,
}

/// Where the tar stream is within its entries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Elsewhere,
    Text,
    TextDone,
}

/// The reader of one index file.
pub(super) struct IndexReader {
    members: Members,
    tar: Tar,
    stanzas: Stanzas,
    expansion: Expansion,
    taken: u64,
    part: Part,
    signatures: u8,
    within: Within,
    /// Of the entry with the text; writers that want equal files from equal packages leave it 0.
    time: u64,
    /// `None` when nobody asks about signatures.
    seals: Option<Seals>,
}

/// Why reading stops early.
enum Halt {
    Invalid(Invalid),
    Asked,
}

impl From<Invalid> for Halt {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl IndexReader {
    pub(super) fn new(root: &IndexRoot, limits: &Limits) -> Self {
        Self {
            members: Members::new(WHAT),
            tar: Tar::new(WHAT),
            stanzas: Stanzas::new(root, limits),
            expansion: Expansion::new(WHAT, limits),
            taken: 0,
            part: Part::Signatures,
            signatures: 0,
            within: Within::Elsewhere,
            time: 0,
            seals: None,
        }
    }

    /// Takes the next bytes of the file. `Break` when `each` asked for it.
    pub(super) fn push(&mut self, mut bytes: &[u8], each: &mut Each<'_>) -> Result<ControlFlow<()>, Invalid> {
        loop {
            if self.part == Part::Over && !bytes.is_empty() {
                return Err(Invalid::malformed(WHAT, "something follows the member that holds the index"));
            }
            if bytes.is_empty() && self.members.is_between() {
                return Ok(ControlFlow::Continue(()));
            }
            let Self { members, tar, stanzas, part, within, time, seals, .. } = self;
            if let Some(seals) = seals.as_mut().filter(|_| members.is_between()) {
                seals.member_begins();
            }
            let step = members.step(bytes)?;
            self.taken += step.taken as u64;
            self.expansion.add(step.open.len(), self.taken)?;
            if let Some(seals) = seals {
                seals.stored(bytes.get(..step.taken).unwrap_or_default());
            }
            let read = tar.push(step.open, |event| {
                if let Some(seals) = seals.as_mut().filter(|_| *part == Part::Signatures) {
                    seals.entry(&event)?;
                }
                entry(&event, part, within, time, stanzas, each)
            });
            let (taken, ended, more) = (step.taken, step.ended, step.more);
            match read {
                Ok(()) => {}
                Err(Halt::Asked) => return Ok(ControlFlow::Break(())),
                Err(Halt::Invalid(invalid)) => return Err(invalid),
            }
            if ended {
                self.member_ended()?;
            }
            bytes = bytes.get(taken..).unwrap_or_default();
            if bytes.is_empty() && !more {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    fn member_ended(&mut self) -> Result<(), Invalid> {
        if !self.tar.is_between() {
            return Err(Invalid::malformed(WHAT, "a gzip member ends within a tar entry"));
        }
        if self.part == Part::Index {
            self.part = Part::Over;
            return Ok(());
        }
        self.signatures += 1;
        if self.signatures > MAX_SIGNATURES {
            return Err(Invalid::malformed(WHAT, "too many gzip members before the index"));
        }
        Ok(())
    }

    /// The file is over.
    pub(super) fn finish(&self) -> Result<(), Invalid> {
        if !self.members.is_between() {
            return Err(Invalid::Truncated { what: WHAT });
        }
        match (self.part, self.within) {
            (Part::Over, Within::TextDone) => Ok(()),
            (Part::Over, _) => Err(Invalid::malformed(WHAT, "it holds no entry named APKINDEX")),
            _ => Err(Invalid::Truncated { what: WHAT }),
        }
    }
}

fn entry(
    event: &Event<'_>,
    part: &mut Part,
    within: &mut Within,
    time: &mut u64,
    stanzas: &mut Stanzas,
    each: &mut Each<'_>,
) -> Result<(), Halt> {
    let flow = match event {
        Event::Entry(entry) => {
            if !entry.name.starts_with(b".SIGN.") {
                *part = Part::Index;
            }
            if entry.is_file && entry.name == b"APKINDEX" {
                if *within == Within::TextDone {
                    return Err(Invalid::malformed(WHAT, "two entries named APKINDEX").into());
                }
                *within = Within::Text;
                *time = entry.time;
            }
            ControlFlow::Continue(())
        }
        Event::Content(bytes) if *within == Within::Text => stanzas.push(bytes, each)?,
        Event::End if *within == Within::Text => {
            *within = Within::TextDone;
            stanzas.finish(each)?
        }
        Event::Content(_) | Event::End => ControlFlow::Continue(()),
    };
    if flow.is_break() { Err(Halt::Asked) } else { Ok(()) }
}

/// Streams the packages of an index.
pub(super) fn packages(
    root: &IndexRoot,
    from: &mut dyn Read,
    limits: &Limits,
    each: &mut dyn FnMut(PackageEntry) -> ControlFlow<()>,
) -> Result<(), Invalid> {
    read(IndexReader::new(root, limits), from, &mut |package, _| each(package))
}

/// Streams the packages of an index, each with its stanza as it stands.
pub(super) fn stanzas(
    root: &IndexRoot,
    from: &mut dyn Read,
    limits: &Limits,
    each: &mut Each<'_>,
) -> Result<(), Invalid> {
    let mut reader = IndexReader::new(root, limits);
    reader.stanzas.record();
    read(reader, from, each)
}

fn read(mut reader: IndexReader, from: &mut dyn Read, each: &mut Each<'_>) -> Result<(), Invalid> {
    let mut stopped = false;
    pieces(from, |bytes| {
        let flow = reader.push(bytes, each)?;
        stopped = flow.is_break();
        Ok(flow)
    })?;
    if stopped { Ok(()) } else { reader.finish() }
}

/// Whether a trusted key signed an index.
pub(super) fn verify(
    root: &IndexRoot,
    from: &mut dyn ReadSeek,
    keys: &TrustedKeys,
    limits: &Limits,
) -> Result<SignedBy, Untrusted> {
    let mut reader = IndexReader::new(root, limits);
    reader.seals = Some(Seals::new(limits));
    from.rewind().map_err(Invalid::Read)?;
    pieces(from, |bytes| reader.push(bytes, &mut |_, _| ControlFlow::Continue(())))?;
    reader.finish()?;
    reader.seals.map_or(Err(Untrusted::Unsigned { what: WHAT }), |seals| seals.verdict(WHAT, keys))
}

/// When an index was made; `None` when it does not say.
pub(super) fn made_at(root: &IndexRoot, file: &[u8], limits: &Limits) -> Option<u64> {
    let mut reader = IndexReader::new(root, limits);
    // The time stands before the text: reading may stop at the first package.
    let _ = reader.push(file, &mut |_, _| ControlFlow::Break(())).ok()?;
    Some(reader.time).filter(|&time| time > 0)
}

/// The check of an index file: everything in it can be read. One pass; the whole file is not needed again.
pub(super) struct IndexCheck(IndexReader);

impl IndexCheck {
    pub(super) fn new(root: &IndexRoot, limits: &Limits) -> Self {
        Self(IndexReader::new(root, limits))
    }
}

impl Checker for IndexCheck {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.0.push(bytes, &mut |_, _| ControlFlow::Continue(())).map(|_| ())
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek, _sha256: &Sha256) -> Result<(), Invalid> {
        self.0.finish()
    }
}
