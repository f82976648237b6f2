//! XML as repository metadata uses it: elements, attributes, text. Nothing else is let in.
//!
//! [`Document`] promises a well-formed document with the expected root element, or an error: a document that breaks off
//! anywhere is one. No DOCTYPE is taken, so there are no entities beyond the five predefined ones and numbers, and
//! nothing outside the document is ever looked at. Memory is bounded by one event ([`Limits::text_bytes`]), whatever the
//! document's length. Names are compared without their prefix, because metadata in the wild binds the same namespaces to
//! different prefixes, or to none.

mod strict;

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

pub(super) use self::strict::can_hold;
use crate::decompress::into_invalid;
use crate::{Invalid, Limits};

/// The longest element name taken: many open elements are held at once.
const MAX_NAME: usize = 256;

/// A document being read.
pub(super) struct Document<R> {
    what: &'static str,
    root: &'static str,
    reader: Reader<Budget<R>>,
    buffer: Vec<u8>,
    depth: u64,
    begun: bool,
    max_depth: u64,
    text_bytes: u64,
    has_doctype: bool,
    /// Whether it must be what every client takes for well-formed. See [`strict`].
    is_strict: bool,
    /// Whether anything has come yet.
    at_start: bool,
    /// `None` when nobody wants to have elements as they stand.
    recorded: Option<Recorded>,
}

/// The element directly below the root that was read last, as it stands in the document but for comments.
struct Recorded {
    text: String,
    /// A start tag lacks its end: the element may be empty.
    is_open: bool,
    most: u64,
}

impl Recorded {
    fn note(&mut self, event: &Event<'_>, depth: u64) {
        if depth == 1 && matches!(event, Event::Start(_)) {
            self.text.clear();
            self.is_open = false;
        }
        let was_open = std::mem::take(&mut self.is_open);
        let mut put = |parts: [&str; 3]| {
            if was_open {
                self.text.push('>');
            }
            parts.iter().for_each(|part| self.text.push_str(part));
        };
        match event {
            Event::Start(start) | Event::Empty(start) => {
                put(["<", start, ""]);
                self.is_open = true;
            }
            Event::End(_) if was_open => self.text.push_str("/>"),
            Event::End(end) => put(["</", end, ">"]),
            Event::Text(text) => put([text, "", ""]),
            Event::CData(text) => put(["<![CDATA[", text, "]]>"]),
            Event::GeneralRef(reference) => put(["&", reference, ";"]),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => {
                self.is_open = was_open;
            }
        }
    }
}

/// The namespaces that a document and one of its elements bind: attributes by name and value.
#[derive(Default)]
pub(super) struct Namespaces {
    pub(super) of_root: Vec<(String, String)>,
    pub(super) of_package: Vec<(String, String)>,
}

