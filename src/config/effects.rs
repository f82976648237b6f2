//! Keys that would do nothing in a repository of its format.
//!
//! A key that is read and then means nothing is worse than one that is refused: whoever wrote `hold: 7d` believes that it holds.
//! So what asks something of indexes is an error where there are none. What asks nothing of them is none, such as `verify: off`: files
//! may say the same of all their repositories.

use artifactapi_formats::Format;

use super::reader::{Reader, Table};

/// Keys about the indexes of a repository, and what to know in their place.
const OF_INDEXES: &[(&str, &str)] = &[
    ("prefetch", "has no index that names packages; POST /cache-artifact fetches such files"),
    ("hold", "has no indexes and so no snapshots to hold back; drop the key"),
    ("verify", "has no index that says what a file must be; drop the key"),
    ("allow_rollback", "has no indexes that could be older than others; drop the key"),
];

/// Keys about the indexes that we write.
const OF_OUR_INDEXES: &[(&str, &str)] = &[
    ("root_depth", "has no indexes that folders could lead to; drop the key"),
    ("compression", "has no indexes that could be compressed; drop the key"),
];

/// Values that ask for nothing that is not so anyway.
const IDLE: &[&str] = &["false", "0", "off", "strict", "gzip"];

/// Reports those that have no effect, of the keys that are for a repository of this type at all.
pub(super) fn check(
    table: &Table<'_>,
    format: Option<&'static dyn Format>,
    is_of_type: impl Fn(&str) -> bool,
    reader: &mut Reader<'_, '_>,
) {
    let Some(format) = format else { return };
    let without_index = OF_INDEXES.iter().filter(|_| format.index().is_none());
    let without_publishing = OF_OUR_INDEXES.iter().filter(|_| format.publish().is_none());
    for (key, why) in without_index.chain(without_publishing) {
        if let Some(field) = table.get(key).filter(|field| is_of_type(key) && !field.is_one_of(IDLE)) {
            reader.report(field.place, &field.key, format!("package: {} {why}", format.name()));
        }
    }
}
