//! XML as createrepo_c writes it, to the byte.
//!
//! [`Xml`] promises that whatever texts come, the result is well-formed, and that our own readers take it: no element's
//! texts are longer than [`Limits::text_bytes`], and one package's part of a list is no longer than
//! [`Limits::fragment_bytes`]. Two spaces of indentation for each level, a line for each element, and libxml2's way to
//! escape: in attributes everything beyond ASCII is a reference, in texts nothing is.

use crate::{Invalid, Limits};

/// An attribute.
pub(super) type Attribute<'a> = (&'static str, &'a str);

/// A document, or a part of one, as far as it has been written.
pub(super) struct Xml {
    what: &'static str,
    out: Vec<u8>,
    /// The elements that are open.
    open: Vec<&'static str>,
    text_bytes: u64,
    most: u64,
}

impl Xml {
    /// A part of a list.
    pub(super) fn fragment(what: &'static str, limits: &Limits) -> Self {
        Self { what, out: Vec::new(), open: Vec::new(), text_bytes: limits.text_bytes, most: limits.fragment_bytes }
    }

    /// A document made of nothing that came from elsewhere and is not bounded already.
    pub(super) fn document(what: &'static str) -> Self {
        let out = super::lists::DECLARATION.as_bytes().to_vec();
        Self { what, out, open: Vec::new(), text_bytes: u64::MAX, most: u64::MAX }
    }

    /// Begins an element that has others in it.
    pub(super) fn begin(&mut self, name: &'static str, attributes: &[Attribute<'_>]) -> Result<(), Invalid> {
        self.tag(name, attributes, ">\n")?;
        self.open.push(name);
        Ok(())
    }

    /// Ends the element that was begun last.
    pub(super) fn end(&mut self) {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.raw(&["</", name, ">\n"]);
        }
    }

    /// An element with nothing in it.
    pub(super) fn empty(&mut self, name: &'static str, attributes: &[Attribute<'_>]) -> Result<(), Invalid> {
        self.tag(name, attributes, "/>\n")
    }

    /// An element with a text in it.
    pub(super) fn text(&mut self, name: &'static str, attributes: &[Attribute<'_>], text: &str) -> Result<(), Invalid> {
        self.tag(name, attributes, ">")?;
        let begin = self.out.len();
        self.escape(name, text, false)?;
        self.check(begin)?;
        self.raw(&["</", name, ">\n"]);
        Ok(())
    }

    /// What was written.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    fn tag(&mut self, name: &'static str, attributes: &[Attribute<'_>], end: &str) -> Result<(), Invalid> {
        self.indent();
        let begin = self.out.len();
        self.raw(&["<", name]);
        for (key, value) in attributes {
            self.raw(&[" ", key, "=\""]);
            self.escape(key, value, true)?;
            self.raw(&["\""]);
        }
        self.raw(&[end]);
        self.check(begin)
    }

    fn indent(&mut self) {
        for _ in 0..self.open.len() {
            self.raw(&["  "]);
        }
    }

    fn raw(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
    }

    /// Holds what was written since `begin` to the limit of one piece, and everything to that of all.
    fn check(&self, begin: usize) -> Result<(), Invalid> {
        let over = |limit, value| Err(Invalid::OverLimit { what: self.what, limit, value });
        let (all, piece) = (self.out.len() as u64, self.out.len().saturating_sub(begin) as u64);
        match () {
            () if piece > self.text_bytes => over("text_bytes", self.text_bytes),
            () if all > self.most => over("fragment_bytes", self.most),
            () => Ok(()),
        }
    }

    fn escape(&mut self, name: &str, text: &str, in_attribute: bool) -> Result<(), Invalid> {
        // Most texts have nothing to escape.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'<' | b'>' | b'&' | b'"')) {
            self.raw(&[text]);
            return Ok(());
        }
        let mut buffer = [0; 4];
        for character in text.chars() {
            match character {
                '<' => self.raw(&["&lt;"]),
                '>' => self.raw(&["&gt;"]),
                '&' => self.raw(&["&amp;"]),
                '\r' => self.raw(&["&#13;"]),
                '"' if in_attribute => self.raw(&["&quot;"]),
                '\n' if in_attribute => self.raw(&["&#10;"]),
                '\t' if in_attribute => self.raw(&["&#9;"]),
                '\n' | '\t' => self.raw(&[character.encode_utf8(&mut buffer)]),
                '\0'..' ' | '\u{fffe}' | '\u{ffff}' => {
                    let why = format!("its {name} holds a control character, which no index can hold");
                    return Err(Invalid::malformed(self.what, why));
                }
                _ if in_attribute && !character.is_ascii() => {
                    self.raw(&[&format!("&#x{:X};", u32::from(character))]);
                }
                _ => self.raw(&[character.encode_utf8(&mut buffer)]),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_libxml2_writes() {
        let mut xml = Xml::fragment("sample", &Limits::default());
        xml.begin("a", &[("b", "ü<>&\"'\t\n\r\u{7f}")]).expect("valid");
        xml.text("c", &[], "ü<>&\"'\t\n\r").expect("valid");
        xml.text("c", &[], "").expect("valid");
        xml.empty("d", &[("e", "1")]).expect("valid");
        xml.end();
        let written = String::from_utf8(xml.finish()).expect("UTF-8");
        let attribute = "&#xFC;&lt;&gt;&amp;&quot;'&#9;&#10;&#13;\u{7f}";
        let text = "ü&lt;&gt;&amp;\"'\t\n&#13;";
        assert_eq!(written, format!("<a b=\"{attribute}\">\n  <c>{text}</c>\n  <c></c>\n  <d e=\"1\"/>\n</a>\n"));
    }

    #[test]
    fn what_xml_cannot_hold_is_refused() {
        for text in ["\0", "a\u{1}", "\u{1b}[0m", "\u{fffe}", "ü\u{1f}"] {
            let mut xml = Xml::fragment("sample", &Limits::default());
            assert!(xml.text("a", &[], text).is_err(), "{text:?}");
            assert!(xml.empty("a", &[("b", text)]).is_err(), "{text:?}");
        }
    }

    #[test]
    fn limits() {
        let limits = Limits { text_bytes: 20, fragment_bytes: 50, ..Limits::default() };
        let mut xml = Xml::fragment("sample", &limits);
        xml.text("a", &[], "12345678901234567890").expect("just so");
        assert!(xml.text("a", &[], "123456789012345678901").is_err());
        let mut xml = Xml::fragment("sample", &limits);
        xml.text("a", &[], "1234567890123456789").expect("short");
        xml.text("a", &[], "1").expect("short");
        assert!(xml.text("a", &[], "12345678901234567890").is_err(), "together too long");
    }
}
