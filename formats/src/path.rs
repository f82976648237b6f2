//! The path below a repository, valid by construction.
//!
//! Clients spell one path in several ways: dnf asks for `a%2bb.rpm`, curl for `a+b.rpm`, apk for `x-1.0%7eabc-r1.apk`
//! (FORMATS 1.1, 3.9). A [`RepoPath`] is the *decoded* path: percent-decoded exactly once, then checked. Whatever holds
//! one may use it as a cache key, a storage key or part of an upstream URL without thinking about escapes again.
//!
//! It never holds a NUL or another control character, an empty, `.` or `..` segment, a leading slash or a backslash, and
//! never more than [`RepoPath::MAX_BYTES`] bytes. A trailing slash is kept: it names a directory listing.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What stays literal when a path is put into a URL: unreserved and sub-delims, `:`, `@` and `/` (RFC 3986 section 3.3).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A decoded, checked path below a repository. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoPath(Arc<str>);

/// Why a string is not a [`RepoPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// Nothing is left once the repository's name is taken off.
    #[error("the path is empty")]
    Empty,
    /// Longer than [`RepoPath::MAX_BYTES`].
    #[error("the path is longer than {} bytes", RepoPath::MAX_BYTES)]
    TooLong,
    /// NUL, line feed and other characters below 32, or DEL.
    #[error("the path holds a control character")]
    Control,
    /// `%2f`: one segment may not become two by decoding.
    #[error("the path holds an encoded slash")]
    EncodedSlash,
    /// A backslash, literal or encoded: some stores and clients take it for a separator.
    #[error("the path holds a backslash")]
    Backslash,
    /// Two slashes in a row, or a slash at the start.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// `.` or `..`, literal or encoded.
    #[error("the path holds a '.' or '..' segment")]
    DotSegment,
    /// The decoded bytes are not UTF-8.
    #[error("the decoded path is not UTF-8")]
    NotUtf8,
    /// `%` that two hexadecimal digits do not follow.
    #[error("the path holds a '%' that is not followed by two hexadecimal digits")]
    BadEscape,
}

impl RepoPath {
    /// The longest path taken, in bytes after decoding. S3 keys end at 1,024 bytes; the prefix needs some of them.
    pub const MAX_BYTES: usize = 900;

