//! The keys that the indexes of a local repository are signed with: `signing_keys`.
//!
//! Each entry is the path of a private key, relative to the configuration's folder, or says where it comes from: `file` or
//! `env`, and for apk by which `name` clients keep its public half and what its `signature` is over. Key files are watched
//! like the configuration, so keys are rotated without a restart. No message repeats a key.

use std::path::Path;

use artifactapi_formats::{Format, KeyKind, Limits, OpenPgpKey, RsaDigest, RsaKey, SigningKey, SigningKeys};

use super::reader::{Field, Reader, Table};
use super::secret::Secret;
use super::suggest::closest;

/// The keys of an entry.
pub(super) const KEYS: &[&str] = &["file", "env", "name", "signature"];

/// What public keys for apk are called.
pub(super) const SUFFIX: &str = ".rsa.pub";

/// Reads the list, for a repository of this format.
pub(super) fn read(field: &Field<'_>, format: &dyn Format, reader: &mut Reader<'_, '_>) -> Option<SigningKeys> {
    let entries = field.list(reader)?;
    let Some(kind) = format.index().and_then(artifactapi_formats::IndexFormat::key_kind) else {
        let text = format!("is for formats whose indexes are signed, and {} has none; drop the key", format.name());
        reader.report(field.place, &field.key, text);
        return None;
    };
    let mut keys = SigningKeys::default();
    let mut fine = true;
    for entry in &entries {
        fine &= add(&mut keys, entry, kind, reader);
    }
    fine.then_some(keys)
}

fn add(keys: &mut SigningKeys, entry: &Field<'_>, kind: KeyKind, reader: &mut Reader<'_, '_>) -> bool {
    let Some(given) = given(entry, reader) else { return false };
    let read = match kind {
        KeyKind::PublicKey => {
            RsaKey::read(&given.name, given.signature, given.secret.expose().as_bytes()).map(SigningKey::from)
        }
        KeyKind::Certificate => {
            OpenPgpKey::read(given.secret.expose().as_bytes(), &Limits::default()).map(SigningKey::from)
        }
    };
    let added = read.and_then(|key| keys.add(key));
    added.map_err(|why| entry.refuse(reader, format!("the key {:?} {why}", given.name))).is_ok()
}

/// A key as an entry gives it.
struct Given {
    name: String,
    signature: RsaDigest,
    secret: Secret,
}

fn given(entry: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Given> {
    if entry.is_table() {
        let table = entry.table(reader)?;
        return of_table(entry, &table, reader);
    }
    let path = entry.text(reader)?;
    let secret = from_file(entry, path, reader)?;
    Some(Given { name: public_name(path), signature: RsaDigest::default(), secret })
}

fn of_table(entry: &Field<'_>, table: &Table<'_>, reader: &mut Reader<'_, '_>) -> Option<Given> {
    table.only(reader, KEYS);
    let name = table.read(reader, "name", Field::text);
    let signature = table.read(reader, "signature", signature).unwrap_or_default();
    match (table.read(reader, "file", Field::text), table.read(reader, "env", Field::text)) {
        (Some(path), None) => {
            let secret = from_file(entry, path, reader)?;
            Some(Given { name: name.map_or_else(|| public_name(path), str::to_owned), signature, secret })
        }
        (None, Some(variable)) => {
            says_where(entry, variable, reader)?;
            let Some(value) = (reader.outside.environment)(variable) else {
                entry.refuse(reader, format!("the environment variable {variable} is not set"));
                return None;
            };
            Some(Given {
                name: name.map_or_else(|| public_name(variable), str::to_owned),
                signature,
                secret: secret(entry, variable, value, reader)?,
            })
        }
        _ => {
            entry.refuse(reader, "says not where the key is; write one of file and env");
            None
        }
    }
}

fn from_file(entry: &Field<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Secret> {
    says_where(entry, path, reader)?;
    let read = (reader.outside.read_file)(Path::new(path));
    let text = read.map_err(|error| error.to_string());
    let text = text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is no text".to_owned()));
    let text = text.map_err(|why| entry.refuse(reader, format!("cannot read {path:?}: {why}"))).ok()?;
    secret(entry, path, text, reader)
}

/// Refuses a key in the place of what says where it is: whatever else were said about that would show it.
fn says_where(entry: &Field<'_>, text: &str, reader: &mut Reader<'_, '_>) -> Option<()> {
    if text.contains("-----BEGIN") {
        let why = "is a key itself, which whoever reads this file would know; write it to a file of its own and the path here";
        entry.refuse(reader, why.to_owned());
        return None;
    }
    Some(())
}

fn secret(entry: &Field<'_>, from: &str, text: String, reader: &mut Reader<'_, '_>) -> Option<Secret> {
    let secret = Secret::new(text);
    if secret.is_none() {
        entry.refuse(reader, format!("{from:?} is empty"));
    }
    secret
}

/// What clients call the public half of a private key in a file of that name: `ci.rsa` has `ci.rsa.pub`.
fn public_name(path: &str) -> String {
    let file = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path);
    let stem = [".rsa", ".pem", ".key"].iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or(file);
    format!("{stem}{SUFFIX}")
}

fn signature(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<RsaDigest> {
    const WORDS: [(&str, RsaDigest); 2] = [("rsa", RsaDigest::Sha1), ("rsa256", RsaDigest::Sha256)];
    let word = field.text(reader)?;
    let found = WORDS.iter().find(|(known, _)| *known == word);
    if found.is_none() {
        let meant = closest(word, WORDS.iter().map(|(known, _)| *known));
        let hint = meant.map_or_else(|| "write rsa or rsa256".to_owned(), |meant| format!("did you mean {meant}?"));
        field.refuse(reader, format!("{word:?} is no kind of signature; {hint}"));
    }
    found.map(|(_, signature)| *signature)
}
