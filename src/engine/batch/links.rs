//! The links of a page that somebody else's server wrote for people.
//!
//! A listing is HTML, and every server writes another one. [`Links`] takes it in pieces of any size and hands out the
//! `href` of each `<a>`, in order, with character references decoded. It knows just enough of HTML not to be fooled:
//! quotes, comments, scripts and styles. It never fails, because a page that is no listing merely has no useful links; it
//! takes one pass, and it holds at most one tag ([`TAG_BYTES`]) whatever the page does.

/// The longest tag that is read, in bytes; a longer one is passed over.
const TAG_BYTES: usize = 8 << 10;

/// Elements whose content is not markup.
const RAW: [&str; 2] = ["script", "style"];

/// Finds links in a page that arrives piece by piece.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// What the last piece left undecided: the beginning of a tag, or of the end of what is passed over.
    rest: Vec<u8>,
    within: Within,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    Text,
    Comment,
    /// Of one of [`RAW`].
    Raw(&'static str),
    /// A tag of more than [`TAG_BYTES`].
    LongTag,
}

impl Links {
    /// Takes the next piece of the page.
    pub(super) fn push(&mut self, piece: &[u8], each: &mut dyn FnMut(String)) {
        let mut page = std::mem::take(&mut self.rest);
        page.extend_from_slice(piece);
        let undecided = self.read(&page, each);
        page.drain(..undecided);
        self.rest = page;
    }

    /// Reads as far as can be decided, and returns how far that is.
    fn read(&mut self, page: &[u8], each: &mut dyn FnMut(String)) -> usize {
        let mut at = 0;
        loop {
            let rest = &page[at..];
            let (step, decided) = match self.within {
                Within::Text => self.text(rest, each),
                Within::Comment => self.skip(rest, b"-->"),
                Within::Raw(name) => self.skip_raw(rest, name),
                Within::LongTag => self.skip(rest, b">"),
            };
            at += step;
            if !decided {
                return at;
            }
        }
    }

    /// Up to and including the next tag. Returns how much is done with, and whether to go on.
    fn text(&mut self, rest: &[u8], each: &mut dyn FnMut(String)) -> (usize, bool) {
        let Some(start) = rest.iter().position(|&b| b == b'<') else { return (rest.len(), false) };
        let tag = &rest[start..];
        if tag.starts_with(b"<!--") {
            self.within = Within::Comment;
            return (start + 4, true);
        }
        if tag.len() < 4 && b"<!--".starts_with(tag) {
            return (start, false);
        }
        // A lone `<` is text.
        if !tag.get(1).is_some_and(|b| b.is_ascii_alphabetic() || b"/!?".contains(b)) {
            return (start + 1, true);
        }
        match end_of_tag(&tag[..tag.len().min(TAG_BYTES)]) {
            Some(end) => {
                self.tag(&tag[1..end], each);
                (start + end + 1, true)
            }
            None if tag.len() < TAG_BYTES => (start, false),
            None => {
                self.within = Within::LongTag;
                (start + TAG_BYTES, true)
            }
        }
    }

    fn tag(&mut self, tag: &[u8], each: &mut dyn FnMut(String)) {
        let name_ends = tag.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(name_ends);
        if name.eq_ignore_ascii_case(b"a") {
            if let Some(href) = attribute(attributes, b"href").and_then(|value| std::str::from_utf8(value).ok()) {
                each(decoded(href.trim()));
            }
        } else if let Some(raw) = RAW.iter().find(|raw| name.eq_ignore_ascii_case(raw.as_bytes())) {
            self.within = Within::Raw(raw);
        }
    }

    /// Passes over everything up to and including `end`.
    fn skip(&mut self, rest: &[u8], end: &[u8]) -> (usize, bool) {
        match rest.windows(end.len()).position(|window| window == end) {
            Some(at) => {
                self.within = Within::Text;
                (at + end.len(), true)
            }
            None => (rest.len().saturating_sub(end.len() - 1), false),
        }
    }

    /// Passes over everything up to `</name`.
    fn skip_raw(&mut self, rest: &[u8], name: &str) -> (usize, bool) {
        let length = name.len() + 2;
        let ends = |window: &[u8]| window.starts_with(b"</") && window[2..].eq_ignore_ascii_case(name.as_bytes());
        match rest.windows(length).position(ends) {
            Some(at) => {
                self.within = Within::Text;
                (at, true)
            }
            None => (rest.len().saturating_sub(length - 1), false),
        }
    }
}

/// Where the `>` of a tag is; one within quotes does not count.
fn end_of_tag(tag: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut after_equals = false;
    for (at, &byte) in tag.iter().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') if after_equals => quote = Some(byte),
            (None, _) => {}
        }
        after_equals = byte == b'=' || (after_equals && byte.is_ascii_whitespace());
    }
    None
}

