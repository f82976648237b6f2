//! What a package provides, needs and wishes for, as `primary.xml` has it (FORMATS 3.3).
//!
//! The lists of a header go into the index as they are, but for requirements: those that an index cannot help with
//! (`rpmlib(…)`, what the package has itself) are left out, and so is repetition. The rules are createrepo_c's, measured
//! rather than read off; the odd ones among them are kept because solvers have seen no other index for twenty years.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::text;
use crate::rpm::version;
use crate::rpm::whole_header::WholeHeader;
use crate::{Invalid, Limits};

/// Where a header keeps one kind of dependency: names, flags, versions.
type Tags = (u32, u32, u32);

const PROVIDES: Tags = (1047, 1112, 1113);
const REQUIRES: Tags = (1049, 1048, 1050);
const CONFLICTS: Tags = (1054, 1053, 1055);
const OBSOLETES: Tags = (1090, 1114, 1115);
const RECOMMENDS: Tags = (5046, 5048, 5047);
const SUGGESTS: Tags = (5049, 5051, 5050);
const SUPPLEMENTS: Tags = (5052, 5054, 5053);
const ENHANCES: Tags = (5055, 5057, 5056);
/// SUSE's older ones, where a flag tells a recommendation from a suggestion, and a supplement from an enhancement.
const OLD_SUGGESTS: Tags = (1156, 1158, 1157);
const OLD_ENHANCES: Tags = (1159, 1161, 1160);
const STRONG: u64 = 1 << 27;

/// Flags that say a requirement must be met before scripts run: `PreReq`, `%pre`, `%post`. Later versions of
/// createrepo_c count `%pretrans` and `%posttrans`, too; this follows the one that the tests compare with.
const PRE: u64 = 0x40 | 0x200 | 0x400;

/// One dependency.
#[derive(Clone)]
pub(super) struct Dependency<'h> {
    raw_name: &'h [u8],
    raw_version: &'h [u8],
    flags: u64,
}

/// A version taken apart; a part that is empty is not there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Version<'h> {
    pub(super) epoch: Cow<'h, str>,
    pub(super) version: Cow<'h, str>,
    pub(super) release: Cow<'h, str>,
}

impl<'h> Dependency<'h> {
    pub(super) fn name(&self) -> Cow<'h, str> {
        text::of(self.raw_name)
    }

    /// How its version compares; `None` if any will do.
    pub(super) const fn comparison(&self) -> Option<&'static str> {
        match self.flags & 15 {
            2 => Some("LT"),
            4 => Some("GT"),
            8 => Some("EQ"),
            10 => Some("LE"),
            12 => Some("GE"),
            _ => None,
        }
    }

    /// Its version, if that can be read: an epoch is a number.
    pub(super) fn version(&self) -> Option<Version<'h>> {
        if self.raw_version.is_empty() {
            return Some(Version::default());
        }
        let colon = self.raw_version.iter().position(|byte| *byte == b':');
        let (epoch, rest) = match colon {
            None => (&b"0"[..], self.raw_version),
            Some(at) => {
                let (epoch, rest) = self.raw_version.split_at_checked(at)?;
                if !epoch.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                (if epoch.is_empty() { &b"0"[..] } else { epoch }, rest.get(1..).unwrap_or_default())
            }
        };
        let dash = rest.iter().position(|byte| *byte == b'-').unwrap_or(rest.len());
        let (version, release) = rest.split_at_checked(dash)?;
        let release = release.get(1..).unwrap_or_default();
        Some(Version { epoch: text::of(epoch), version: text::of(version), release: text::of(release) })
    }

    /// Whether it must be there before the package's scripts run.
    pub(super) const fn is_pre(&self) -> bool {
        self.flags & PRE != 0
    }

    /// What makes two dependencies the same.
    fn identity(&self) -> (&'h [u8], Option<&'static str>, &'h [u8]) {
        (self.raw_name, self.comparison(), self.raw_version)
    }
}

/// All dependencies of a package.
pub(super) struct Dependencies<'h> {
    pub(super) provides: Vec<Dependency<'h>>,
    pub(super) requires: Vec<Dependency<'h>>,
    pub(super) conflicts: Vec<Dependency<'h>>,
    pub(super) obsoletes: Vec<Dependency<'h>>,
    pub(super) suggests: Vec<Dependency<'h>>,
    pub(super) enhances: Vec<Dependency<'h>>,
    pub(super) recommends: Vec<Dependency<'h>>,
    pub(super) supplements: Vec<Dependency<'h>>,
}