    /// Decodes the path part of a request target once, then checks it.
    ///
    /// # Errors
    /// [`InvalidPath`] names the first rule the path breaks.
    pub fn decode(raw: &str) -> Result<Self, InvalidPath> {
        if raw.len() > Self::MAX_BYTES * 3 {
            return Err(InvalidPath::TooLong);
        }
        let bytes = raw.as_bytes();
        let mut at = 0;
        while let Some(offset) = bytes.get(at..).and_then(|rest| rest.iter().position(|&b| b == b'%')) {
            let escape = at + offset;
            let digits = bytes.get(escape + 1..escape + 3).ok_or(InvalidPath::BadEscape)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(InvalidPath::BadEscape);
            }
            if digits.eq_ignore_ascii_case(b"2f") {
                return Err(InvalidPath::EncodedSlash);
            }
            at = escape + 3;
        }
        let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| InvalidPath::NotUtf8)?;
        Self::new(&decoded)
    }

    /// Checks a path that needs no decoding, such as an `href` of an index or a path in a configuration.
    ///
    /// # Errors
    /// [`InvalidPath`] names the first rule the path breaks.
    pub fn new(decoded: &str) -> Result<Self, InvalidPath> {
        if decoded.is_empty() {
            return Err(InvalidPath::Empty);
        }
        if decoded.len() > Self::MAX_BYTES {
            return Err(InvalidPath::TooLong);
        }
        if decoded.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(InvalidPath::Control);
        }
        if decoded.contains('\\') {
            return Err(InvalidPath::Backslash);
        }
        let segments = decoded.strip_suffix('/').unwrap_or(decoded);
        for segment in segments.split('/') {
            match segment {
                "" => return Err(InvalidPath::EmptySegment),
                "." | ".." => return Err(InvalidPath::DotSegment),
                _ => {}
            }
        }
        Ok(Self(Arc::from(decoded)))
    }

    /// The decoded path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment, without a trailing slash.
    #[must_use]
    pub fn file_name(&self) -> &str {
        let path = self.0.strip_suffix('/').unwrap_or(&self.0);
        path.rsplit_once('/').map_or(path, |(_, name)| name)
    }

    /// The folder that holds the file, without a trailing slash; `""` at the top.
    #[must_use]
    pub fn folder(&self) -> &str {
        let path = self.0.strip_suffix('/').unwrap_or(&self.0);
        path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Whether the path names a directory (it ends in a slash).
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.0.ends_with('/')
    }

    /// The path below `folder` (`""` for the top) named `relative`.
    ///
    /// # Errors
    /// [`InvalidPath`], as for [`RepoPath::new`]: an index cannot name a file outside its repository.
    pub fn join(folder: &str, relative: &str) -> Result<Self, InvalidPath> {
        match folder {
            "" => Self::new(relative),
            folder => Self::new(&format!("{folder}/{relative}")),
        }
    }

    /// The path as it goes into a URL: `~` and `+` stay literal (FORMATS 1.1), everything that must be escaped is.
    #[must_use]
    pub fn to_url_path(&self) -> String {
        utf8_percent_encode(&self.0, PATH).to_string()
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for RepoPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RepoPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_spelling() {
        let spellings = ["p/a+b-1.0~rc^1.rpm", "p/a%2bb-1.0%7erc%5e1.rpm", "p/a%2Bb-1.0%7Erc%5E1.rpm"];
        for spelling in spellings {
            let path = RepoPath::decode(spelling).expect(spelling);
            assert_eq!(path.as_str(), "p/a+b-1.0~rc^1.rpm");
            assert_eq!(path.to_url_path(), "p/a+b-1.0~rc%5E1.rpm");
        }
    }

    #[test]
    fn decodes_once() {
        assert_eq!(RepoPath::decode("a%252fb").map(|p| p.to_string()), Ok("a%2fb".into()));
    }

    #[test]
    fn refuses_what_could_escape() {
        use InvalidPath::*;
        let table = [
            ("", Empty),
            ("/a", EmptySegment),
            ("a//b", EmptySegment),
            ("a/../b", DotSegment),
            ("a/%2e%2e/b", DotSegment),
            ("./a", DotSegment),
            ("a/..", DotSegment),
            ("a/../", DotSegment),
            ("a%2fb", EncodedSlash),
            ("a%2Fb", EncodedSlash),
            ("a%00b", Control),
            ("a%0ab", Control),
            ("a%5cb", Backslash),
            ("a%", BadEscape),
            ("a%4", BadEscape),
            ("a%zz", BadEscape),
            ("a%ff", NotUtf8),
            ("/", EmptySegment),
        ];
        for (raw, why) in table {
            assert_eq!(RepoPath::decode(raw), Err(why), "{raw:?}");
        }
        assert_eq!(RepoPath::decode(&"a".repeat(901)), Err(TooLong));
        assert_eq!(RepoPath::decode(&"%41".repeat(901)), Err(TooLong));
    }

    #[test]
    fn parts() {
        let path = RepoPath::new("v3.22/main/x86_64/a.apk").expect("valid");
        assert_eq!((path.folder(), path.file_name()), ("v3.22/main/x86_64", "a.apk"));
        let top = RepoPath::new("mirrorlist").expect("valid");
        assert_eq!((top.folder(), top.file_name()), ("", "mirrorlist"));
        let listing = RepoPath::new("a/b/").expect("valid");
        assert!(listing.is_directory());
        assert_eq!((listing.folder(), listing.file_name()), ("a", "b"));
    }
}
