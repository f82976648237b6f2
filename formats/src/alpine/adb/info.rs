//! What a v3 package says of itself, and an index repeats (FORMATS 2.3).
//!
//! [`Info`] is read out of a package or out of another index, and written as one block of values that holds nothing else: a
//! *fragment*, which waits for the index that it goes into. So there is one way to read and one to write, wherever it comes
//! from. Relations are put in order and are there once, as apk has them in indexes of its own; what is absent stays absent. Values
//! may share a place, so that a small block could say more than there is room for: what is read of a package is counted.

use std::cmp::Ordering;

use super::value::{Block, Table, Value, Why};
use super::writer::Writer;
use crate::alpine::version;
use crate::{Invalid, Limits};

/// The slots of a package's description, by number.
const NAME: usize = 1;
const VERSION: usize = 2;
const HASHES: usize = 3;
const ARCH: usize = 5;
const TEXTS: [usize; 6] = [4, 6, 7, 8, 9, 10];
const COMMIT: usize = 10;
const FILE_SIZE: usize = 13;
const NUMBERS: [usize; 4] = [11, 12, 14, 20];
const RELATIONS: [usize; 5] = [15, 16, 17, 18, 19];
const TAGS: usize = 21;

/// The slots of a relation.
const OTHER: usize = 1;
const OTHER_VERSION: usize = 2;
const MATCH: usize = 3;

/// Bits of a match: equal, less, greater, about; and not at all.
const EQUAL: u32 = 1;
const LESS: u32 = 2;
const GREATER: u32 = 4;
const ABOUT: u32 = 8;
const NOT: u32 = 16;

const WHAT: &str = "apk package (v3)";

/// What the slots hold, by the numbers of those that hold something.
#[derive(Debug, Default)]
pub(in crate::alpine) struct Info<'b> {
    pub(in crate::alpine) name: &'b str,
    pub(in crate::alpine) version: &'b str,
    pub(in crate::alpine) arch: &'b str,
    pub(in crate::alpine) identity: &'b [u8],
    pub(in crate::alpine) file_size: Option<u64>,
    /// Description, licence, origin, maintainer, URL and commit.
    texts: [&'b [u8]; 6],
    /// Build time, installed size, priority, layer.
    numbers: [Option<u64>; 4],
    /// Depends, provides, replaces, install-if, recommends.
    relations: [Vec<Relation<'b>>; 5],
    tags: Vec<&'b str>,
}

/// A relation to other packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::alpine) struct Relation<'b> {
    pub(in crate::alpine) name: &'b str,
    /// Empty for any.
    pub(in crate::alpine) version: &'b str,
    /// Absent where it goes without saying: it is the one, or any.
    matching: Option<u32>,
}

impl Relation<'_> {
    /// By name, by kind, by version; one without a version comes last.
    fn order(&self, other: &Self) -> Ordering {
        self.kind_order(other)
            .then_with(|| self.version.is_empty().cmp(&other.version.is_empty()))
            .then_with(|| version::compare(self.version, other.version))
    }

    /// Whether it may come before the other one. To apk, no version is as early as any.
    fn may_precede(&self, other: &Self) -> bool {
        let has_none = self.version.is_empty() != other.version.is_empty();
        match self.kind_order(other) {
            Ordering::Equal => has_none || version::compare(self.version, other.version) == Ordering::Less,
            order => order == Ordering::Less,
        }
    }

    fn kind_order(&self, other: &Self) -> Ordering {
        let kind = |relation: &Self| relation.matching.unwrap_or_default();
        self.name.as_bytes().cmp(other.name.as_bytes()).then_with(|| kind(self).cmp(&kind(other)))
    }

    /// As in a list of version 2.
    pub(in crate::alpine) fn text(&self) -> String {
        let bits = self.matching.unwrap_or(EQUAL);
        let mut text = String::from(if bits & NOT == 0 { "" } else { "!" });
        text.push_str(self.name);
        if self.version.is_empty() {
            return text;
        }
        for (bit, sign) in [(LESS, '<'), (GREATER, '>')] {
            text.extend(Some(sign).filter(|_| bits & bit != 0));
        }
        text.push(if bits & ABOUT != 0 { '~' } else { '=' });
        if bits & (EQUAL | ABOUT) == 0 {
            text.pop();
        }
        text.push_str(self.version);
        text
    }
}

/// Counts down what may be read of one package.
struct Budget(u64);

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), Why> {
        self.0 = self.0.checked_sub(bytes as u64).ok_or("it says more than an index has room for")?;
        Ok(())
    }

    fn blob<'b>(&mut self, block: Block<'b>, value: Value) -> Result<&'b [u8], Why> {
        let blob = block.blob(value)?;
        self.spend(blob.len())?;
        Ok(blob)
    }

    fn text<'b>(&mut self, block: Block<'b>, value: Value) -> Result<&'b str, Why> {
        std::str::from_utf8(self.blob(block, value)?).map_err(|_| "a text that is not UTF-8")
    }
}

