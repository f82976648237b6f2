//! The keys that an upstream's indexes must be signed with: `trusted_keys`.
//!
//! Each entry is a path, relative to the configuration's folder, or the key itself, known by its first line. Key files are
//! read with the configuration and watched like it, so a key that is added, prolonged or revoked takes effect without a
//! restart; one that cannot be used is a mistake in the configuration, said in its place. No message repeats a key: by
//! mistake it may be a private one.

use std::path::Path;

use artifactapi_formats::{Format, KeyKind, Limits, TrustedKeys};

use super::reader::{Field, Reader};

/// How a key begins that stands in the file itself.
const INLINE: &str = "-----BEGIN";

/// Reads the list, for a repository of this format.
pub(super) fn read(field: &Field<'_>, format: &dyn Format, reader: &mut Reader<'_, '_>) -> Option<TrustedKeys> {
    let entries = field.list(reader)?;
    let Some(kind) = format.index().and_then(artifactapi_formats::IndexFormat::key_kind) else {
        let text = format!("is for formats whose indexes are signed, and {} has none; drop the key", format.name());
        reader.report(field.place, &field.key, text);
        return None;
    };
    if entries.is_empty() {
        field.refuse(reader, "names no key; leave trusted_keys out to take indexes whoever signed them");
        return None;
    }
    let mut keys = TrustedKeys::default();
    let mut fine = true;
    for entry in &entries {
        // Every entry is looked at, so that all that is wrong is said at once.
        fine &= entry.text(reader).is_some_and(|text| add(&mut keys, entry, text, kind, reader));
    }
    fine.then_some(keys)
}

fn add(keys: &mut TrustedKeys, entry: &Field<'_>, text: &str, kind: KeyKind, reader: &mut Reader<'_, '_>) -> bool {
    let limits = Limits::default();
    let added = if text.trim_start().starts_with(INLINE) {
        keys.add(kind, None, text.as_bytes(), &limits).map_err(|why| format!("this text {why}"))
    } else {
        let path = Path::new(text);
        let name = path.file_name().and_then(|name| name.to_str());
        match (reader.outside.read_file)(path) {
            Ok(bytes) => keys.add(kind, name, &bytes, &limits).map_err(|why| format!("{text:?} {why}")),
            Err(error) => Err(format!("cannot read {text:?}: {error}")),
        }
    };
    added.map_err(|text| entry.refuse(reader, text)).is_ok()
}