/// What comes next.
pub(super) enum Node<'d> {
    /// An element begins. The root is at depth 1.
    Open(u64, Element<'d>),
    /// Some text: between two elements it may come in pieces.
    Text(Cow<'d, str>),
    /// The element at this depth ends.
    Close(u64),
    /// The document is over, and was complete.
    End,
}

impl<R: BufRead> Document<R> {
    pub(super) fn new(what: &'static str, root: &'static str, from: R, limits: &Limits) -> Self {
        let mut reader = Reader::from_reader(Budget { inner: from, what, left: 0, full: limits.text_bytes });
        reader.config_mut().expand_empty_elements = true;
        Self {
            what,
            root,
            reader,
            buffer: Vec::new(),
            depth: 0,
            begun: false,
            max_depth: limits.depth,
            text_bytes: limits.text_bytes,
            has_doctype: false,
            is_strict: false,
            at_start: true,
            recorded: None,
        }
    }

    /// The same, for somebody who wants to have elements as they stand: [`Document::recorded`].
    pub(super) fn recording(mut self, limits: &Limits) -> Self {
        self.recorded = Some(Recorded { text: String::new(), is_open: false, most: limits.fragment_bytes });
        self
    }

    /// The same, of a kind that begins with a DOCTYPE by custom. One that declares anything is refused all the same, and what it refers
    /// to is never looked at.
    pub(super) fn with_doctype(mut self) -> Self {
        self.has_doctype = true;
        self
    }

    /// The same, for somebody who is to hand it on to every client: see [`strict`].
    pub(super) fn strictly(mut self) -> Self {
        self.is_strict = true;
        self.reader.config_mut().check_comments = true;
        self
    }

    /// The element directly below the root that was closed last, as it stands in the document.
    pub(super) fn recorded(&self) -> &str {
        self.recorded.as_ref().map_or("", |recorded| &recorded.text)
    }

    /// The next node.
    pub(super) fn next(&mut self) -> Result<Node<'_>, Invalid> {
        let Self { what, root, reader, buffer, depth, begun, max_depth, has_doctype, recorded, .. } = self;
        let (is_strict, at_start) = (self.is_strict, std::mem::take(&mut self.at_start));
        let what = *what;
        let malformed = |why: String| Err(Invalid::malformed(what, why));
        buffer.clear();
        reader.get_mut().refill();
        // Comments and the like are returned as empty texts: looping here would need the buffer twice.
        let nothing = Node::Text(Cow::Borrowed(""));
        let event = match reader.read_event_into(buffer) {
            Ok(event) => event,
            Err(error) => return Err(invalid(what, error)),
        };
        if is_strict {
            strict::check(what, &event, at_start)?;
        }
        if let Some(recorded) = recorded {
            recorded.note(&event, *depth);
            if recorded.text.len() as u64 > recorded.most {
                return Err(Invalid::OverLimit { what, limit: "fragment_bytes", value: recorded.most });
            }
        }
        match event {
            Event::Start(start) | Event::Empty(start) => {
                let element = Element { what, start };
                if element.start.name().0.len() > MAX_NAME {
                    return malformed("an element name that is too long".into());
                }
                if *depth == 0 && (*begun || element.name() != *root) {
                    return malformed(format!("an element <{}> where <{root}> is the only one", element.name()));
                }
                *begun = true;
                *depth += 1;
                if *depth > *max_depth {
                    return Err(Invalid::OverLimit { what, limit: "depth", value: *max_depth });
                }
                Ok(Node::Open(*depth, element))
            }
            Event::End(_) => {
                let closed = *depth;
                *depth = depth.saturating_sub(1);
                Ok(Node::Close(closed))
            }
            Event::Text(text) if *depth > 0 => Ok(Node::Text(text.into_inner())),
            Event::Text(text) if text.trim().is_empty() => Ok(nothing),
            Event::Text(_) => malformed("text outside the root element".into()),
            Event::CData(text) if *depth > 0 => Ok(Node::Text(text.into_inner())),
            Event::CData(_) => malformed("text outside the root element".into()),
            Event::GeneralRef(reference) => resolve(&reference)
                .filter(|_| *depth > 0)
                .map(|text| Node::Text(Cow::Owned(text)))
                .ok_or_else(|| Invalid::malformed(what, "a reference to an entity that no document may define")),
            Event::DocType(doctype) if *has_doctype && !*begun && !doctype.contains('[') => {
                // There is one of them.
                *has_doctype = false;
                Ok(nothing)
            }
            Event::DocType(_) => malformed("a DOCTYPE, which repository metadata has not".into()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => Ok(nothing),
            Event::Eof if *depth > 0 || !*begun => Err(Invalid::Truncated { what }),
            Event::Eof => Ok(Node::End),
        }
    }

    /// How much text one field may gather: references split it into any number of pieces.
    pub(super) fn text_bytes(&self) -> u64 {
        self.text_bytes
    }
}

/// The text of one element, gathered from its pieces.
pub(super) fn gather(what: &'static str, field: &mut String, piece: &str, text_bytes: u64) -> Result<(), Invalid> {
    if (field.len() + piece.len()) as u64 > text_bytes {
        return Err(Invalid::OverLimit { what, limit: "text_bytes", value: text_bytes });
    }
    field.push_str(piece);
    Ok(())
}

fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Some(character.to_string()),
        Ok(None) => quick_xml::escape::resolve_predefined_entity(reference).map(str::to_owned),
        Err(_) => None,
    }
}

fn invalid(what: &'static str, error: quick_xml::Error) -> Invalid {
    use quick_xml::Error;
    match error {
        Error::Io(error) => match std::sync::Arc::try_unwrap(error) {
            Ok(error) => into_invalid(what, error),
            Err(error) => Invalid::malformed(what, error.to_string()),
        },
        other => Invalid::malformed(what, other.to_string()),
    }
}

/// An element as it begins.
pub(super) struct Element<'d> {
    what: &'static str,
    start: BytesStart<'d>,
}

impl Element<'_> {
    /// The name without its prefix.
    pub(super) fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// An attribute, by its name as written: `href`, `xml:base`.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, Invalid> {
        // Without the check for repeated names, which takes time by the square of their number.
        for attribute in self.start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| Invalid::malformed(self.what, error.to_string()))?;
            if attribute.key.0 == name {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                return value.map(Some).map_err(|error| Invalid::malformed(self.what, error.to_string()));
            }
        }
        Ok(None)
    }

    /// The namespaces that it binds: attributes as they are written, by name and value.
    pub(super) fn namespaces(&self) -> Result<Vec<(String, String)>, Invalid> {
        let mut bound = Vec::new();
        for attribute in self.start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| Invalid::malformed(self.what, error.to_string()))?;
            let name = attribute.key.0;
            if name == "xmlns" || name.starts_with("xmlns:") {
                bound.push((name.to_owned(), attribute.value.replace('"', "&quot;")));
            }
        }
        Ok(bound)
    }
}

/// Ends the input with an error when one event takes more than it may: the parser gathers an event before it shows it.
struct Budget<R> {
    inner: R,
    what: &'static str,
    left: u64,
    full: u64,
}

impl<R> Budget<R> {
    fn refill(&mut self) {
        self.left = self.full;
    }
}

impl<R: BufRead> BufRead for Budget<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            let over = Invalid::OverLimit { what: self.what, limit: "text_bytes", value: self.full };
            return Err(io::Error::other(over));
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = self.inner.fill_buf()?;
        Ok(bytes.get(..left).unwrap_or(bytes))
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount as u64);
        self.inner.consume(amount);
    }
}

impl<R: BufRead> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut from = self.fill_buf()?;
        let read = from.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
