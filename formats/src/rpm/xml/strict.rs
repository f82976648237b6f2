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
        Event::PI(text) => text,
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

fn is_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':') || !c.is_ascii();
    let goes_on = |c: char| begins(c) || c.is_ascii_digit() || matches!(c, '-' | '.');
    name.starts_with(begins) && name.chars().all(|c| goes_on(c) && can_hold(c))
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
