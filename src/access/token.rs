//! A token: random, shown once, known afterwards by its digest alone.
//!
//! Its text is `aa_` and 48 characters of base64url: 256 random bits and 32 that depend on them. The latter protect
//! nothing; they tell a slip of the finger, or of whoever cut the text out of a terminal, from a token that was revoked, and
//! spare the catalog the question. The digest is a plain SHA-256: nobody can try 2²⁵⁶ texts, so it need not be slow, and it is
//! looked up on every request.
//!
//! Operators may choose the texts of tokens that stand in the configuration or the environment; those are never a [`Token`],
//! only a [`TokenHash`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use artifactapi_formats::Sha256;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

/// Random bytes.
const SECRET: usize = 32;

/// Bytes that are computed from them.
const CHECK: usize = 4;

/// The text of a token.
#[derive(Clone)]
pub struct Token(Box<str>);

/// Why a text is not a [`Token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Something else altogether.
    #[error("is not a token of this server; those begin with {}", Token::PREFIX)]
    Foreign,
    /// It was one once.
    #[error("was mistyped or cut short; copy the whole of it again")]
    Mistyped,
}

impl Token {
    /// What every token begins with, so that scanners for leaked secrets find it.
    pub const PREFIX: &str = "aa_";

    /// A token that nobody has seen.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret)?;
        Ok(Self::of(secret))
    }

    fn of(secret: [u8; SECRET]) -> Self {
        let whole = [&secret[..], &check(&secret)].concat();
        Self(format!("{}{}", Self::PREFIX, BASE64_URL_SAFE_NO_PAD.encode(whole)).into())
    }

    /// The text itself: to be shown to whoever asked for a token, once, and to nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What it is known by.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

/// Another digest than the one that is stored: this one is half known to whoever sees a piece of the token.
fn check(secret: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::of(&[b"artifactapi token\0", secret].concat());
    let mut check = [0; CHECK];
    check.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    check
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let rest = text.strip_prefix(Self::PREFIX).ok_or(InvalidToken::Foreign)?;
        let whole = BASE64_URL_SAFE_NO_PAD.decode(rest).map_err(|_| InvalidToken::Mistyped)?;
        let (secret, checked) = whole.split_at_checked(SECRET).ok_or(InvalidToken::Mistyped)?;
        if checked == check(secret) { Ok(Self(text.into())) } else { Err(InvalidToken::Mistyped) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// SHA-256 of a token's text, be it a [`Token`]'s or one that an operator chose. Shown to nobody: words that people choose
/// can be tried against it. Compares in constant time.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// Why a text is not a [`TokenHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a SHA-256 in 64 hexadecimal digits; printf %s TOKEN | sha256sum prints it")]
pub struct InvalidHash;

impl TokenHash {
    /// Of the text of a token.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(*Sha256::of(text.as_bytes()).as_bytes())
    }

    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the catalog.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for TokenHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        text.parse::<Sha256>().map(|digest| Self(*digest.as_bytes())).map_err(|_| InvalidHash)
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The number of a token in the catalog. Never given twice, so that a line of the log means one token for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub i64);

/// What people call a token: it stands in the log for whoever uses it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenName(Arc<str>);

/// Why a text is not a [`TokenName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token's name has 1 to {} characters, letters, digits, '.', '_', '-' and '@', begins with a letter or digit, and not with {}",
    TokenName::MAX_BYTES,
    Token::PREFIX
)]
pub struct InvalidTokenName;

impl TokenName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Of the token that the first start makes.
    #[must_use]
    pub fn of_first_start() -> Self {
        Self("admin".into())
    }

    /// Of the token in the environment: its variable's.
    #[must_use]
    pub fn of_environment() -> Self {
        Self("ARTIFACTAPI_ADMIN_TOKEN".into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(name: &str) -> Result<Self, InvalidTokenName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@');
        let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        // Who pastes the token where its name belongs would see it in every line of the log.
        let fine = starts_well
            && name.len() <= Self::MAX_BYTES
            && name.bytes().all(allowed)
            && !name.starts_with(Token::PREFIX);
        if fine { Ok(Self(name.into())) } else { Err(InvalidTokenName) }
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_and_is_like_no_other() {
        let (one, other) = (Token::random().expect("random"), Token::random().expect("random"));
        assert_ne!(one.hash(), other.hash());
        let text = one.expose();
        assert_eq!(text.len(), 51);
        let again: Token = text.parse().expect("a token");
        assert_eq!(again.hash(), one.hash());
        assert_eq!(again.hash(), TokenHash::of(text));
        assert_eq!(format!("{one:?} {:?}", one.hash()), "*** ***");
    }

    #[test]
    fn slips_are_told() {
        let token = Token::of([7; SECRET]);
        let text = token.expose();
        for at in Token::PREFIX.len()..text.len() {
            let other = if text.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mut typed = text.to_owned();
            typed.replace_range(at..=at, other);
            assert_eq!(typed.parse::<Token>().expect_err(&typed), InvalidToken::Mistyped);
            assert_eq!(text[..at].parse::<Token>().expect_err("cut"), InvalidToken::Mistyped);
        }
        for foreign in ["", "hunter2", "AA_x", "ghp_0123456789"] {
            assert_eq!(foreign.parse::<Token>().expect_err(foreign), InvalidToken::Foreign);
        }
    }

    #[test]
    fn hashes_are_written_as_sha256sum_does() {
        let hash = TokenHash::of("hunter2");
        let hex = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        assert_eq!(hex.parse::<TokenHash>(), Ok(hash));
        assert_eq!("f52f".parse::<TokenHash>(), Err(InvalidHash));
    }

    #[test]
    fn names() {
        for name in ["ci", "build-7", "jane@example.org", &"a".repeat(64)] {
            assert_eq!(name.parse::<TokenName>().expect(name).as_str(), name);
        }
        let token = Token::of([7; SECRET]);
        for name in ["", "-x", "a b", "a/b", "ü", &"a".repeat(65), token.expose()] {
            assert!(name.parse::<TokenName>().is_err(), "{name}");
        }
    }
}
