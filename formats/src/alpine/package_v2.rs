//! A v2 package: signature, control and data members (FORMATS 1.5), checked in one pass.
//!
//! Two facts bind every byte that matters: the index's `C:` covers the control member as stored, and `datahash`, which
//! lies inside that member, covers everything after it. So only the members before the data are opened, each within
//! [`Limits::control_bytes`]; the data is hashed and never inflated, which is why it makes no difference whether it is
//! one gzip member or, as apk 2.14 takes, several. The signature member is not covered: only its structure is checked.

use sha2::Digest as _;

use super::gzip::Members;
use super::pkginfo::PkgInfo;
use super::tar::{Event, Tar};
use crate::check::same;
use crate::{Digest, Hasher, Invalid, Limits, Sha256};

const WHAT: &str = "apk package";

/// What the current member has turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// No entry seen in it yet.
    Unknown,
    Signature,
    Control,
    Data,
}

/// The check of one package.
pub(super) struct PackageV2 {
    members: Members,
    tar: Tar,
    part: Part,
    /// Of the control member, from the index.
    expected: Option<(Digest, Hasher)>,
    control_bytes: u64,
    /// Stored and open bytes of all members before the data.
    stored: u64,
    open: u64,
    /// The content of `.PKGINFO` as far as it has come, while it comes.
    info: Vec<u8>,
    in_info: bool,
    signed: bool,
    datahash: Option<Sha256>,
    data: sha2::Sha256,
    data_bytes: u64,
}

impl PackageV2 {
    pub(super) fn new(expected: Option<Digest>, limits: &Limits) -> Self {
        Self {
            members: Members::new(WHAT),
            tar: Tar::new(WHAT),
            part: Part::Unknown,
            expected: expected.map(|digest| (digest.clone(), digest.algorithm().hasher())),
            control_bytes: limits.control_bytes,
            stored: 0,
            open: 0,
            info: Vec::new(),
            in_info: false,
            signed: false,
            datahash: None,
            data: sha2::Sha256::new(),
            data_bytes: 0,
        }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) -> Result<(), Invalid> {
        while self.part != Part::Data {
            let step = self.members.step(bytes)?;
            let (stored, rest) = bytes.split_at_checked(step.taken).unwrap_or((bytes, &[]));
            if let Some((_, hasher)) = &mut self.expected {
                hasher.update(stored);
            }
            self.stored += stored.len() as u64;
            self.open += step.open.len() as u64;
            if self.stored.max(self.open) > self.control_bytes {
                return Err(Invalid::OverLimit { what: WHAT, limit: "control_bytes", value: self.control_bytes });
            }
            let (part, in_info, info) = (&mut self.part, &mut self.in_info, &mut self.info);
            self.tar.push(step.open, |event| entry(&event, part, in_info, info))?;
            let (ended, more) = (step.ended, step.more);
            if ended {
                self.member_ended()?;
            }
            bytes = rest;
            if bytes.is_empty() && !more {
                return Ok(());
            }
        }
        self.data.update(bytes);
        self.data_bytes += bytes.len() as u64;
        Ok(())
    }

    fn member_ended(&mut self) -> Result<(), Invalid> {
        if !self.tar.is_between() {
            return Err(Invalid::malformed(WHAT, "a gzip member before the data ends within a tar entry"));
        }
        match self.part {
            Part::Signature if !self.signed => {
                self.signed = true;
                self.part = Part::Unknown;
                // What was hashed is not the control member.
                if let Some((digest, hasher)) = &mut self.expected {
                    *hasher = digest.algorithm().hasher();
                }
                Ok(())
            }
            Part::Control => {
                let info = std::mem::take(&mut self.info);
                if info.is_empty() {
                    return Err(Invalid::malformed(WHAT, "its control member holds no .PKGINFO"));
                }
                if let Some((digest, hasher)) = self.expected.take() {
                    same("apk control member", &digest, &hasher.finish())?;
                }
                self.datahash = Some(PkgInfo::parse(&info)?.datahash);
                self.part = Part::Data;
                Ok(())
            }
            Part::Signature => Err(Invalid::malformed(WHAT, "two signature members")),
            Part::Unknown | Part::Data => Err(Invalid::malformed(WHAT, "an empty gzip member")),
        }
    }

    pub(super) fn finish(self) -> Result<(), Invalid> {
        let datahash = self.datahash.ok_or(Invalid::Truncated { what: WHAT })?;
        if self.data_bytes == 0 {
            return Err(Invalid::Truncated { what: WHAT });
        }
        let found = Sha256::from_bytes(self.data.finalize().into());
        same("apk data member", &datahash.into(), &found.into())
    }
}

fn entry(event: &Event<'_>, part: &mut Part, in_info: &mut bool, info: &mut Vec<u8>) -> Result<(), Invalid> {
    match event {
        Event::Entry(entry) => {
            let is_signature = entry.name.starts_with(b".SIGN.");
            match *part {
                Part::Unknown => *part = if is_signature { Part::Signature } else { Part::Control },
                Part::Signature if !is_signature => {
                    return Err(Invalid::malformed(WHAT, "signature and control share a gzip member"));
                }
                _ => {}
            }
            *in_info = *part == Part::Control && info.is_empty() && entry.is_file && entry.name == b".PKGINFO";
        }
        Event::Content(bytes) if *in_info => info.extend_from_slice(bytes),
        Event::Content(_) => {}
        Event::End => *in_info = false,
    }
    Ok(())
}
