//! Public keys that are served although nothing is signed with them any more: `retired_keys`.
//!
//! What an old key signed can still be asked for, as a snapshot, and whoever checks it fetches the key from where it always was. Each entry
//! is the path of a public key, relative to the configuration's folder, under the name by which clients know it. A file is read with the
//! configuration and watched like it.

use std::path::Path;

use artifactapi_formats::{Format, KeyKind, Limits, SigningKeys, TrustedKeys};

use super::reader::{Field, Reader};
use super::signing::SUFFIX;

/// A public key as clients fetch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredKey {
    /// The name of its file, at the top of the repository.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Reads the list, for a repository of this format that signs with other keys.
pub(super) fn read(
    field: &Field<'_>,
    format: &dyn Format,
    signing: &SigningKeys,
    reader: &mut Reader<'_, '_>,
) -> Option<Vec<RetiredKey>> {
    let entries = field.list(reader)?;
    let Some(kind) = format.index().and_then(artifactapi_formats::IndexFormat::key_kind) else {
        let text = format!("is for formats whose indexes are signed, and {} has none; drop the key", format.name());
        reader.report(field.place, &field.key, text);
        return None;
    };
    let mut keys = Vec::<RetiredKey>::new();
    let mut fine = true;
    for entry in &entries {
        let key = entry.text(reader).and_then(|path| {
            let key = key(path, kind, reader).and_then(|key| {
                if signing.public_keys().any(|(name, _)| name == key.name) {
                    return Err(format!(
                        "{path:?} is a key that signs, which is served by itself; drop one of the two"
                    ));
                }
                match keys.iter().any(|known| known.name == key.name) {
                    true => Err(format!("{path:?} is the second key named {}", key.name)),
                    false => Ok(key),
                }
            });
            key.map_err(|why| entry.refuse(reader, why)).ok()
        });
        fine &= key.is_some();
        keys.extend(key);
    }
    fine.then_some(keys)
}

fn key(path: &str, kind: KeyKind, reader: &mut Reader<'_, '_>) -> Result<RetiredKey, String> {
    let bytes =
        (reader.outside.read_file)(Path::new(path)).map_err(|error| format!("cannot read {path:?}: {error}"))?;
    let file_name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path);
    let mut known = TrustedKeys::default();
    known.add(kind, Some(file_name), &bytes, &Limits::default()).map_err(|why| format!("{path:?} {why}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{path:?} is no text; export it with --armor"))?;
    let name = match kind {
        KeyKind::PublicKey if file_name.ends_with(SUFFIX) => file_name.to_owned(),
        KeyKind::PublicKey => {
            return Err(format!("{path:?} does not end in {SUFFIX}; call it what clients call it"));
        }
        KeyKind::Certificate => {
            let mut fingerprints = known.shown();
            match (fingerprints.next(), fingerprints.next()) {
                (Some(fingerprint), None) => format!("{fingerprint}.asc"),
                _ => return Err(format!("{path:?} is more than one key; put each into a file of its own")),
            }
        }
    };
    Ok(RetiredKey { name, text })
}
