//! Repositories for the tests of this folder.

use std::sync::Arc;

use crate::config::{CachePolicy, Kind, PatternSet, Patterns, Remote, Repository, Timeouts, Verify, Whereabouts};

pub(super) fn remote(format: &str, base: &str, mirrors: &[&str], include: Option<&[&str]>) -> Arc<Repository> {
    let mirrors = mirrors.iter().map(|mirror| mirror.parse().expect("a URL")).collect();
    let kind = Kind::Remote(Arc::new(Remote {
        whereabouts: Whereabouts::Named { base: base.parse().expect(base), mirrors },
        credentials: None,
        proxy: None,
        timeouts: Timeouts::default(),
        allow_private: false,
        max_parallel: None,
        allow_rollback: false,
        verify: Verify::default(),
        hold: None,
        trusted_keys: Default::default(),
        prefetch: None,
    }));
    repository(format, kind, include)
}

pub(super) fn local(format: &str) -> Arc<Repository> {
    repository(format, Kind::Local(Default::default()), None)
}

pub(super) fn remote_of(repository: &Repository) -> &Remote {
    match &repository.kind {
        Kind::Remote(remote) => remote,
        _ => panic!("not a remote"),
    }
}

fn repository(format: &str, kind: Kind, include: Option<&[&str]>) -> Arc<Repository> {
    let compile =
        |list: &[&str]| PatternSet::compile(list.iter().map(ToString::to_string).collect()).expect("patterns");
    Arc::new(Repository {
        name: "sample".parse().expect("a name"),
        format: artifactapi_formats::find(format).expect("a format"),
        description: None,
        kind,
        anonymous_read: true,
        patterns: Patterns::new(include.map(compile), None),
        cache: CachePolicy::default(),
    })
}
