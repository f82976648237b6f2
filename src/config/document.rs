//! From the tree of remotes.yaml to [`Repositories`].
//!
//! One table says which keys there are and to which types of repository they belong; the functions below it read them.
//! Reading goes on after a problem, so that one look at the messages mends the whole file.

use std::sync::Arc;

use artifactapi_formats::{Format, Formats};

use super::members::{self, Draft};
use super::patterns::{PatternSet, Patterns};
use super::problem::Problem;
use super::reader::{Field, Outside, Reader, Table};
use super::repositories::{CachePolicy, FileTtl, Kind, Repositories, Repository};
use super::suggest::closest;
use super::{access, credentials, effects, local, proxy, upstream, view, virtuals, yaml};
use crate::store::key::RepositoryName;

/// The words that `type:` takes.
const TYPES: &[&str] = &["remote", "local", "virtual"];

/// The keys of a repository, and the types that they are for. Those of the credentials and of the proxy are for remotes.
const KEYS: &[(&str, &[&str])] = &[
    ("type", TYPES),
    ("package", TYPES),
    ("description", TYPES),
    ("include_patterns", TYPES),
    ("exclude_patterns", TYPES),
    ("anonymous_read", TYPES),
    ("cache", TYPES),
    ("base_url", &["remote"]),
    ("mirrors", &["remote"]),
    ("mirrorlist", &["remote"]),
    ("metalink", &["remote"]),
    ("connect_timeout", &["remote"]),
    ("idle_timeout", &["remote"]),
    ("allow_private_redirects", &["remote"]),
    ("max_parallel", &["remote"]),
    ("allow_rollback", &["remote"]),
    ("verify", &["remote"]),
    ("hold", &["remote"]),
    ("trusted_keys", &["remote"]),
    ("prefetch", &["remote"]),
    ("overwrite", &["local"]),
    ("root_depth", &["local"]),
    ("max_file_bytes", &["local"]),
    ("quota", &["local"]),
    ("compression", &["local"]),
    ("signing_keys", &["local", "virtual"]),
    ("retired_keys", &["local", "virtual"]),
    ("members", &["virtual"]),
    ("deploy_to", &["virtual"]),
];

/// The keys below `cache:`.
const CACHE_KEYS: &[&str] =
    &["file_ttl", "index_ttl", "negative_ttl", "refresh_wait", "pin", "snapshot_keep", "max_bytes"];

/// Those of them that say nothing about a repository which keeps indexes only.
const NOT_OF_INDEXES: &[&str] = &["file_ttl", "negative_ttl", "max_bytes"];

fn repository_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key).chain(credentials::KEYS.iter().chain(proxy::KEYS).copied())
}

/// Every key that there is, for the test of the reference.
#[cfg(test)]
pub(super) fn known_keys() -> impl Iterator<Item = &'static str> {
    let of_access = access::KEYS.iter().chain(access::TOKEN_KEYS).copied();
    let of_prefetch = super::prefetch::KEYS.iter().copied();
    repository_keys()
        .chain(CACHE_KEYS.iter().copied())
        .chain(of_prefetch)
        .chain(of_access)
        .chain(super::signing::KEYS.iter().copied())
}

/// Reads the text of a remotes.yaml; if anything is wrong with it, everything that is.
pub(super) fn read(text: &str, formats: Formats, outside: &mut Outside<'_>) -> Result<Repositories, Vec<Problem>> {
    let tree = yaml::parse(text).map_err(|problem| vec![problem])?;
    let mut reader = Reader { formats, outside, problems: Vec::new() };
    let top = Field::top(&tree);
    let table = if top.is_empty() { None } else { top.table(&mut reader) };
    let drafts = repositories(&top, table.as_ref(), &mut reader);
    members::check(&drafts, &mut reader);
    let given = table.as_ref().and_then(|table| table.get("access"));
    let tokens = given.map(|field| access::read(field, &drafts, &mut reader)).unwrap_or_default();
    let mut problems = reader.problems;
    if !problems.is_empty() {
        problems.sort();
        return Err(problems);
    }
    let by_name = members::join(drafts);
    let digest = view::digest(by_name.values().map(|repository: &Arc<Repository>| &**repository), &tokens);
    Ok(Repositories { by_name, tokens, generation: 0, digest })
}

