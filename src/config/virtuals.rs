//! The keys of `type: virtual`.
//!
//! Names are read here as they are written; whether they lead anywhere is asked once all repositories are known
//! ([`super::members`]).

use artifactapi_formats::Format;

use super::members::Member;
use super::reader::{Field, Reader, Table};
use super::repositories::Virtual;
use super::{retired, signing};

/// Reads what does not name other repositories.
pub(super) fn read(table: &Table<'_>, format: Option<&dyn Format>, reader: &mut Reader<'_, '_>) -> Virtual {
    let keys = |field: &Field<'_>, reader: &mut Reader<'_, '_>| signing::read(field, format?, reader);
    let signing_keys = table.read(reader, "signing_keys", keys).unwrap_or_default();
    let retired = |field: &Field<'_>, reader: &mut Reader<'_, '_>| retired::read(field, format?, &signing_keys, reader);
    let retired_keys = table.read(reader, "retired_keys", retired).unwrap_or_default();
    Virtual { signing_keys, retired_keys, ..Virtual::default() }
}

/// The names in `members:`.
pub(super) fn members(table: &Table<'_>, reader: &mut Reader<'_, '_>) -> Vec<Member> {
    let Some(field) = table.get("members") else {
        table.missing(reader, "members", "a virtual repository needs the names of those it is made of");
        return Vec::new();
    };
    let Some(elements) = field.list(reader) else {
        return Vec::new();
    };
    if elements.is_empty() {
        field.refuse(reader, "names no repository; a virtual one is made of at least one other");
    }
    elements.iter().filter_map(|element| named(element, reader)).collect()
}

/// The name in `deploy_to:`.
pub(super) fn deploy_to(table: &Table<'_>, reader: &mut Reader<'_, '_>) -> Option<Member> {
    table.read(reader, "deploy_to", named)
}

fn named(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Member> {
    let name = field.text(reader)?.parse().map_err(|why| field.refuse(reader, format!("{why}"))).ok()?;
    Some(Member { name, place: field.value_place(), key: field.key.clone() })
}
