//! Reading typed values out of the tree, and collecting what is wrong on the way.
//!
//! Every reading function answers `None` after it has reported a problem, so that the caller goes on with the next key
//! and the file's other problems come to light too. Messages repeat a value only where it cannot be a secret.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use artifactapi_formats::Formats;

use super::problem::{Place, Problem};
use super::suggest::closest;
use super::yaml::{Node, Value};
use super::{duration, size};

/// What the file may name that lies outside of it: where secrets come from.
pub(super) struct Outside<'a> {
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file; a relative path is relative to the folder of the configuration.
    pub(super) read_file: &'a mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
}

/// What reading needs to know, and what it has found out so far.
pub(super) struct Reader<'a, 'o> {
    pub(super) formats: Formats,
    pub(super) outside: &'a mut Outside<'o>,
    pub(super) problems: Vec<Problem>,
}

/// One key with its value.
#[derive(Debug, Clone)]
pub(super) struct Field<'n> {
    /// The full path of the key.
    pub(super) key: String,
    /// Where the key stands; for an element of a list, where the element does.
    pub(super) place: Place,
    node: &'n Node,
}

/// A mapping whose keys are known to be text and to occur once.
pub(super) struct Table<'n> {
    /// The full path of the key that holds it; empty at the top.
    pub(super) key: String,
    /// Where that key stands.
    pub(super) place: Place,
    fields: Vec<(&'n str, Field<'n>)>,
}

impl Reader<'_, '_> {
    /// Notes a problem.
    pub(super) fn report(&mut self, place: Place, key: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(Some(place), key, text));
    }
}

impl<'n> Field<'n> {
    /// The whole document, as the value of a key without a name.
    pub(super) const fn top(node: &'n Node) -> Self {
        Self { key: String::new(), place: node.place, node }
    }

    /// Where the value stands.
    pub(super) const fn value_place(&self) -> Place {
        self.node.place
    }

    /// Whether there is no value, or a mapping without keys.
    pub(super) fn is_empty(&self) -> bool {
        match &self.node.value {
            Value::Null => true,
            Value::Table(entries) => entries.is_empty(),
            _ => false,
        }
    }

    /// Notes a problem of the value.
    pub(super) fn refuse(&self, reader: &mut Reader<'_, '_>, text: impl Into<String>) {
        reader.report(self.node.place, &self.key, text);
    }

    fn wants<T>(&self, reader: &mut Reader<'_, '_>, wanted: &str) -> Option<T> {
        let text = match &self.node.value {
            Value::Null => format!("empty; it wants {wanted}"),
            other => format!("wants {wanted}, and this is {}", other.kind()),
        };
        self.refuse(reader, text);
        None
    }

