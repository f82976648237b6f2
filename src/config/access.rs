//! `access:`: the tokens that stand in the configuration.
//!
//! A token is given by its digest (`sha256`), by an environment variable (`token_env`) or by a file of its own
//! (`token_file`), never by its text: remotes.yaml is what people mail to each other. From here on only the digest is kept.
//! A token that is in the configuration works while the catalog is away, and stops working when it is taken out of the
//! file. No message repeats a token or a digest.

use std::collections::BTreeMap;

use super::credentials::Given;
use super::members::Draft;
use super::problem::Place;
use super::reader::{Field, Reader, Table};
use super::secret::Secret;
use super::suggest::closest;
use crate::access::{Grant, GrantSet, Grants, InvalidToken, Scope, ScopedGrants, Token, TokenHash, TokenName};

/// The keys below `access:`.
pub(super) const KEYS: &[&str] = &["tokens"];

/// The keys of a token.
pub(super) const TOKEN_KEYS: &[&str] = &["name", "sha256", "token_env", "token_file", "grants"];

/// A shorter token can be guessed.
const SHORTEST: usize = 16;

/// A token that stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredToken {
    /// What it is called in logs.
    pub name: TokenName,
    /// What it is known by.
    pub hash: TokenHash,
    /// What it allows.
    pub grants: Grants,
}

/// Reads `access:`; what grants are given on must be among the repositories.
pub(super) fn read(field: &Field<'_>, drafts: &[Draft], reader: &mut Reader<'_, '_>) -> Vec<ConfiguredToken> {
    let Some(table) = field.table(reader) else { return Vec::new() };
    table.only(reader, KEYS);
    let Some(elements) = table.read(reader, "tokens", Field::list) else { return Vec::new() };
    let mut seen = Seen::default();
    elements.iter().filter_map(|element| token(element, drafts, &mut seen, reader)).collect()
}

/// Where the names and digests of earlier tokens stand.
#[derive(Default)]
struct Seen {
    names: BTreeMap<TokenName, Place>,
    hashes: Vec<(TokenHash, Place)>,
}

fn token(
    element: &Field<'_>,
    drafts: &[Draft],
    seen: &mut Seen,
    reader: &mut Reader<'_, '_>,
) -> Option<ConfiguredToken> {
    let table = element.table(reader)?;
    table.only(reader, TOKEN_KEYS);
    // Each is read whatever became of the others, so that all that is wrong is said at once.
    let name = name(&table, seen, reader);
    let hash = hash(&table, element, seen, reader);
    let grants = match table.get("grants") {
        Some(field) => grants(field, drafts, reader),
        None => {
            table.missing(reader, "grants", "say what the token allows, as in grants: {\"*\": [read]}");
            None
        }
    };
    Some(ConfiguredToken { name: name?, hash: hash?, grants: grants? })
}

fn name(table: &Table<'_>, seen: &mut Seen, reader: &mut Reader<'_, '_>) -> Option<TokenName> {
    let Some(field) = table.get("name") else {
        table.missing(reader, "name", "logs call whoever presents the token by it");
        return None;
    };
    let name: TokenName = field.text(reader)?.parse().map_err(|why| field.refuse(reader, format!("{why}"))).ok()?;
    if let Some(first) = seen.names.insert(name.clone(), field.place) {
        field.refuse(reader, format!("another token has this name, in line {}; give each its own", first.line));
        return None;
    }
    Some(name)
}

fn hash(table: &Table<'_>, element: &Field<'_>, seen: &mut Seen, reader: &mut Reader<'_, '_>) -> Option<TokenHash> {
    let hash = match (table.get("sha256"), Given::find(table, "token", reader)) {
        (Some(field), None) => {
            let text = field.text(reader)?;
            let hash = text.parse();
            hash.map_err(|why| field.refuse(reader, format!("this {why}"))).ok()?
        }
        (None, Some(given)) => {
            let text = given.value(reader)?;
            if let Some(why) = unfit(&text) {
                given.field().refuse(reader, why);
                return None;
            }
            TokenHash::of(text.expose())
        }
        (Some(_), Some(given)) => {
            let field = given.field();
            reader.report(field.place, &field.key, "given beside sha256; keep one of them");
            return None;
        }
        (None, None) => {
            table.missing(reader, "sha256", "give the token by its sha256, by token_env or by token_file");
            return None;
        }
    };
    if let Some((_, first)) = seen.hashes.iter().find(|(known, _)| *known == hash) {
        let text = format!("is the same token as the one in line {}; give each its own", first.line);
        reader.report(element.place, &element.key, text);
        return None;
    }
    seen.hashes.push((hash, element.place));
    Some(hash)
}

/// Why a text that an operator chose cannot be a token.
fn unfit(text: &Secret) -> Option<String> {
    let text = text.expose();
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some("a token is printable ASCII without spaces".to_owned());
    }
    if text.len() < SHORTEST {
        return Some(format!("this token has fewer than {SHORTEST} characters and can be guessed; take a longer one"));
    }
    match text.parse::<Token>() {
        Err(why @ InvalidToken::Mistyped) => Some(format!("this token {why}")),
        Ok(_) | Err(InvalidToken::Foreign) => None,
    }
}

fn grants(field: &Field<'_>, drafts: &[Draft], reader: &mut Reader<'_, '_>) -> Option<Grants> {
    let table = field.table(reader)?;
    if field.is_empty() {
        field.refuse(reader, "allows nothing; give grants on a repository or on \"*\", or drop the token");
        return None;
    }
    let mut fine = true;
    let mut grants = Grants::default();
    for (name, field) in table.fields() {
        let scope = scope(name, field, drafts, reader);
        let set = set(field, reader);
        match (scope, set) {
            (Some(scope), Some(set)) => grants.add(ScopedGrants { scope, grants: set }),
            _ => fine = false,
        }
    }
    fine.then_some(grants)
}

fn scope(name: &str, field: &Field<'_>, drafts: &[Draft], reader: &mut Reader<'_, '_>) -> Option<Scope> {
    let scope = name.parse().map_err(|why| reader.report(field.place, &field.key, format!("{why}"))).ok()?;
    let names = || drafts.iter().map(|draft| draft.name.as_str());
    match &scope {
        Scope::Repository(named) if !names().any(|known| known == named.as_str()) => {
            let hint = closest(name, names()).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            reader.report(field.place, &field.key, format!("there is no repository {name:?}{hint}"));
            None
        }
        _ => Some(scope),
    }
}

fn set(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<GrantSet> {
    let words = field.texts(reader)?;
    if words.is_empty() {
        field.refuse(reader, "names no grant; there are read, write, delete and admin");
        return None;
    }
    let mut fine = true;
    let mut set = GrantSet::default();
    for (element, word) in words {
        match word.parse::<Grant>() {
            Ok(grant) => set.add(grant),
            Err(why) => {
                element.refuse(reader, why.to_string());
                fine = false;
            }
        }
    }
    fine.then_some(set)
}
