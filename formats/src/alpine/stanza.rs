//! The text of an APKINDEX: stanzas of `letter:value` lines (FORMATS 1.3).
//!
//! [`Stanzas`] takes the text in pieces of any size and hands out one [`PackageEntry`] per stanza. A line is looked at
//! where it lies; only one that is cut by the end of a piece is copied. It refuses what apk refuses (1.2) and takes what
//! apk takes: unknown letters, malformed versions, a missing last blank line, a last line without a line feed, which
//! loses its stanza. A package whose path could never be asked for is not handed out.

use std::ops::ControlFlow;

use super::checksum;
use super::place::Place;
use crate::{Digest, Identity, IndexRoot, Invalid, Limits, PackageEntry};

const WHAT: &str = "APKINDEX";

/// Told of each package, with its stanza as it stands if that is recorded.
pub(super) type Each<'e> = dyn FnMut(PackageEntry, &[u8]) -> ControlFlow<()> + 'e;

/// The reader of one APKINDEX text.
pub(super) struct Stanzas {
    place: Place,
    /// The start of a line whose end has not arrived.
    cut: Vec<u8>,
    stanza: Stanza,
    lines: u64,
    packages: u64,
    text_bytes: u64,
    fragment_bytes: u64,
    max_packages: u64,
    /// The lines of the stanza being read; `None` when nobody wants to have them.
    recorded: Option<Vec<u8>>,
}

impl Stanzas {
    pub(super) fn new(root: &IndexRoot, limits: &Limits) -> Self {
        Self {
            place: Place::new(root),
            cut: Vec::new(),
            stanza: Stanza::default(),
            lines: 0,
            packages: 0,
            text_bytes: limits.text_bytes,
            fragment_bytes: limits.fragment_bytes,
            max_packages: limits.packages,
            recorded: None,
        }
    }

    /// From here on, stanzas are handed out as they stand, too.
    pub(super) fn record(&mut self) {
        self.recorded = Some(Vec::new());
    }

    /// Takes the next bytes of the text.
    pub(super) fn push(&mut self, bytes: &[u8], each: &mut Each<'_>) -> Result<ControlFlow<()>, Invalid> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if (self.cut.len() + piece.len()) as u64 > self.text_bytes {
                return Err(Invalid::OverLimit { what: WHAT, limit: "text_bytes", value: self.text_bytes });
            }
            let flow = match (piece.strip_suffix(b"\n"), self.cut.is_empty()) {
                (Some(line), true) => self.line(line, each)?,
                (Some(end), false) => {
                    let mut line = std::mem::take(&mut self.cut);
                    line.extend_from_slice(end);
                    let flow = self.line(&line, each)?;
                    line.clear();
                    self.cut = line;
                    flow
                }
                (None, _) => {
                    self.cut.extend_from_slice(piece);
                    ControlFlow::Continue(())
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The text is over.
    pub(super) fn finish(&mut self, each: &mut Each<'_>) -> Result<ControlFlow<()>, Invalid> {
        if self.cut.is_empty() { self.close(each) } else { Ok(ControlFlow::Continue(())) }
    }

    fn line(&mut self, line: &[u8], each: &mut Each<'_>) -> Result<ControlFlow<()>, Invalid> {
        self.lines += 1;
        match *line {
            [letter, b':', ref value @ ..] => {
                if let Some(recorded) = &mut self.recorded {
                    recorded.extend_from_slice(line);
                    recorded.push(b'\n');
                    if recorded.len() as u64 > self.fragment_bytes {
                        let (what, limit, value) = (WHAT, "fragment_bytes", self.fragment_bytes);
                        return Err(Invalid::OverLimit { what, limit, value });
                    }
                }
                self.stanza.set(letter, value).map_err(|why| self.malformed(why))?;
                Ok(ControlFlow::Continue(()))
            }
            [_, _, ..] => Err(self.malformed("the second byte is not ':'")),
            // apk ends a stanza at any line of fewer than two bytes.
            [] | [_] => self.close(each),
        }
    }

    /// Hands out the stanza that ends here, if any.
    fn close(&mut self, each: &mut Each<'_>) -> Result<ControlFlow<()>, Invalid> {
        if !self.stanza.begun {
            return Ok(ControlFlow::Continue(()));
        }
        self.packages += 1;
        if self.packages > self.max_packages {
            return Err(Invalid::OverLimit { what: WHAT, limit: "packages", value: self.max_packages });
        }
        let entry = self.stanza.entry(&mut self.place).map_err(|why| self.malformed(why))?;
        self.stanza.clear();
        let flow = match (entry, &mut self.recorded) {
            (None, _) => ControlFlow::Continue(()),
            (Some(entry), None) => each(entry, &[]),
            (Some(entry), Some(recorded)) => {
                recorded.push(b'\n');
                each(entry, recorded)
            }
        };
        if let Some(recorded) = &mut self.recorded {
            recorded.clear();
        }
        Ok(flow)
    }

    fn malformed(&self, why: &str) -> Invalid {
        Invalid::malformed(WHAT, format!("line {}: {why}", self.lines))
    }
}

/// The fields that matter of the stanza being read. Its buffers live on from stanza to stanza.
#[derive(Default)]
struct Stanza {
    begun: bool,
    name: String,
    version: String,
    arch: String,
    size: u64,
    identity: Option<Digest>,
}

impl Stanza {
    fn set(&mut self, letter: u8, value: &[u8]) -> Result<(), &'static str> {
        self.begun = true;
        match letter {
            b'P' => put(&mut self.name, value)?,
            b'V' => put(&mut self.version, value)?,
            b'A' => put(&mut self.arch, value)?,
            // Clients do not enforce the size (FORMATS 1.4), so a malformed one costs nothing but itself.
            b'S' => self.size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0),
            b'C' => self.identity = Some(checksum::parse(value)?),
            _ => {}
        }
        Ok(())
    }

    /// `None` for a package that nobody can ask for, because its path is none.
    fn entry(&self, place: &mut Place) -> Result<Option<PackageEntry>, &'static str> {
        let identity = self.identity.clone().ok_or("the stanza before has no checksum 'C:'")?;
        if self.name.is_empty() {
            return Err("the stanza before has no name 'P:'");
        }
        if self.version.is_empty() {
            return Err("the stanza before has no version 'V:'");
        }
        Ok(place.of(&self.name, &self.version, &self.arch).map(|path| PackageEntry {
            name: self.name.clone(),
            version: self.version.clone(),
            arch: self.arch.clone(),
            path,
            size: self.size,
            identity: Identity::Part(identity),
        }))
    }

    fn clear(&mut self) {
        self.begun = false;
        self.name.clear();
        self.version.clear();
        self.arch.clear();
        self.size = 0;
        self.identity = None;
    }
}

fn put(field: &mut String, value: &[u8]) -> Result<(), &'static str> {
    field.clear();
    field.push_str(std::str::from_utf8(value).map_err(|_| "the value is not UTF-8")?);
    Ok(())
}