    /// A text. Numbers and the like are not made into one: `1.10` would have lost its zero before we saw it.
    pub(super) fn text(&self, reader: &mut Reader<'_, '_>) -> Option<&'n str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Odd | Value::Flag(_) => self.wants(reader, "text (put it in quotes)"),
            _ => self.wants(reader, "text"),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, reader: &mut Reader<'_, '_>) -> Option<bool> {
        match &self.node.value {
            Value::Flag(flag) => Some(*flag),
            _ => self.wants(reader, "true or false"),
        }
    }

    /// Whether it is written as `false`.
    pub(super) fn is_false(&self) -> bool {
        matches!(self.node.value, Value::Flag(false))
    }

    /// Whether it is one of these words, numbers or flags, as they are written.
    pub(super) fn is_one_of(&self, written: &[&str]) -> bool {
        match &self.node.value {
            Value::Text(text) => written.contains(&&**text),
            Value::Number(number) => written.contains(&&*number.to_string()),
            Value::Flag(flag) => written.contains(&&*flag.to_string()),
            _ => false,
        }
    }

    /// A number from 0 upwards.
    pub(super) fn number(&self, reader: &mut Reader<'_, '_>) -> Option<usize> {
        match &self.node.value {
            Value::Number(number) => usize::try_from(*number).ok(),
            _ => None,
        }
        .or_else(|| self.wants(reader, "a whole number from 0 upwards"))
    }

    /// A number from 1 upwards.
    pub(super) fn count(&self, reader: &mut Reader<'_, '_>) -> Option<NonZeroUsize> {
        let Value::Number(number) = &self.node.value else {
            return self.wants(reader, "a whole number from 1 upwards");
        };
        let count = usize::try_from(*number).ok().and_then(NonZeroUsize::new);
        if count.is_none() {
            self.refuse(reader, "must be 1 or more");
        }
        count
    }

    /// Seconds, or a text with units.
    pub(super) fn duration(&self, reader: &mut Reader<'_, '_>) -> Option<Duration> {
        let (written, parsed) = match &self.node.value {
            Value::Number(seconds) => (seconds.to_string(), duration::from_seconds(*seconds)),
            Value::Text(text) => (format!("{text:?}"), duration::parse(text)),
            _ => {
                return self.wants(reader, r#"a length of time: seconds (300) or a text such as "2h""#);
            }
        };
        parsed.map_err(|why| self.refuse(reader, format!("{written} {why}"))).ok()
    }

    /// A number of bytes, or a text with a unit; one byte at least.
    pub(super) fn budget(&self, reader: &mut Reader<'_, '_>) -> Option<u64> {
        let (written, parsed) = match &self.node.value {
            Value::Number(bytes) => (bytes.to_string(), size::budget(*bytes)),
            Value::Text(text) => (format!("{text:?}"), size::parse_budget(text)),
            _ => return self.wants(reader, r#"a number of bytes: 1048576 or a text such as "10GiB""#),
        };
        parsed.map_err(|why| self.refuse(reader, format!("{written} {why}"))).ok()
    }

    /// A number of bytes, or a text with a unit.
    pub(super) fn size(&self, reader: &mut Reader<'_, '_>) -> Option<u64> {
        match &self.node.value {
            Value::Number(bytes) => Some(*bytes),
            Value::Text(text) => size::parse(text).map_err(|why| self.refuse(reader, format!("{text:?} {why}"))).ok(),
            _ => self.wants(reader, r#"a number of bytes: 1048576 or a text such as "10MiB""#),
        }
    }

    /// Whether there are keys below it.
    pub(super) const fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// The elements of a list.
    pub(super) fn list(&self, reader: &mut Reader<'_, '_>) -> Option<Vec<Self>> {
        let Value::List(nodes) = &self.node.value else {
            return self.wants(reader, "a list (each entry after a dash)");
        };
        let element =
            |(index, node): (usize, &'n Node)| Self { key: format!("{}[{index}]", self.key), place: node.place, node };
        Some(nodes.iter().enumerate().map(element).collect())
    }

    /// A list of texts; `None` if any element is something else.
    pub(super) fn texts(&self, reader: &mut Reader<'_, '_>) -> Option<Vec<(Self, &'n str)>> {
        let read: Vec<_> =
            self.list(reader)?.into_iter().map(|field| field.text(reader).map(|text| (field, text))).collect();
        read.into_iter().collect()
    }

    /// The keys of a mapping.
    pub(super) fn table(&self, reader: &mut Reader<'_, '_>) -> Option<Table<'n>> {
        let Value::Table(entries) = &self.node.value else {
            return self.wants(reader, "a mapping (key: value)");
        };
        let mut fields: Vec<(&'n str, Field<'n>)> = Vec::with_capacity(entries.len());
        let mut seen: HashMap<&'n str, Place> = HashMap::new();
        for (name, node) in entries {
            let Value::Text(text) = &name.value else {
                reader.report(
                    name.place,
                    &self.key,
                    format!("a key must be text, and this one is {}; put it in quotes", name.value.kind()),
                );
                continue;
            };
            let key = if self.key.is_empty() { text.clone() } else { format!("{}.{text}", self.key) };
            if let Some(first) = seen.get(text.as_str()) {
                reader.report(name.place, &key, format!("given twice, first in line {}; keep one of them", first.line));
                continue;
            }
            seen.insert(text, name.place);
            fields.push((text, Field { key, place: name.place, node }));
        }
        Some(Table { key: self.key.clone(), place: self.place, fields })
    }
}

impl<'n> Table<'n> {
    /// The field of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Field<'n>> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// All fields, in the order of the file.
    pub(super) fn fields(&self) -> impl Iterator<Item = &(&'n str, Field<'n>)> {
        self.fields.iter()
    }

    /// Reports every key that is not among `known`.
    pub(super) fn only(&self, reader: &mut Reader<'_, '_>, known: &[&'static str]) {
        self.only_of(reader, known, known, |_| None);
    }

    /// Reports every key that is not among `known`: with where it belongs, if `elsewhere` knows, or else with those that fit here.
    pub(super) fn only_of(
        &self,
        reader: &mut Reader<'_, '_>,
        known: &[&'static str],
        fitting: &[&'static str],
        elsewhere: impl Fn(&str) -> Option<&'static str>,
    ) {
        for (name, field) in &self.fields {
            if known.contains(name) {
                continue;
            }
            if let Some(belongs) = elsewhere(name) {
                reader.report(field.place, &field.key, belongs);
                continue;
            }
            let hint = closest(name, known.iter().copied()).map_or_else(
                || format!("the keys here are {}", fitting.join(", ")),
                |word| format!("did you mean {word}?"),
            );
            reader.report(field.place, &field.key, format!("unknown key; {hint}"));
        }
    }

    /// Reads the field of that name with `read`; `None` when it is absent or wrong.
    pub(super) fn read<T>(
        &self,
        reader: &mut Reader<'_, '_>,
        name: &str,
        read: impl FnOnce(&Field<'n>, &mut Reader<'_, '_>) -> Option<T>,
    ) -> Option<T> {
        self.get(name).and_then(|field| read(field, reader))
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, reader: &mut Reader<'_, '_>, name: &str, text: &str) {
        reader.report(self.place, &format!("{}.{name}", self.key), format!("missing; {text}"));
    }
}