/// The value of an attribute, as written; the first one counts.
fn attribute<'t>(mut rest: &'t [u8], wanted: &[u8]) -> Option<&'t [u8]> {
    let split = |bytes: &'t [u8], ends: fn(u8) -> bool| {
        bytes.split_at(bytes.iter().position(|&b| ends(b)).unwrap_or(bytes.len()))
    };
    loop {
        rest = split(rest, |b| !b.is_ascii_whitespace() && b != b'/').1;
        if rest.is_empty() {
            return None;
        }
        let (name, after) = split(rest, |b| b.is_ascii_whitespace() || matches!(b, b'=' | b'/'));
        // A stray `=` is a name of its own to HTML; to us it is something to step over.
        let Some(after) = after.trim_ascii_start().strip_prefix(b"=") else {
            rest = if name.is_empty() { rest.get(1..)? } else { after };
            continue;
        };
        let after = after.trim_ascii_start();
        let (value, after) = match after.first() {
            Some(&quote @ (b'"' | b'\'')) => {
                let inner = &after[1..];
                let end = inner.iter().position(|&b| b == quote).unwrap_or(inner.len());
                (&inner[..end], inner.get(end + 1..).unwrap_or_default())
            }
            _ => split(after, |b| b.is_ascii_whitespace()),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// Decodes character references: the named ones that occur in URLs, and numbers. Others stay as they are.
fn decoded(text: &str) -> String {
    /// The longest reference looked for, with `&` and `;`, in bytes.
    const LONGEST: usize = 10;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(LONGEST).position(|b| b == b';');
        match end.and_then(|end| Some((end, character(&rest[1..end])?))) {
            Some((end, character)) => {
                out.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(page: &str, piece: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut links = Links::default();
        for piece in page.as_bytes().chunks(piece) {
            links.push(piece, &mut |href| found.push(href));
        }
        found
    }

    #[test]
    fn pages_of_known_servers() {
        let nginx = "<html>\r\n<head><title>Index of /x/</title></head>\r\n<body>\r\n<h1>Index of /x/</h1><hr><pre>\
            <a href=\"../\">../</a>\r\n<a href=\"sub/\">sub/</a>    01-Jan-2024 00:00    -\r\n\
            <a href=\"a%2Bb-1.0.tar.gz\">a+b-1.0.tar.gz</a>    01-Jan-2024 00:00    5\r\n</pre></body></html>";
        let apache = "<table><tr><th><a href=\"?C=N;O=D\">Name</a></th></tr>\n<tr><td valign=\"top\"><img src=\"/icons/x.gif\" \
            alt=\"[>]\"></td><td><a href='v1&amp;2.zip'>v1&amp;2.zip</a></td></tr></table>";
        let python = "<ul>\n<li><a href=\"b%20c.txt\">b c.txt</a></li>\n</ul>";
        for piece in [1, 7, 1 << 20] {
            assert_eq!(links(nginx, piece), ["../", "sub/", "a%2Bb-1.0.tar.gz"], "{piece}");
            assert_eq!(links(apache, piece), ["?C=N;O=D", "v1&2.zip"], "{piece}");
            assert_eq!(links(python, piece), ["b%20c.txt"], "{piece}");
        }
    }

    #[test]
    fn odd_markup() {
        let table: &[(&str, &[&str])] = &[
            ("<A  CLASS=x HREF = a.txt >a</A>", &["a.txt"]),
            ("<a title='1 > 0' href=\"b\">", &["b"]),
            ("<a href=c/>", &["c/"]),
            ("<a\nhref=' d '\n>", &["d"]),
            ("<a href=first href=second>", &["first"]),
            ("<a data-href=no href=yes>", &["yes"]),
            ("<a name=anchor><abbr href=no><area href=no>", &[]),
            ("<!-- <a href=no> --><a href=yes>", &["yes"]),
            ("<script>x = '<a href=no>';</script><a href=yes>", &["yes"]),
            ("<STYLE><a href=no></STYLE ><a href=yes>", &["yes"]),
            ("<a href='&#x2F;&#46;&bogus;&amp'>", &["/.&bogus;&amp"]),
            ("1 < 2 <a href=yes>", &["yes"]),
            ("<a = = href=yes>", &["yes"]),
            ("<a href=\"unclosed", &[]),
            ("<a href>", &[]),
            ("<a>", &[]),
            ("<", &[]),
        ];
        for (page, expected) in table {
            for piece in [1, 3, 1 << 20] {
                assert_eq!(&links(page, piece), expected, "{page} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_hostile_page_costs_one_pass_and_one_tag() {
        let mut links = Links::default();
        let mut found = Vec::new();
        for page in [
            "<".repeat(1 << 20),
            "<a".repeat(1 << 20),
            "<a '".repeat(1 << 18),
            "<!-".repeat(1 << 18),
            "&".repeat(1 << 20),
        ] {
            links.push(page.as_bytes(), &mut |href| found.push(href));
            assert!(links.rest.len() < TAG_BYTES);
        }
        links.push(b"> --> <a href=after>", &mut |href| found.push(href));
        assert_eq!(found, ["after"]);
    }

    #[test]
    fn not_utf8() {
        let mut found = Vec::new();
        Links::default().push(b"<a href=\"\xff\"><a href=\"ok\">", &mut |href| found.push(href));
        assert_eq!(found, ["ok"]);
    }
}
