//! The configuration in force as `GET /config` shows it: under the names it is written with, and without a secret.
//!
//! `remotes` reads like the file with every default filled in, `environment` like the environment. What is or may hold a
//! secret is three stars; that there is one is no secret. Keys are shown by name: trusted ones with their fingerprint, those
//! that sign by what clients know their public halves by.

mod environment;

use std::collections::BTreeMap;
use std::time::Duration;

use artifactapi_formats::publish::Compression;
use artifactapi_formats::{Format, Sha256, SigningKey};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use self::environment::environment;
use super::access::ConfiguredToken;
use super::patterns::PatternSet;
use super::prefetch::Prefetch;
use super::proxy::Proxy;
use super::repositories::{CachePolicy, Credentials, FileTtl, Kind, Local, Remote, Repositories, Repository, Timeouts};
use super::secret::STARS;
use super::settings::Settings;
use super::whereabouts::Whereabouts;
use crate::access::Grant;

/// What `GET /config` answers. To whoever may read everything; [`ConfigView::only`] is for the others.
#[derive(Debug, Serialize)]
pub struct ConfigView<'a> {
    /// [`Repositories::generation`].
    pub generation: u64,
    /// [`Repositories::digest`], in hexadecimal digits.
    pub digest: String,
    remotes: Remotes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<AccessView<'a>>,
    environment: BTreeMap<&'static str, Value>,
}

impl<'a> ConfigView<'a> {
    /// The view of what is in force.
    #[must_use]
    pub fn of(settings: &Settings, repositories: &'a Repositories) -> Self {
        Self {
            generation: repositories.generation(),
            digest: repositories.digest().hex(),
            remotes: remotes(repositories.iter().map(|repository| &**repository)),
            access: Some(access(repositories.tokens())),
            environment: environment(settings),
        }
    }

    /// The same without the repositories that are not for whoever asks, and without the tokens, which name them too.
    #[must_use]
    pub fn only(mut self, may_see: impl Fn(&str) -> bool) -> Self {
        self.remotes.retain(|name, _| may_see(name));
        self.access = None;
        self
    }
}

#[derive(Debug, Serialize)]
struct AccessView<'a> {
    tokens: Vec<TokenView<'a>>,
}

#[derive(Debug, Serialize)]
struct TokenView<'a> {
    name: &'a str,
    /// Of a token that an operator chose, the digest would be enough to try words against.
    sha256: &'static str,
    grants: BTreeMap<&'a str, Vec<&'static str>>,
}

fn access<'a>(tokens: &'a [ConfiguredToken]) -> AccessView<'a> {
    let view = |token: &'a ConfiguredToken| TokenView {
        name: token.name.as_str(),
        sha256: STARS,
        grants: token.grants.iter().map(|(scope, set)| (scope, set.iter().map(Grant::name).collect())).collect(),
    };
    AccessView { tokens: tokens.iter().map(view).collect() }
}

type Remotes<'a> = BTreeMap<&'a str, RepositoryView<'a>>;

fn remotes<'a>(repositories: impl Iterator<Item = &'a Repository>) -> Remotes<'a> {
    repositories.map(|repository| (repository.name.as_str(), view(repository))).collect()
}

/// See [`Repositories::digest`].
pub(super) fn digest<'a>(repositories: impl Iterator<Item = &'a Repository>, tokens: &[ConfiguredToken]) -> Sha256 {
    Sha256::of(json!({ "remotes": remotes(repositories), "access": access(tokens) }).to_string().as_bytes())
}

#[derive(Debug, Serialize)]
struct RepositoryView<'a> {
    r#type: &'static str,
    package: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    remote: Option<RemoteView<'a>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    local: Option<LocalView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deploy_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_patterns: Option<&'a [String]>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    exclude_patterns: &'a [String],
    anonymous_read: bool,
    cache: CacheView,
}

#[derive(Debug, Serialize)]
struct RemoteView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    base_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirrorlist: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metalink: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    connect_timeout: Time,
    idle_timeout: Time,
    allow_private_redirects: bool,
    max_parallel: usize,
    /// Of formats with indexes, as the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_rollback: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Time>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trusted_keys: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefetch: Option<PrefetchView<'a>>,
}

#[derive(Debug, Serialize)]
struct LocalView<'a> {
    overwrite: bool,
    /// Of formats whose indexes we write, as `compression`.
    #[serde(skip_serializing_if = "Option::is_none")]
    root_depth: Option<usize>,
    max_file_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signing_keys: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retired_keys: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct PrefetchView<'a> {
    used: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<&'a [String]>,
    before_switch: bool,
    parallel: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth: Option<u64>,
}

#[derive(Debug, Serialize)]
struct CacheView {
    #[serde(skip_serializing_if = "Option::is_none")]
    file_ttl: Option<Time>,
    index_ttl: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    negative_ttl: Option<Time>,
    refresh_wait: Time,
    pin: Time,
    snapshot_keep: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
}