fn repositories(top: &Field<'_>, table: Option<&Table<'_>>, reader: &mut Reader<'_, '_>) -> Vec<Draft> {
    const WANTED: &str = "write remotes: and the repositories below it (remotes: {} for none)";
    if top.is_empty() {
        top.refuse(reader, format!("the file is empty; {WANTED}"));
        return Vec::new();
    }
    let Some(table) = table else {
        return Vec::new();
    };
    table.only(reader, &["remotes", "access"]);
    let Some(remotes) = table.get("remotes") else {
        reader.report(top.place, "remotes", format!("missing; {WANTED}"));
        return Vec::new();
    };
    let Some(remotes) = remotes.table(reader) else {
        return Vec::new();
    };
    remotes.fields().filter_map(|(name, field)| draft(name, field, reader)).collect()
}

/// Reads one repository. `None` when not even its name is one.
fn draft(name: &str, field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Draft> {
    let name: Option<RepositoryName> =
        name.parse().map_err(|why| reader.report(field.place, &field.key, format!("{why}"))).ok();
    let Some(table) = field.table(reader) else {
        return name.map(|name| Draft {
            name,
            format: None,
            r#type: None,
            members: Vec::new(),
            deploy_to: None,
            said_of_reading: None,
            repository: None,
        });
    };
    let word = type_of(&table, reader);
    keys(&table, word, reader);
    let format = package(&table, reader);
    let is_of_type = |key: &str| word.is_none_or(|word| types_of(key).contains(&word));
    effects::check(&table, format, is_of_type, reader);
    let description = table.read(reader, "description", Field::text).map(str::to_owned);
    let include = table.read(reader, "include_patterns", patterns);
    let exclude = table.read(reader, "exclude_patterns", patterns);
    let cache = table
        .read(reader, "cache", Field::table)
        .map_or_else(CachePolicy::default, |table| cache(&table, word, reader));
    // One that cannot be read has been reported, and counts as said.
    let said_of_reading = table.get("anonymous_read").map(|field| field.flag(reader).unwrap_or(true));
    let (mut members, mut deploy_to) = (Vec::new(), None);
    let kind = match word {
        Some("remote") => upstream::read(&table, format, reader).map(|remote| Kind::Remote(Arc::new(remote))),
        Some("local") => Some(Kind::Local(Box::new(local::read(&table, format, reader)))),
        Some("virtual") => {
            (members, deploy_to) = (virtuals::members(&table, reader), virtuals::deploy_to(&table, reader));
            Some(Kind::Virtual(Box::new(virtuals::read(&table, format, reader))))
        }
        _ => None,
    };
    let name = name?;
    let repository = || {
        let patterns = Patterns::new(include, exclude);
        let anonymous_read = said_of_reading.unwrap_or(true);
        Some(Repository {
            name: name.clone(),
            format: format?,
            description,
            kind: kind?,
            patterns,
            anonymous_read,
            cache,
        })
    };
    let repository = repository();
    let format = format.map(Format::name);
    Some(Draft { name, format, r#type: word, members, deploy_to, said_of_reading, repository })
}

/// The word in `type:`; a repository that does not say is a remote.
fn type_of(table: &Table<'_>, reader: &mut Reader<'_, '_>) -> Option<&'static str> {
    let Some(field) = table.get("type") else {
        return Some("remote");
    };
    let word = field.text(reader)?;
    let known = TYPES.iter().copied().find(|known| *known == word);
    if known.is_none() {
        field.refuse(reader, unknown(word, "type", TYPES));
    }
    known
}

/// The types of repositories that a key is for.
fn types_of(name: &str) -> &'static [&'static str] {
    KEYS.iter().find(|(key, _)| *key == name).map_or(&["remote"], |(_, types)| types)
}

/// Reports unknown keys, and known ones that say nothing about a repository of this type.
fn keys(table: &Table<'_>, word: Option<&str>, reader: &mut Reader<'_, '_>) {
    let known: Vec<_> = repository_keys().collect();
    let is_fitting = |name: &str| word.is_none_or(|word| types_of(name).contains(&word));
    let fitting: Vec<_> = known.iter().copied().filter(|name| is_fitting(name)).collect();
    table.only_of(reader, &known, &fitting, |name| {
        CACHE_KEYS.contains(&name).then_some("belongs below cache:, not beside it; indent it there")
    });
    let Some(word) = word else { return };
    for (name, field) in table.fields() {
        let types = types_of(name);
        if known.contains(name) && !types.contains(&word) {
            let text = format!(
                "is for type: {}, and this repository is type: {word}; drop the key or change the type",
                types.join(" and ")
            );
            reader.report(field.place, &field.key, text);
        }
    }
}

/// The format that `package:` selects. Not guessed when absent: a package repository read as plain files would keep its
/// indexes for ever.
fn package(table: &Table<'_>, reader: &mut Reader<'_, '_>) -> Option<&'static dyn Format> {
    let names: Vec<_> = reader.formats.names().collect();
    let Some(field) = table.get("package") else {
        table.missing(reader, "package", &format!("write one of {}", names.join(", ")));
        return None;
    };
    let word = field.text(reader)?;
    let format = reader.formats.find(word);
    if format.is_none() {
        field.refuse(reader, unknown(word, "package", &names));
    }
    format
}

fn unknown(word: &str, what: &str, known: &[&str]) -> String {
    let choice = format!("write one of {}", known.join(", "));
    let hint = closest(word, known.iter().copied()).map_or(choice, |near| format!("did you mean {near}?"));
    format!("{word:?} is not a {what}; {hint}")
}

/// A list of patterns; each that is wrong is reported where it stands.
pub(super) fn patterns(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<PatternSet> {
    let (fields, written): (Vec<_>, Vec<_>) = field.texts(reader)?.into_iter().unzip();
    match PatternSet::compile(written.into_iter().map(str::to_owned).collect()) {
        Ok(set) => Some(set),
        Err(wrong) => {
            for why in wrong {
                let at = why.index().and_then(|index| fields.get(index)).unwrap_or(field);
                at.refuse(reader, why.to_string());
            }
            None
        }
    }
}

fn cache(table: &Table<'_>, word: Option<&str>, reader: &mut Reader<'_, '_>) -> CachePolicy {
    table.only_of(reader, CACHE_KEYS, CACHE_KEYS, |name| {
        repository_keys().any(|key| key == name).then_some("belongs beside cache:, not below it; indent it less")
    });
    if let (Some("local"), Some(field)) = (word, table.get("max_bytes")) {
        let text = "is for type: remote; what was uploaded is never evicted, so drop the key";
        reader.report(field.place, &field.key, text);
    }
    if word == Some("virtual") {
        for field in NOT_OF_INDEXES.iter().filter_map(|key| table.get(key)) {
            let text = "is not for type: virtual, which keeps indexes and no files; say it of its members";
            reader.report(field.place, &field.key, text);
        }
    }
    let usual = CachePolicy::default();
    let file_ttl = |field: &Field<'_>, reader: &mut Reader<'_, '_>| {
        let ttl = field.duration(reader)?;
        Some(if ttl.is_zero() { FileTtl::Forever } else { FileTtl::For(ttl) })
    };
    CachePolicy {
        file_ttl: table.read(reader, "file_ttl", file_ttl).unwrap_or(usual.file_ttl),
        index_ttl: table.read(reader, "index_ttl", Field::duration).unwrap_or(usual.index_ttl),
        negative_ttl: table.read(reader, "negative_ttl", Field::duration).unwrap_or(usual.negative_ttl),
        refresh_wait: table.read(reader, "refresh_wait", Field::duration).unwrap_or(usual.refresh_wait),
        pin: table.read(reader, "pin", Field::duration).unwrap_or(usual.pin),
        snapshot_keep: table.read(reader, "snapshot_keep", Field::duration).unwrap_or(usual.snapshot_keep),
        max_bytes: table.read(reader, "max_bytes", Field::budget),
    }
}