impl<'b> Info<'b> {
    /// Reads a package's description.
    pub(super) fn read(block: Block<'b>, table: Table<'b>, limits: &Limits) -> Result<Self, Why> {
        let mut budget = Budget(limits.text_bytes);
        let number = |slot: usize| match table.slot(slot) {
            value if value.says_nothing() => Ok(None),
            value => block.number(value).map(Some),
        };
        let mut info = Self {
            name: budget.text(block, table.slot(NAME))?,
            version: budget.text(block, table.slot(VERSION))?,
            arch: budget.text(block, table.slot(ARCH))?,
            identity: budget.blob(block, table.slot(HASHES))?,
            file_size: number(FILE_SIZE)?,
            ..Self::default()
        };
        for (text, slot) in info.texts.iter_mut().zip(TEXTS) {
            *text = match slot {
                COMMIT => budget.blob(block, table.slot(slot))?,
                _ => budget.text(block, table.slot(slot))?.as_bytes(),
            };
        }
        for (to, slot) in info.numbers.iter_mut().zip(NUMBERS) {
            *to = number(slot)?;
        }
        for (to, slot) in info.relations.iter_mut().zip(RELATIONS) {
            for value in block.table(table.slot(slot))?.iter() {
                budget.spend(size_of::<Value>())?;
                to.push(relation(block, value, &mut budget)?);
            }
            if !to.is_sorted_by(Relation::may_precede) {
                to.sort_by(Relation::order);
                to.dedup();
            }
        }
        for value in block.table(table.slot(TAGS))?.iter() {
            budget.spend(size_of::<Value>())?;
            info.tags.push(budget.text(block, value)?);
        }
        Ok(info)
    }

    /// Writes it, as one of an index.
    pub(super) fn write(&self, into: &mut Writer) -> Result<Value, Invalid> {
        let mut slots = [Value::NULL; TAGS];
        let mut set = |slot: usize, value: Value| slots.iter_mut().skip(slot - 1).take(1).for_each(|to| *to = value);
        for (slot, text) in [(NAME, self.name), (VERSION, self.version), (ARCH, self.arch)] {
            set(slot, into.blob(text.as_bytes())?);
        }
        set(HASHES, into.blob(self.identity)?);
        if let Some(size) = self.file_size {
            set(FILE_SIZE, into.number(size)?);
        }
        for (slot, text) in TEXTS.into_iter().zip(self.texts) {
            set(slot, into.blob(text)?);
        }
        for (slot, number) in NUMBERS.into_iter().zip(self.numbers) {
            if let Some(number) = number {
                set(slot, into.number(number)?);
            }
        }
        for (slot, relations) in RELATIONS.into_iter().zip(&self.relations) {
            let values = relations.iter().map(|relation| {
                let matching = relation.matching.map_or(Ok(Value::NULL), |bits| into.number(bits.into()))?;
                let named = [into.blob(relation.name.as_bytes())?, into.blob(relation.version.as_bytes())?, matching];
                into.table(&named)
            });
            let values = values.collect::<Result<Vec<_>, _>>()?;
            set(slot, into.table(&values)?);
        }
        let tags = self.tags.iter().map(|tag| into.blob(tag.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        set(TAGS, into.table(&tags)?);
        into.table(&slots)
    }

    /// A block that holds it and nothing else, after its length.
    pub(in crate::alpine) fn fragment(&self, limits: &Limits) -> Result<Vec<u8>, Invalid> {
        let mut writer = Writer::new(WHAT, "fragment_bytes", limits.fragment_bytes);
        let root = self.write(&mut writer)?;
        let block = writer.finish(root);
        let length = u32::try_from(block.len()).map_err(|_| Invalid::malformed(WHAT, "it has 4 GiB"))?;
        Ok([&length.to_le_bytes()[..], &block].concat())
    }

    /// One of the texts that need not be there, as text.
    fn said(&self, slot: usize) -> &'b str {
        let at = TEXTS.iter().position(|known| *known == slot);
        let text = at.and_then(|at| self.texts.get(at)).copied().unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    pub(in crate::alpine) fn description(&self) -> &'b str {
        self.said(4)
    }

    pub(in crate::alpine) fn license(&self) -> &'b str {
        self.said(6)
    }

    pub(in crate::alpine) fn origin(&self) -> &'b str {
        self.said(7)
    }

    pub(in crate::alpine) fn maintainer(&self) -> &'b str {
        self.said(8)
    }

    pub(in crate::alpine) fn url(&self) -> &'b str {
        self.said(9)
    }

    /// The commit, raw.
    pub(in crate::alpine) const fn commit(&self) -> &'b [u8] {
        self.texts[5]
    }

    pub(in crate::alpine) fn built(&self) -> u64 {
        self.numbers[0].unwrap_or_default()
    }

    pub(in crate::alpine) fn installed_size(&self) -> u64 {
        self.numbers[1].unwrap_or_default()
    }

    pub(in crate::alpine) fn priority(&self) -> u64 {
        self.numbers[2].unwrap_or_default()
    }

    pub(in crate::alpine) fn tags(&self) -> &[&'b str] {
        &self.tags
    }

    /// Depends, provides, replaces, install-if and recommends.
    pub(in crate::alpine) const fn relations(&self) -> &[Vec<Relation<'b>>; 5] {
        &self.relations
    }
}

fn relation<'b>(block: Block<'b>, value: Value, budget: &mut Budget) -> Result<Relation<'b>, Why> {
    let table = block.table(value)?;
    let matching = match table.slot(MATCH) {
        value if value.says_nothing() => None,
        value => Some(u32::try_from(block.number(value)?).map_err(|_| "a relation of an unknown kind")?),
    };
    let (name, version) = (budget.text(block, table.slot(OTHER))?, budget.text(block, table.slot(OTHER_VERSION))?);
    if name.is_empty() || matching.is_some_and(|bits| bits >= 2 * NOT) {
        return Err("a relation to nothing, or of an unknown kind");
    }
    // Equal to a version is what it means without a word; so is any for one without.
    let goes_without_saying = if version.is_empty() { EQUAL | LESS | GREATER } else { EQUAL };
    Ok(Relation { name, version, matching: matching.filter(|bits| *bits != goes_without_saying) })
}
