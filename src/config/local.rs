//! The keys of `type: local`.

use artifactapi_formats::Format;
use artifactapi_formats::publish::Compression;

use super::reader::{Field, Reader, Table};
use super::repositories::{Local, MAX_FILE_BYTES};
use super::{retired, signing};

/// Folders that may lead to an index root.
const MAX_ROOT_DEPTH: usize = 8;

/// Reads them.
pub(super) fn read(table: &Table<'_>, format: Option<&dyn Format>, reader: &mut Reader<'_, '_>) -> Local {
    let keys = |field: &Field<'_>, reader: &mut Reader<'_, '_>| signing::read(field, format?, reader);
    let signing_keys = table.read(reader, "signing_keys", keys).unwrap_or_default();
    let retired = |field: &Field<'_>, reader: &mut Reader<'_, '_>| retired::read(field, format?, &signing_keys, reader);
    let retired_keys = table.read(reader, "retired_keys", retired).unwrap_or_default();
    Local {
        overwrite: table.read(reader, "overwrite", Field::flag).unwrap_or_default(),
        root_depth: table.read(reader, "root_depth", depth).unwrap_or_default(),
        max_file_bytes: table.read(reader, "max_file_bytes", Field::budget).unwrap_or(MAX_FILE_BYTES),
        quota: table.read(reader, "quota", Field::budget),
        compression: table.read(reader, "compression", |field, reader| compression(field, format, reader)),
        signing_keys,
        retired_keys,
    }
}

fn depth(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<usize> {
    let depth = field.number(reader)?;
    if depth > MAX_ROOT_DEPTH {
        field.refuse(reader, format!("{depth} is deeper than {MAX_ROOT_DEPTH}, the most there may be"));
        return None;
    }
    Some(depth)
}

/// One that indexes of the format can have: clients of another would find none that they read.
fn compression(field: &Field<'_>, format: Option<&dyn Format>, reader: &mut Reader<'_, '_>) -> Option<Compression> {
    let word = field.text(reader)?;
    // One that has none has been reported.
    let format = format?;
    let there_are = format.publish()?.compressions();
    let known = there_are.iter().copied().find(|compression| compression.name() == word);
    if known.is_none() {
        let names: Vec<_> = there_are.iter().map(|compression| compression.name()).collect();
        let text = format!("{word:?} is no compression of package: {}; write {}", format.name(), names.join(" or "));
        field.refuse(reader, text);
    }
    known
}
