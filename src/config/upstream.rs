//! The keys of a repository that has an upstream: where it is, who we are to it, how long to wait, whom to believe.

use std::time::Duration;

use artifactapi_formats::Format;
use url::Url;

use super::prefetch::Prefetch;
use super::reader::{Field, Reader, Table};
use super::repositories::{Remote, Timeouts, Verify};
use super::{credentials, trust};

/// Reads the keys of `type: remote`. `None` when there is no usable `base_url`.
pub(super) fn read(table: &Table<'_>, format: Option<&dyn Format>, reader: &mut Reader<'_, '_>) -> Option<Remote> {
    let base = match table.get("base_url") {
        Some(field) => url(field, reader),
        None => {
            let text = r#"a remote needs the URL of its upstream, as in base_url: "https://example.com" (or is it type: local?)"#;
            table.missing(reader, "base_url", text);
            None
        }
    };
    let mirrors = table.read(reader, "mirrors", |field, reader| mirrors(field, base.as_ref(), reader));
    let usual = Timeouts::default();
    let timeouts = Timeouts {
        connect: table.read(reader, "connect_timeout", timeout).unwrap_or(usual.connect),
        idle: table.read(reader, "idle_timeout", timeout).unwrap_or(usual.idle),
    };
    let credentials = credentials::read(table, reader);
    let allow_private = table.read(reader, "allow_private_redirects", Field::flag).unwrap_or(false);
    let max_parallel = table.read(reader, "max_parallel", Field::count);
    let allow_rollback = table.read(reader, "allow_rollback", Field::flag).unwrap_or(false);
    let verify = table.read(reader, "verify", verify).unwrap_or_default();
    // Which kind of keys it takes is known with the format only; without one there is a problem anyway.
    let trusted_keys = format
        .and_then(|format| table.read(reader, "trusted_keys", |field, reader| trust::read(field, format, reader)));
    let (mirrors, trusted_keys) = (mirrors.unwrap_or_default(), trusted_keys.unwrap_or_default());
    Some(Remote {
        base: base?,
        mirrors,
        credentials,
        timeouts,
        allow_private,
        max_parallel,
        allow_rollback,
        verify,
        trusted_keys,
        hold: table.read(reader, "hold", Field::duration).filter(|hold| !hold.is_zero()),
        prefetch: table.read(reader, "prefetch", Prefetch::read),
    })
}

fn verify(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Verify> {
    // YAML reads a bare `off` as false.
    if field.is_false() {
        return Some(Verify::Off);
    }
    let word = field.text(reader)?;
    let known = Verify::ALL.into_iter().find(|verify| verify.name() == word);
    if known.is_none() {
        field.refuse(reader, format!("{word:?} is not a way to verify; write one of strict, warn, off"));
    }
    known
}

fn timeout(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Duration> {
    let duration = field.duration(reader)?;
    if duration.is_zero() {
        field.refuse(reader, "0 would give up before trying; leave the key out for the default");
        return None;
    }
    Some(duration)
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
    match parse_url(field.text(reader)?) {
        Ok(url) => Some(url),
        Err(text) => {
            field.refuse(reader, text);
            None
        }
    }
}

/// The messages do not repeat the URL: it may hold a password, which is one of the things that can be wrong with it.
fn parse_url(text: &str) -> Result<Url, String> {
    // The URL standard would silently drop tabs, trim blanks and turn backslashes round.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(
            "holds a blank, a control character or a backslash; write those in a URL as %20 and the like".to_owned()
        );
    }
    let mut url = Url::parse(text)
        .map_err(|why| format!(r#"not a URL ({why}); write it whole, as in "https://example.com/path""#))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "holds a user name or password, and URLs get logged; use the keys username and password instead".to_owned()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds a query or fragment; paths are appended to it, so it must end before '?' and '#'".to_owned());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
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
}
