//! What a parser of a client refuses and ours lets pass: the finer points of well-formedness (XML 1.0).
//!
//! Readers of indexes take what they need and look no closer, for what is not theirs is not theirs to refuse. A document that we
//! hand on as our own is another matter: libxml2 and expat give up on it for one character, and the client with them.

use std::collections::HashSet;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesDecl, BytesStart, Event};

use crate::Invalid;

/// The most attributes of one element: their names are compared with each other.
const MAX_ATTRIBUTES: usize = 256;

/// How documents may say that they are encoded: the one encoding that is read, and the part of it that has a name of its own.
const ENCODINGS: [&str; 3] = ["utf-8", "utf8", "us-ascii"];

/// Whether XML can hold a character (XML 1.0, 2.2).
pub(in crate::rpm) fn can_hold(character: char) -> bool {
    !matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

/// Checks one event of a document, `at_start` if it is the first.
pub(super) fn check(what: &'static str, event: &Event<'_>, at_start: bool) -> Result<(), Invalid> {
    let refuse = |why: &str| Err(Invalid::malformed(what, why));
    let text: &str = match event {
        Event::Start(start) | Event::Empty(start) => return element(what, start),
        Event::Decl(_) if !at_start => return refuse("its XML declaration is not at its start"),
        Event::Decl(declaration) => return encoding(what, declaration),
        Event::Text(text) if text.contains("]]>") => return refuse("the characters ]]> in a text"),
        Event::Text(text) => text,
        Event::CData(text) => text,
        Event::Comment(text) => text,
        Event::PI(instruction) if !is_target(instruction.target()) => {
            return refuse("a processing instruction without a name that it may have");
        }
        Event::PI(text) => text,
        Event::DocType(text) if !is_doctype(text) => return refuse("a DOCTYPE that is none"),
        Event::DocType(text) => text,
        Event::GeneralRef(reference) => match reference.resolve_char_ref() {
            Ok(Some(character)) if !can_hold(character) => return refuse("a character that XML cannot hold"),
            _ => return Ok(()),
        },
        Event::End(_) | Event::Eof => return Ok(()),
    };
    if text.chars().all(can_hold) { Ok(()) } else { refuse("a character that XML cannot hold") }
}

fn element(what: &'static str, start: &BytesStart<'_>) -> Result<(), Invalid> {
    let refuse = |why: String| Err(Invalid::malformed(what, why));
    if !is_name(start.name().0) {
        return refuse("an element's name that is none".to_owned());
    }
    if !are_apart(start.attributes_raw()) {
        return refuse("an attribute right behind another".to_owned());
    }
    let mut names = HashSet::new();
    for attribute in start.attributes().with_checks(false) {
        let attribute = match attribute {
            Ok(attribute) => attribute,
            Err(error) => return refuse(error.to_string()),
        };
        let name = attribute.key.0;
        if !is_name(name) {
            return refuse("an attribute's name that is none".to_owned());
        }
        if !names.insert(name) || names.len() > MAX_ATTRIBUTES {
            return refuse("an element that has an attribute twice, or too many of them".to_owned());
        }
        if attribute.value.contains('<') {
            return refuse("the character < in an attribute".to_owned());
        }
        match attribute.normalized_value(XmlVersion::Implicit1_0) {
            Ok(value) if value.chars().all(can_hold) => {}
            Ok(_) => return refuse("a character that XML cannot hold".to_owned()),
            Err(error) => return refuse(error.to_string()),
        }
    }
    Ok(())
}

/// Whether there is white space behind each value of these attributes, as they stand in the document.
fn are_apart(attributes: &str) -> bool {
    let (mut quote, mut is_behind) = (None, false);
    for character in attributes.chars() {
        match quote {
            Some(closing) if character == closing => (quote, is_behind) = (None, true),
            Some(_) => {}
            None if is_behind && !is_space(character) => return false,
            None => {
                is_behind = false;
                quote = matches!(character, '"' | '\'').then_some(character);
            }
        }
    }
    true
}

const fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// What else may be in a name, parsers do not agree on: those of XML 1.0 that know its fourth edition, and its fifth. No index has such
/// names.
fn is_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':');
    name.starts_with(begins) && name.chars().all(|c| begins(c) || c.is_ascii_digit() || matches!(c, '-' | '.'))
}

/// XML 1.0, 2.6, and Namespaces in XML, 7.
fn is_target(name: &str) -> bool {
    is_name(name) && !name.contains(':') && !name.eq_ignore_ascii_case("xml")
}

/// `name`, `name SYSTEM "where"` or `name PUBLIC "which" "where"` (XML 1.0, 2.8).
fn is_doctype(text: &str) -> bool {
    let (name, rest) = text.split_once(is_space).unwrap_or((text, ""));
    let is_meant = match rest.trim_start_matches(is_space).split_at_checked(6) {
        None => rest.chars().all(is_space),
        Some(("SYSTEM", rest)) => literal(rest, |_| true).is_some_and(|rest| rest.chars().all(is_space)),
        Some(("PUBLIC", rest)) => literal(rest, is_public)
            .and_then(|rest| literal(rest, |_| true))
            .is_some_and(|rest| rest.chars().all(is_space)),
        Some(_) => false,
    };
    is_name(name) && is_meant
}

/// What is behind the quoted text that stands behind white space, if all of it may be in it.
fn literal(text: &str, may_hold: fn(char) -> bool) -> Option<&str> {
    let quoted = text.strip_prefix(is_space)?.trim_start_matches(is_space);
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (literal, rest) = quoted[1..].split_once(quote)?;
    literal.chars().all(may_hold).then_some(rest)
}

/// Whether it may be in a public identifier (XML 1.0, 2.3).
fn is_public(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, ' ' | '\r' | '\n')
        || "-'()+,./:=?;!*#@$_%".contains(character)
}

fn encoding(what: &'static str, declaration: &BytesDecl<'_>) -> Result<(), Invalid> {
    let refuse = |why: String| Err(Invalid::malformed(what, why));
    if let Err(error) = declaration.version() {
        return refuse(error.to_string());
    }
    match declaration.encoding() {
        None => Ok(()),
        Some(Err(error)) => refuse(error.to_string()),
        Some(Ok(said)) if ENCODINGS.iter().any(|known| said.eq_ignore_ascii_case(known)) => Ok(()),
        Some(Ok(said)) => refuse(format!("it says that it is encoded as {}; use UTF-8", said.escape_debug())),
    }
}
