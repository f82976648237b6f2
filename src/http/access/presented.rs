//! The token in an `Authorization` header: of Bearer, or the password of Basic.
//!
//! Basic is what apk, dnf, yum, zypper and curl send, from the user part of a URL or from a file of theirs; its user is not
//! looked at. Where the password is empty the user is taken: some programs have a field for one word only.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Clients write Basic with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client presents. Has no `Debug`.
pub(super) enum Presented {
    /// No credentials at all: `Basic` of nothing, as clients send that were told of no password.
    Nothing,
    /// This text.
    Token(String),
    /// A header that cannot be understood, and what it should be.
    Unreadable(&'static str),
}

const UNREADABLE: &str = "is not readable: it is to be \"Bearer TOKEN\", or \"Basic\" with the token as password";

/// Looks at the header.
pub(super) fn presented(headers: &HeaderMap) -> Presented {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Presented::Unreadable("is there more than once");
    };
    let Some((scheme, rest)) = line.to_str().ok().and_then(|line| line.trim().split_once(' ')) else {
        return Presented::Unreadable(UNREADABLE);
    };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Presented::Token(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Presented::Unreadable(UNREADABLE);
    }
    let pair = BASE64.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match pair.as_deref().and_then(|pair| pair.split_once(':')) {
        Some(("", "")) => Presented::Nothing,
        Some((user, "")) => Presented::Token(user.to_owned()),
        Some((_, password)) => Presented::Token(password.to_owned()),
        None => Presented::Unreadable(UNREADABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, line.parse().expect("a header"));
        }
        match presented(&headers) {
            Presented::Nothing => Ok(None),
            Presented::Token(text) => Ok(Some(text)),
            Presented::Unreadable(why) => Err(why),
        }
    }

    #[test]
    fn bearer_and_basic() {
        let token = Ok(Some("aa_x:y".to_owned()));
        for line in [
            "Bearer aa_x:y",
            "bearer  aa_x:y ",
            "Basic dXNlcjphYV94Onk=",
            "BASIC dXNlcjphYV94Onk",
            "basic OmFhX3g6eQ==",
        ] {
            assert_eq!(of(&[line]), token, "{line}");
        }
        assert_eq!(of(&["Basic YWFfeDo="]), Ok(Some("aa_x".to_owned())), "a user and no password");
        assert_eq!(of(&["Basic Og=="]), Ok(None));
    }

    #[test]
    fn what_cannot_be_read() {
        for line in
            ["", "Bearer", "Bearer ", "Basic", "Basic dXNlcg==", "Basic !", "Basic /////w==", "Digest x", "aa_x"]
        {
            assert_eq!(of(&[line]), Err(UNREADABLE), "{line}");
        }
        assert_eq!(of(&["Bearer a", "Bearer b"]), Err("is there more than once"));
    }
}
