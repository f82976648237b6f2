//! Who we are to an upstream: `username` with `password`, or `token`.
//!
//! Each of the three can stand in the file itself, in an environment variable (`password_env: NAME`) or in a file of its
//! own (`password_file: path`, relative to the configuration's folder), which is how Kubernetes and Docker hand out
//! secrets. No message here repeats a value.

use std::io;
use std::path::Path;

use super::reader::{Field, Reader, Table};
use super::repositories::Credentials;
use super::secret::Secret;

/// The keys that belong together, in the order in which they are named to people.
pub(super) const KEYS: &[&str] = &[
    "username",
    "username_env",
    "username_file",
    "password",
    "password_env",
    "password_file",
    "token",
    "token_env",
    "token_file",
];

/// Reads the credentials of a remote.
pub(super) fn read(table: &Table<'_>, reader: &mut Reader<'_, '_>) -> Option<Credentials> {
    let username = Given::find(table, "username", reader);
    let password = Given::find(table, "password", reader);
    let token = Given::find(table, "token", reader);
    match (username, password, token) {
        (None, None, None) => None,
        (Some(username), Some(password), None) => {
            let name = username.value(reader).filter(|name| username.check(reader, name, is_username, USERNAME));
            let word = password.value(reader).filter(|word| password.check(reader, word, is_password, PASSWORD));
            Some(Credentials::Basic { username: name?, password: word? })
        }
        (None, None, Some(token)) => {
            let value = token.value(reader).filter(|value| token.check(reader, value, is_token, TOKEN));
            value.map(Credentials::Bearer)
        }
        (Some(_), None, None) => {
            table.missing(reader, "password", "username is given; add password, password_env or password_file");
            None
        }
        (None, Some(_), None) => {
            table.missing(reader, "username", "password is given; add username, username_env or username_file");
            None
        }
        (_, _, Some(token)) => {
            let text =
                "given beside username or password; an upstream takes one of them, so keep the token or the pair";
            reader.report(token.field.place, &token.field.key, text);
            None
        }
    }
}

const USERNAME: &str = "a user name holds no colon and no control character";
const PASSWORD: &str = "a password holds no control character such as a line feed";
const TOKEN: &str = "a token is printable ASCII without spaces";

fn is_username(text: &str) -> bool {
    !text.contains(|c: char| c == ':' || c.is_control())
}

fn is_password(text: &str) -> bool {
    !text.contains(char::is_control)
}

fn is_token(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

/// A secret that the file gives in one of the three ways.
pub(super) struct Given<'t, 'n> {
    field: &'t Field<'n>,
    from: From,
}

enum From {
    Here,
    Environment,
    File,
}

impl<'t, 'n> Given<'t, 'n> {
    /// Finds it under `name`, `{name}_env` or `{name}_file`.
    pub(super) fn find(table: &'t Table<'n>, name: &str, reader: &mut Reader<'_, '_>) -> Option<Self> {
        let ways = [("", From::Here), ("_env", From::Environment), ("_file", From::File)];
        let mut found: Option<Self> = None;
        for (suffix, from) in ways {
            let Some(field) = table.get(&format!("{name}{suffix}")) else {
                continue;
            };
            if let Some(first) = &found {
                let text = format!("given beside {}; keep one of them", first.field.key);
                reader.report(field.place, &field.key, text);
            } else {
                found = Some(Self { field, from });
            }
        }
        found
    }

    /// The key that gives it.
    pub(super) const fn field(&self) -> &'t Field<'n> {
        self.field
    }

    /// The secret itself.
    pub(super) fn value(&self, reader: &mut Reader<'_, '_>) -> Option<Secret> {
        let text = self.field.text(reader)?;
        let value = match self.from {
            From::Here => Ok(text.to_owned()),
            From::Environment => (reader.outside.environment)(text)
                .ok_or_else(|| format!("the environment variable {text:?} is not set")),
            From::File => {
                let content = (reader.outside.read_file)(Path::new(text)).and_then(line_of);
                content.map_err(|error| format!("cannot read {text:?}: {error}"))
            }
        };
        match value.map(Secret::new) {
            Ok(Some(secret)) => Some(secret),
            Ok(None) => {
                self.field.refuse(reader, "gives an empty text; a secret has at least one character");
                None
            }
            Err(text) => {
                self.field.refuse(reader, text);
                None
            }
        }
    }

    fn check(&self, reader: &mut Reader<'_, '_>, value: &Secret, rule: fn(&str) -> bool, why: &str) -> bool {
        let fine = rule(value.expose());
        if !fine {
            self.field.refuse(reader, why);
        }
        fine
    }
}

/// The text of a file, without the line end that editors and `echo` put after it.
fn line_of(bytes: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