/// Whole seconds as a number, anything finer as a text with its unit: both are what the file takes.
#[derive(Debug)]
struct Time(Duration);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_millis() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.collect_str(&format_args!("{}ms", self.0.as_millis()))
        }
    }
}

fn view(repository: &Repository) -> RepositoryView<'_> {
    let (mut remote, mut local, mut all) = (None, None, None);
    match &repository.kind {
        Kind::Remote(from) => remote = Some(remote_view(from, repository.format)),
        Kind::Local(own) => local = Some(local_view(own, repository.format)),
        Kind::Virtual(over) => all = Some(over),
    }
    let name = |member: &'_ std::sync::Arc<Repository>| member.name.as_str().to_owned();
    RepositoryView {
        r#type: repository.kind.name(),
        package: repository.format.name(),
        description: repository.description.as_deref(),
        cache: cache_view(&repository.cache, all.is_none()),
        remote,
        local,
        members: all.map(|all| all.members.iter().map(name).collect()),
        deploy_to: all.and_then(|all| all.deploy_to.as_ref()).map(name),
        include_patterns: repository.patterns.include(),
        exclude_patterns: repository.patterns.exclude(),
        anonymous_read: repository.anonymous_read,
    }
}

fn remote_view<'a>(remote: &'a Remote, format: &dyn Format) -> RemoteView<'a> {
    let has_indexes = format.index().is_some();
    let (pair, token) = match &remote.credentials {
        Some(Credentials::Basic { .. }) => (Some(STARS), None),
        Some(Credentials::Bearer(_)) => (None, Some(STARS)),
        None => (None, None),
    };
    let (base, mirrors, list) = match &remote.whereabouts {
        Whereabouts::Named { base, mirrors } => (Some(base), &**mirrors, None),
        Whereabouts::Listed(list) => (None, &[][..], Some(list)),
    };
    let Timeouts { connect, idle } = remote.timeouts;
    RemoteView {
        base_url: base.map(url::Url::as_str),
        mirrors: mirrors.iter().map(url::Url::as_str).collect(),
        mirrorlist: list.filter(|list| !list.is_metalink).map(|list| list.url.as_str()),
        metalink: list.filter(|list| list.is_metalink).map(|list| list.url.as_str()),
        username: pair,
        password: pair,
        token,
        proxy: remote.proxy.as_ref().map(proxy_view),
        connect_timeout: Time(connect),
        idle_timeout: Time(idle),
        allow_private_redirects: remote.allow_private,
        max_parallel: remote.max_parallel.map_or(Remote::MAX_PARALLEL, std::num::NonZeroUsize::get),
        allow_rollback: has_indexes.then_some(remote.allow_rollback),
        verify: has_indexes.then_some(remote.verify.name()),
        hold: remote.hold.map(Time),
        trusted_keys: remote.trusted_keys.shown().collect(),
        prefetch: remote.prefetch.as_ref().map(prefetch_view),
    }
}

/// As it is written in the file.
fn proxy_view(Proxy { url, user }: &Proxy) -> String {
    let scheme = url.scheme();
    match (user, url.as_str().split_once("://")) {
        (Some(_), Some((_, host))) => format!("{scheme}://{STARS}:{STARS}@{host}"),
        _ => url.to_string(),
    }
}

fn local_view<'a>(local: &'a Local, format: &dyn Format) -> LocalView<'a> {
    let Local { overwrite, root_depth, max_file_bytes, quota, compression, signing_keys, retired_keys } = local;
    let written = format.publish().map(|format| compression.or(format.compressions().first().copied()));
    LocalView {
        overwrite: *overwrite,
        root_depth: format.publish().map(|_| *root_depth),
        max_file_bytes: *max_file_bytes,
        quota: *quota,
        compression: written.flatten().or(*compression).map(Compression::name),
        signing_keys: signing_keys.iter().map(SigningKey::name).collect(),
        retired_keys: retired_keys.iter().map(|key| key.name.as_str()).collect(),
    }
}

fn prefetch_view(prefetch: &Prefetch) -> PrefetchView<'_> {
    let Prefetch { used, include, before_switch, parallel, bandwidth } = prefetch;
    PrefetchView {
        used: *used,
        include: include.as_ref().map(PatternSet::written),
        before_switch: *before_switch,
        parallel: parallel.get(),
        bandwidth: bandwidth.map(std::num::NonZeroU64::get),
    }
}

/// `with_files` for a repository that keeps files beside indexes.
fn cache_view(cache: &CachePolicy, with_files: bool) -> CacheView {
    let CachePolicy { file_ttl, index_ttl, negative_ttl, refresh_wait, pin, snapshot_keep, max_bytes } = *cache;
    CacheView {
        file_ttl: with_files.then_some(Time(match file_ttl {
            FileTtl::Forever => Duration::ZERO,
            FileTtl::For(ttl) => ttl,
        })),
        index_ttl: Time(index_ttl),
        negative_ttl: with_files.then_some(Time(negative_ttl)),
        refresh_wait: Time(refresh_wait),
        pin: Time(pin),
        snapshot_keep: Time(snapshot_keep),
        max_bytes,
    }
}
