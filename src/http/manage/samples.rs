//! Parts for the tests of this folder.

use std::sync::Arc;

use crate::config::{CachePolicy, Kind, Patterns, Repository};

pub(super) fn repository(name: &str, format: &str) -> Arc<Repository> {
    Arc::new(Repository {
        name: name.parse().expect("a name"),
        format: artifactapi_formats::find(format).expect("a format"),
        description: None,
        kind: Kind::Local(Default::default()),
        patterns: Patterns::default(),
        anonymous_read: true,
        cache: CachePolicy::default(),
    })
}
