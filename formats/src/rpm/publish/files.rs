//! The files a package brings, for `filelists.xml` and, the few that others may ask for by path, for `primary.xml` (FORMATS 3.3, 3.4).
//!
//! A header keeps paths in halves: each file's name, and the number of its folder. A folder's name may so be used by any
//! number of files, and a small header may stand for very long lists; their length is bounded before any path is put
//! together ([`Limits::fragment_bytes`]).

use std::collections::HashSet;

use super::text;
use super::xml::Xml;
use crate::rpm::whole_header::WholeHeader;
use crate::{Invalid, Limits};

const WHAT: &str = "rpm package";

const OLD_FILE_NAMES: u32 = 1027;
const MODES: u32 = 1030;
const FLAGS: u32 = 1037;
const FOLDER_NUMBERS: u32 = 1116;
const NAMES: u32 = 1117;
const FOLDERS: u32 = 1118;

/// The files of a package.
pub(super) struct Files<'h> {
    header: &'h WholeHeader,
    folders: Vec<&'h [u8]>,
}

/// What a file is, where that is not just a file.
type Kind = Option<&'static str>;

impl<'h> Files<'h> {
    /// Looks over them: afterwards every one has a folder, and together they are not too long.
    pub(super) fn read(header: &'h WholeHeader, limits: &Limits) -> Result<Self, Invalid> {
        let folders = header.texts(FOLDERS)?;
        let names = header.texts(NAMES)?.len().max(header.texts(OLD_FILE_NAMES)?.len());
        super::few_enough(folders.len().max(names), limits)?;
        let files = Self { header, folders: folders.collect() };
        let mut bytes = 0_u64;
        files.each_in_halves(|folder, name, _| {
            bytes = bytes.saturating_add((folder.len() + name.len()) as u64);
            Ok(())
        })?;
        if bytes > limits.fragment_bytes {
            let limit = "fragment_bytes";
            return Err(Invalid::OverLimit { what: WHAT, limit, value: limits.fragment_bytes });
        }
        Ok(files)
    }

    /// Calls `each` with folder, name and kind. A header that lacks any of the parts has no files.
    fn each_in_halves(
        &self,
        mut each: impl FnMut(&'h [u8], &'h [u8], Kind) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        let header = self.header;
        let kinds = header.numbers(MODES)?.zip(header.numbers(FLAGS)?).map(|(mode, flags)| kind(mode, flags));
        if header.has(NAMES) {
            for ((name, number), kind) in header.texts(NAMES)?.zip(header.numbers(FOLDER_NUMBERS)?).zip(kinds) {
                let folder = usize::try_from(number).ok().and_then(|number| self.folders.get(number));
                each(folder.ok_or_else(|| header.misfit(FOLDER_NUMBERS))?, name, kind)?;
            }
        } else {
            for (path, kind) in header.texts(OLD_FILE_NAMES)?.zip(kinds) {
                each(&[], path, kind)?;
            }
        }
        Ok(())
    }

    /// Calls `each` with whole paths.
    fn each(&self, mut each: impl FnMut(&[u8], Kind) -> Result<(), Invalid>) -> Result<(), Invalid> {
        let mut path = Vec::new();
        self.each_in_halves(|folder, name, kind| {
            path.clear();
            path.extend_from_slice(folder);
            path.extend_from_slice(name);
            each(&path, kind)
        })
    }

    /// Which of `paths` are primary files of this package.
    pub(super) fn primary_among<'p>(&self, paths: &HashSet<&'p [u8]>) -> Result<HashSet<&'p [u8]>, Invalid> {
        let mut found = HashSet::new();
        self.each(|path, _| {
            found.extend(paths.get(path).filter(|path| is_primary(path)));
            Ok(())
        })?;
        Ok(found)
    }

    /// Writes an element for each, in the header's order.
    pub(super) fn write(&self, xml: &mut Xml, only_primary: bool) -> Result<(), Invalid> {
        self.each(|path, kind| {
            if only_primary && !is_primary(path) {
                return Ok(());
            }
            let kind = kind.map(|kind| ("type", kind));
            xml.text("file", kind.as_slice(), &text::of(path))
        })
    }
}

/// A folder by its mode, or a file that is not packed although it belongs to the package.
const fn kind(mode: u64, flags: u64) -> Kind {
    const GHOST: u64 = 64;
    if mode & 0o17_0000 == 0o4_0000 {
        Some("dir")
    } else if flags & GHOST != 0 {
        Some("ghost")
    } else {
        None
    }
}

/// Whether others may ask for a file by its path: the rule is yum's, and as old.
fn is_primary(path: &[u8]) -> bool {
    path.starts_with(b"/etc/") || path == b"/usr/lib/sendmail" || path.windows(4).any(|part| part == b"bin/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primary_files() {
        for path in ["/etc/passwd", "/etc/x/y", "/usr/bin/x", "/sbin/", "/x/robin/f", "/usr/lib/sendmail"] {
            assert!(is_primary(path.as_bytes()), "{path}");
        }
        for path in ["/etc", "/usr/share/etc/x", "/usr/lib/sendmail2", "/usr/bin", "", "bin"] {
            assert!(!is_primary(path.as_bytes()), "{path}");
        }
    }
}