impl<'h> Dependencies<'h> {
    /// Reads them. What `requires` holds must still be [settled](Self::settle_requires).
    pub(super) fn read(header: &'h WholeHeader, limits: &Limits) -> Result<Self, Invalid> {
        let read = |tags| read(header, tags, limits);
        let mut all = Self {
            provides: read(PROVIDES)?,
            requires: read(REQUIRES)?,
            conflicts: read(CONFLICTS)?,
            obsoletes: read(OBSOLETES)?,
            suggests: read(SUGGESTS)?,
            enhances: read(ENHANCES)?,
            recommends: read(RECOMMENDS)?,
            supplements: read(SUPPLEMENTS)?,
        };
        let old = |tags, strong: bool| {
            read(tags).map(|list| list.into_iter().filter(move |one| (one.flags & STRONG != 0) == strong))
        };
        all.suggests.extend(old(OLD_SUGGESTS, false)?);
        all.recommends.extend(old(OLD_SUGGESTS, true)?);
        all.enhances.extend(old(OLD_ENHANCES, false)?);
        all.supplements.extend(old(OLD_ENHANCES, true)?);
        Ok(all)
    }

    /// A package of rpm 3 provides itself without saying so, as librpm adds when it reads one. `own` is its
    /// `[epoch:]version-release`.
    pub(super) fn provide_itself(
        &mut self,
        header: &'h WholeHeader,
        name: &'h [u8],
        own: &'h [u8],
    ) -> Result<(), Invalid> {
        if !header.has(PROVIDES.2) {
            let unversioned = |raw_name| Dependency { raw_name, raw_version: &[], flags: 0 };
            self.provides = header.texts(PROVIDES.0)?.map(unversioned).collect();
        }
        let itself = Dependency { raw_name: name, raw_version: own, flags: 8 };
        if !self.provides.iter().any(|one| one.identity() == itself.identity()) {
            self.provides.push(itself);
        }
        Ok(())
    }

    /// The names of what is required, among which a package's own files are to be found.
    pub(super) fn required_names(&self) -> HashSet<&'h [u8]> {
        self.requires.iter().map(|one| one.raw_name).collect()
    }

    /// Leaves out the requirements that an index cannot help with, and repetition. `shipped` are those of the
    /// [required names](Self::required_names) that are primary files of the package itself.
    pub(super) fn settle_requires(&mut self, shipped: &HashSet<&[u8]>) {
        let provided: HashSet<_> = self.provides.iter().map(Dependency::identity).collect();
        // The last one of each name that was kept: only against that is repetition looked for.
        let mut last: HashMap<&[u8], (_, bool)> = HashMap::new();
        let mut libc: Option<Dependency<'h>> = None;
        let mut settled = Vec::with_capacity(self.requires.len());
        for one in self.requires.drain(..) {
            let name = one.raw_name;
            if name.starts_with(b"rpmlib(") || shipped.contains(name) || provided.contains(&one.identity()) {
                continue;
            }
            if name.starts_with(b"libc.so.6") {
                // A libc that has the newest of its symbols has them all.
                if libc.as_ref().is_none_or(|held| asks_more(name, held.raw_name)) {
                    libc = Some(one);
                }
                continue;
            }
            let kept = (one.identity(), one.is_pre());
            if last.insert(name, kept) != Some(kept) {
                settled.push(one);
            }
        }
        settled.extend(libc);
        self.requires = settled;
    }
}

/// One kind of dependency, without those that have no name or a version that cannot be read.
fn read<'h>(
    header: &'h WholeHeader,
    (names, flags, versions): Tags,
    limits: &Limits,
) -> Result<Vec<Dependency<'h>>, Invalid> {
    super::few_enough(header.texts(names)?.len(), limits)?;
    let all = header.texts(names)?.zip(header.numbers(flags)?).zip(header.texts(versions)?);
    let all = all.map(|((raw_name, flags), raw_version)| Dependency { raw_name, raw_version, flags });
    Ok(all.filter(|one| !one.raw_name.is_empty() && one.version().is_some()).collect())
}

/// What a requirement asks of libc, so that more compares as more: `libc.so.6(GLIBC_2.34)(64bit)`. Without a version it is
/// the less, the less it says.
fn symbols(name: &[u8]) -> (u8, &[u8]) {
    let Some(open) = name.iter().position(|byte| *byte == b'(') else { return (0, &[]) };
    let inside = name.get(open + 1..).unwrap_or_default();
    let Some(close) = inside.iter().position(|byte| *byte == b')') else { return (1, &[]) };
    let inside = inside.get(..close).unwrap_or_default();
    match inside.iter().position(u8::is_ascii_digit) {
        Some(digit) => (4, inside.get(digit..).unwrap_or_default()),
        None if inside.is_empty() => (2, &[]),
        None => (3, &[]),
    }
}

fn asks_more(one: &[u8], other: &[u8]) -> bool {
    let ((rank, version), (other_rank, other_version)) = (symbols(one), symbols(other));
    rank.cmp(&other_rank).then_with(|| version::compare(version, other_version)) == Ordering::Greater
}

#[cfg(test)]
mod tests;
