//! The keys that say where an upstream is: `base_url` with `mirrors`, or a list that names its mirrors.
//!
//! Exactly one of them says it. What comes out cannot say two things, and a list is only taken for a format that has such.

use artifactapi_formats::Format;
use url::Url;

use super::reader::{Field, Reader, Table};

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// Where the operator says.
    Named {
        /// What paths are appended to; its own path ends in a slash.
        base: Url,
        /// Asked in turn when `base` cannot answer; each ends in a slash.
        mirrors: Vec<Url>,
    },
    /// Wherever a list says, whenever it is read.
    Listed(List),
}

/// A list of the mirrors that have a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Where it is; asked for as it stands.
    pub url: Url,
    /// Whether it must say which index is right there: `metalink:`.
    pub is_metalink: bool,
}

impl List {
    /// The key that names it.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        if self.is_metalink { "metalink" } else { "mirrorlist" }
    }
}

/// The keys of which one is wanted.
const KEYS: [&str; 3] = ["base_url", "mirrorlist", "metalink"];

/// Reads them. `None` when none is usable.
pub(super) fn read(table: &Table<'_>, format: Option<&dyn Format>, reader: &mut Reader<'_, '_>) -> Option<Whereabouts> {
    let given: Vec<_> = table.fields().filter(|(name, _)| KEYS.contains(name)).collect();
    let Some(((name, field), others)) = given.split_first() else {
        let text =
            r#"a remote needs the URL of its upstream, as in base_url: "https://example.com" (or is it type: local?)"#;
        table.missing(reader, "base_url", text);
        // What is wrong with the mirrors comes to light all the same.
        table.read(reader, "mirrors", |field, reader| mirrors(field, None, reader));
        return None;
    };
    for (other, field) in others {
        let text = format!(
            "given beside {name}; one of {} says where the upstream is, so drop {other} or {name}",
            KEYS.join(", ")
        );
        reader.report(field.place, &field.key, text);
    }
    if *name == "base_url" {
        let base = url(field, reader);
        let mirrors = table.read(reader, "mirrors", |field, reader| mirrors(field, base.as_ref(), reader));
        return Some(Whereabouts::Named { base: base?, mirrors: mirrors.unwrap_or_default() });
    }
    if let Some(format) = format.filter(|format| format.mirrors().is_none()) {
        let text =
            format!("package: {} has no lists of mirrors; name the upstream with base_url and mirrors", format.name());
        reader.report(field.place, &field.key, text);
    }
    if let Some(field) = table.get("mirrors") {
        let text = format!("goes with base_url; the list that {name} names has the mirrors, so drop the key");
        reader.report(field.place, &field.key, text);
    }
    let url = parsed(field, parse_list_url, reader)?;
    Some(Whereabouts::Listed(List { url, is_metalink: *name == "metalink" }))
}

fn mirrors(field: &Field<'_>, base: Option<&Url>, reader: &mut Reader<'_, '_>) -> Option<Vec<Url>> {
    let mut mirrors = Vec::new();
    for element in field.list(reader)? {
        let Some(mirror) = url(&element, reader) else {
            continue;
        };
        if Some(&mirror) == base || mirrors.contains(&mirror) {
            element.refuse(reader, "named before; each upstream is tried once, so name it once");
        }
        mirrors.push(mirror);
    }
    Some(mirrors)
}

/// A URL that paths can be appended to: its own path ends in a slash.
fn url(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Url> {
    parsed(field, parse_url, reader)
}

fn parsed(field: &Field<'_>, parse: impl Fn(&str) -> Result<Url, String>, reader: &mut Reader<'_, '_>) -> Option<Url> {
    match parse(field.text(reader)?) {
        Ok(url) => Some(url),
        Err(text) => {
            field.refuse(reader, text);
            None
        }
    }
}

/// A URL that paths can be appended to.
fn parse_url(text: &str) -> Result<Url, String> {
    let mut url = parse_whole(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds a query or fragment; paths are appended to it, so it must end before '?' and '#'".to_owned());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// The URL of a list: it is asked for as it stands, so a query belongs to it.
fn parse_list_url(text: &str) -> Result<Url, String> {
    let url = parse_whole(text)?;
    if url.fragment().is_some() {
        return Err("holds a fragment, which no server is sent; write it without '#' and what follows".to_owned());
    }
    // Clients put their own architecture and release there. We have none.
    if text.contains('$') {
        return Err(
            "holds a variable such as $basearch, which only clients can fill in; write what it stands for, and a \
             repository for each"
                .to_owned(),
        );
    }
    Ok(url)
}

/// The messages do not repeat the URL: it may hold a password, which is one of the things that can be wrong with it.
fn parse_whole(text: &str) -> Result<Url, String> {
    // The URL standard would silently drop tabs, trim blanks and turn backslashes round.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(
            "holds a blank, a control character or a backslash; write those in a URL as %20 and the like".to_owned()
        );
    }
    let url = Url::parse(text)
        .map_err(|why| format!(r#"not a URL ({why}); write it whole, as in "https://example.com/path""#))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "holds a user name or password, and URLs get logged; use the keys username and password instead".to_owned()
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_end_in_a_slash() {
        let table = [
            ("https://github.com", "https://github.com/"),
            ("https://github.com/", "https://github.com/"),
            ("http://mirror.example:8080/pub/almalinux", "http://mirror.example:8080/pub/almalinux/"),
            ("HTTPS://Example.COM:443/A%20b", "https://example.com/A%20b/"),
            ("http://[::1]:81/x/", "http://[::1]:81/x/"),
            ("https://bücher.example", "https://xn--bcher-kva.example/"),
        ];
        for (text, expected) in table {
            assert_eq!(parse_url(text).map(String::from).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_list_is_asked_for_as_it_stands() {
        let list = "https://mirrors.example/metalink?repo=epel-9&arch=x86_64";
        assert_eq!(parse_list_url(list).map(String::from).as_deref(), Ok(list));
    }
}
