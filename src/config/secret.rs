//! Text that must never be seen.
//!
//! Passwords, tokens and keys travel through the program as a [`Secret`]. Whatever prints it (`{:?}`, JSON) shows three
//! stars, so that no log line, error or `/config` answer can give it away by accident. The one way to the text is
//! [`Secret::expose`], a word that is easy to search for.
//!
//! There is no `Display` on purpose: whoever takes "anything that displays", such as a builder of headers, would send
//! three stars as the password, and that should not compile.

use std::fmt;

use serde::{Serialize, Serializer};

/// A password, token or key. Prints as `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Box<str>);

/// What is printed in the place of a secret.
pub const STARS: &str = "***";

impl Secret {
    /// Takes a text that must not be seen; `None` when it is empty, for an empty secret is a mistake and no secret.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Option<Self> {
        let text = text.into();
        if text.is_empty() { None } else { Some(Self(text)) }
    }

    /// The text itself, to be handed to whoever asks for the password and to nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(STARS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_stars_wherever_it_is_printed() {
        let secret = Secret::new("hunter2").expect("not empty");
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "*** Some(\n    ***,\n)");
        assert_eq!(serde_json::to_string(&secret).expect("json"), "\"***\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn is_never_empty() {
        assert_eq!(Secret::new(""), None);
    }
}
