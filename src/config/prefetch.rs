//! The key `prefetch` of a remote: which packages are fetched before anybody asks for them, and at what pace.

use std::num::{NonZeroU64, NonZeroUsize};

use super::document::patterns;
use super::patterns::PatternSet;
use super::reader::{Field, Reader, Table};

/// The keys below `prefetch:`.
pub(super) const KEYS: &[&str] = &["used", "before_switch", "include", "parallel", "bandwidth"];

/// What is fetched before anybody asks for it.
#[derive(Debug, Clone)]
pub struct Prefetch {
    /// Newer builds of packages that clients of this server have used.
    pub used: bool,
    /// Everything that an index names and one of these matches: a mirror.
    pub include: Option<PatternSet>,
    /// Whether a new index waits (for a while) until what it brings has been fetched.
    pub before_switch: bool,
    /// The most files of the repository that are fetched ahead at once.
    pub parallel: NonZeroUsize,
    /// Bytes a second over time; `None` sets no bound.
    pub bandwidth: Option<NonZeroU64>,
}

impl Prefetch {
    /// [`Prefetch::parallel`] where the file does not say.
    pub const PARALLEL: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

    /// Reads the keys below `prefetch:`.
    pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Self> {
        let table: Table<'_> = field.table(reader)?;
        table.only(reader, KEYS);
        if table.get("used").is_none() && table.get("include").is_none() {
            field.refuse(reader, "says nothing to fetch; add used: true, include: [\".*\"], or both");
        }
        Some(Self {
            used: table.read(reader, "used", Field::flag).unwrap_or(false),
            include: table.read(reader, "include", patterns),
            before_switch: table.read(reader, "before_switch", Field::flag).unwrap_or(false),
            parallel: table.read(reader, "parallel", Field::count).unwrap_or(Self::PARALLEL),
            bandwidth: table.read(reader, "bandwidth", bandwidth),
        })
    }
}

fn bandwidth(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<NonZeroU64> {
    let bandwidth = NonZeroU64::new(field.size(reader)?);
    if bandwidth.is_none() {
        field.refuse(reader, "0 would fetch nothing; leave the key out for no bound");
    }
    bandwidth
}
