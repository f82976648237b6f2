//! A YAML text as a tree that remembers where each value stands.
//!
//! Deserialising straight into the types we want would stop at the first mistake and forget the places of everything
//! that is right by itself and wrong beside something else. A located tree lets the readers after it name every problem
//! of the file with its line, and see keys that occur twice. Only text that is no YAML at all ends the reading here.
//!
//! Anchors, aliases and merge keys work, within limits that no honest file meets: a file of a few hundred bytes that
//! unfolds into gigabytes is refused while it is being read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{MessageFormatter as _, Spanned, UserMessageFormatter};

use super::misread;
use super::problem::{Place, Problem};

/// How deep lists and mappings may nest. The deepest key we know is at four.
const DEPTH: usize = 16;
/// The most values in a file.
const VALUES: usize = 100_000;
/// The most values that aliases may add to them.
const ALIASED: usize = 20_000;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What YAML's core schema makes of a piece of text. Quoted text is always [`Value::Text`].
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Flag(bool),
    /// A whole number that is zero or more and fits.
    Number(u64),
    /// Any other number.
    Odd,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key may occur more than once.
    Table(Vec<(Node, Node)>),
}

impl Value {
    /// What a message calls a value of this kind. Never the value itself, which may be a secret in the wrong place.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Flag(_) => "true or false",
            Self::Number(_) | Self::Odd => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Table(_) => "a mapping",
        }
    }
}

/// Reads one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: DEPTH,
            max_nodes: VALUES,
            max_events: 3 * VALUES,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
            max_recorded_anchor_events: ALIASED,
            max_documents: 1,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: ALIASED,
            max_replay_stack_depth: DEPTH,
        },
        // Keys that occur twice are ours to report, all of them and with both lines.
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: serde_yaml::NonFiniteFloatPolicy::PassThrough,
        // `no`, `1_000` and `0755` are text to some readers of YAML and not to others. Here they are text, and the reader
        // of a number or a flag then says what it wants instead.
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        leading_zero_numbers_as_strings: true,
        reject_unsupported_tags: true,
        // A snippet would print the lines around the mistake, and one of them may hold a password. `misread` shows one, if it
        // holds none.
        with_snippet: false,
    };
    serde_yaml::from_str_with_options::<Spanned<Value>>(text, options).map(Node::from).map_err(|error| {
        let place = error.location().map(|location| Place::new(location.line(), location.column()));
        refusal(text, place, &error)
    })
}

fn refusal(text: &str, place: Option<Place>, error: &serde_yaml::Error) -> Problem {
    use serde_yaml::Error as E;
    use serde_yaml::budget::BudgetBreach;
    match error {
        E::AliasError { error, .. } => refusal(text, place, error),
        E::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            Problem::new(place, "", "a second document begins here; a configuration is one, without --- lines")
        }
        E::Budget { .. }
        | E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. } => {
            Problem::new(place, "", "nests deeper, or unfolds into more values, than a configuration can need")
        }
        other => misread::problem(text, place, &UserMessageFormatter.format_message(other)),
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        // Where an alias is used, not where it was defined: that is the line that can be mended by itself.
        let place = Place::new(spanned.referenced.line(), spanned.referenced.column());
        Self { place, value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(u64::try_from(number).map_or(Value::Odd, Value::Number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(u64::try_from(number).map_or(Value::Odd, Value::Number))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(u64::try_from(number).map_or(Value::Odd, Value::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Odd)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element::<Spanned<Value>>()? {
            nodes.push(Node::from(node));
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = table.next_entry::<Spanned<Value>, Spanned<Value>>()? {
            entries.push((Node::from(key), Node::from(node)));
        }
        Ok(Value::Table(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(node: &Node) -> String {
        let value = match &node.value {
            Value::List(nodes) => format!("[{}]", nodes.iter().map(outline).collect::<Vec<_>>().join(" ")),
            Value::Table(entries) => {
                let entry = |(key, node): &(Node, Node)| format!("{}={}", outline(key), outline(node));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
            Value::Text(text) => format!("{text:?}"),
            Value::Number(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        format!("{value}@{}", node.place)
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "a: 1\nb:\n  - x\n  - \"1\"\nc: {d: ~, e: true}\na: 2\n5: 1.5\nno: 0755\n";
        let expected = "{\"a\"@1:1=1@1:4 \"b\"@2:1=[\"x\"@3:5 \"1\"@4:5]@3:3 \
             \"c\"@5:1={\"d\"@5:5=Null@5:8 \"e\"@5:11=Flag(true)@5:14}@5:4 \"a\"@6:1=2@6:4 5@7:1=Odd@7:4 \
             \"no\"@8:1=\"0755\"@8:5}@1:1";
        assert_eq!(outline(&parse(text).expect("yaml")), expected);
    }

    #[test]
    fn aliases_stand_where_they_are_used() {
        let text = "a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n  l: 2\n";
        let expected = "{\"a\"@1:1={\"k\"@1:8=1@1:11}@1:7 \"b\"@2:1={\"k\"@2:4=1@2:4}@2:4 \
             \"c\"@3:1={\"l\"@5:3=2@5:6 \"k\"@4:7=1@4:7}@4:3}@1:1";
        assert_eq!(outline(&parse(text).expect("yaml")), expected);
    }

    #[test]
    fn what_is_no_yaml() {
        let bomb = (1..8).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text + &format!("a{level}: &a{level} [{aliases}]\n")
        });
        let deep = "[".repeat(40) + &"]".repeat(40);
        let table = [
            ("a: [1", "1:4: not YAML: unclosed bracket '['"),
            ("a:\n\t- b", "2:2: not YAML: tabs disallowed within this context (block indentation)"),
            (
                "a: *nowhere",
                "1:4: not YAML: reference to unknown value; a text that begins with * wants quotes; a pattern for all such \
                 files is '.*\\.tar\\.gz$'",
            ),
            ("a: 1\n---\nb: 2\n", "2:1: a second document begins here; a configuration is one, without --- lines"),
            ("a: !include x\n", "1:13: not YAML: unsupported tag `!include`"),
            (
                "a: 1\n  b: 2\n",
                "1:1: not YAML: mapping values are not allowed in this context; the line below is indented as if it belonged \
                 to this one, which has a value already",
            ),
            ("&a [*a]", "1:5: not YAML: Recursive reference not allowed here"),
            (&bomb, "5:10: nests deeper, or unfolds into more values, than a configuration can need"),
            (&deep, "1:17: nests deeper, or unfolds into more values, than a configuration can need"),
        ];
        for (text, expected) in table {
            let said = parse(text).expect_err(text).to_string();
            assert_eq!(said.lines().next(), Some(expected), "{text}");
        }
    }
}
