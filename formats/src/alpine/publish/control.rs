//! The control member of a package that is to be listed: its identity, and the text of `.PKGINFO`.
//!
//! What is listed is what clients choose by, so this is stricter than the check of a package that somebody else lists:
//! `.PKGINFO` must be there once. apk reads every entry of that name one over the other, and knows names from extension headers
//! too, so a second one, or one that an extension names, could make of the package another than the one listed. Real packages
//! have extension headers (for times), so those that give no path are passed over.

use std::ops::ControlFlow;

use crate::alpine::gzip::Members;
use crate::alpine::tar::{Event, Tar};
use crate::decompress::pieces;
use crate::{Algorithm, Digest, Hasher, Invalid, Limits, ReadSeek};

const WHAT: &str = "apk package";
/// Entries whose content is the name of the next entry (GNU), and those that hold records about it or about all that follow.
const LONG_NAME: u8 = b'L';
const PAX: [u8; 2] = [b'x', b'g'];
const RENAMED: &str = "an extension header of its control member gives an entry another name";

/// What an index needs to know.
#[derive(Debug)]
pub(super) struct Control {
    /// SHA-1 of the member as stored: what an index knows the package by.
    pub identity: Digest,
    /// The content of `.PKGINFO`.
    pub info: Vec<u8>,
}

/// Reads a package from its start up to the end of its control member.
pub(super) fn read(whole: &mut dyn ReadSeek, limits: &Limits) -> Result<Control, Invalid> {
    let mut reader = Reader::new(limits);
    let mut found = None;
    whole.rewind().map_err(Invalid::Read)?;
    pieces(whole, |bytes| {
        found = reader.push(bytes)?;
        Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    found.ok_or(Invalid::Truncated { what: WHAT })
}

struct Reader {
    members: Members,
    tar: Tar,
    /// Of the member being read, as stored.
    digest: Hasher,
    /// Stored and open bytes so far.
    stored: u64,
    open: u64,
    most: u64,
    entries: Entries,
}

/// What the tar stream held so far.
#[derive(Default)]
struct Entries {
    within: Within,
    /// Whether the member being read has an entry that is no signature.
    is_control: bool,
    info: Option<Vec<u8>>,
    extension: Vec<u8>,
}

/// Whose content is being read.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    Other,
    Info,
    Extension,
}

impl Reader {
    fn new(limits: &Limits) -> Self {
        Self {
            members: Members::new(WHAT),
            tar: Tar::new(WHAT),
            digest: Algorithm::Sha1.hasher(),
            stored: 0,
            open: 0,
            most: limits.control_bytes,
            entries: Entries::default(),
        }
    }

    fn push(&mut self, mut bytes: &[u8]) -> Result<Option<Control>, Invalid> {
        if self.stored == 0 && bytes.starts_with(b"ADB") {
            return Err(Invalid::malformed(
                WHAT,
                "it is of version 3; only version 2 can be listed in APKINDEX.tar.gz",
            ));
        }
        loop {
            let step = self.members.step(bytes)?;
            let (stored, rest) = bytes.split_at_checked(step.taken).unwrap_or((bytes, &[]));
            self.digest.update(stored);
            self.stored += stored.len() as u64;
            self.open += step.open.len() as u64;
            if self.stored.max(self.open) > self.most {
                return Err(Invalid::OverLimit { what: WHAT, limit: "control_bytes", value: self.most });
            }
            self.tar.push(step.open, |event| self.entries.take(&event))?;
            let (ended, more) = (step.ended, step.more);
            if ended {
                let digest = std::mem::replace(&mut self.digest, Algorithm::Sha1.hasher());
                if self.entries.is_control {
                    let info = self.entries.info.take();
                    let info = info.ok_or_else(|| Invalid::malformed(WHAT, "its control member holds no .PKGINFO"))?;
                    return Ok(Some(Control { identity: digest.finish(), info }));
                }
            }
            bytes = rest;
            if bytes.is_empty() && !more {
                return Ok(None);
            }
        }
    }
}

impl Entries {
    fn take(&mut self, event: &Event<'_>) -> Result<(), Invalid> {
        match event {
            Event::Entry(entry) => {
                self.is_control |= !entry.name.starts_with(b".SIGN.");
                self.within = if entry.kind == LONG_NAME {
                    return Err(Invalid::malformed(WHAT, RENAMED));
                } else if PAX.contains(&entry.kind) {
                    self.extension.clear();
                    Within::Extension
                } else if entry.name == b".PKGINFO" {
                    if !entry.is_file || self.info.is_some() {
                        return Err(Invalid::malformed(WHAT, "its .PKGINFO is there twice, or is no plain file"));
                    }
                    self.info = Some(Vec::new());
                    Within::Info
                } else {
                    Within::Other
                };
            }
            Event::Content(bytes) => match (self.within, &mut self.info) {
                (Within::Info, Some(info)) => info.extend_from_slice(bytes),
                (Within::Extension, _) => self.extension.extend_from_slice(bytes),
                _ => {}
            },
            Event::End => {
                // A record is `length path=value`, and a line feed.
                let names = |extension: &[u8]| extension.windows(6).any(|window| window == b" path=");
                if self.within == Within::Extension && names(&self.extension) {
                    return Err(Invalid::malformed(WHAT, RENAMED));
                }
                self.within = Within::Other;
            }
        }
        Ok(())
    }
}
