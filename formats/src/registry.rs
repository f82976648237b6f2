//! The table that turns `package: "<name>"` into a format.
//!
//! It is a value, not a global: whoever assembles a server may hand it the shipped rows ([`crate::FORMATS`]) or those
//! and one more, which is how a test proves that a format needs nothing but its own folder and a row.

use crate::Format;

/// A set of formats, one row each. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Formats {
    rows: &'static [&'static dyn Format],
}

impl Formats {
    /// The formats of `rows`. Where two share a name, the first is found.
    #[must_use]
    pub const fn of(rows: &'static [&'static dyn Format]) -> Self {
        Self { rows }
    }

    /// The format that `package: "<name>"` selects.
    #[must_use]
    pub fn find(self, name: &str) -> Option<&'static dyn Format> {
        self.iter().find(|format| format.name() == name)
    }

    /// The names that `package:` takes, for error messages.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter().map(Format::name)
    }

    /// Every format, in the table's order.
    pub fn iter(self) -> impl Iterator<Item = &'static dyn Format> {
        self.rows.iter().copied()
    }
}
