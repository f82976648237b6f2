//! The repositories that remotes.yaml describes, as values that are right by construction.
//!
//! Whoever holds a [`Repository`] need not ask again whether its URL is one, its patterns compile or its members exist:
//! reading the file ([`Source::load`]) is the only way to get one, and it either says yes to the whole file or names everything that
//! is wrong with it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::publish::Compression;
use artifactapi_formats::{Format, RepoPath, Sha256, SigningKeys, TrustedKeys};
use url::Url;

use super::access::ConfiguredToken;
use super::patterns::Patterns;
use super::prefetch::Prefetch;
use super::proxy::Proxy;
use super::retired::RetiredKey;
use super::secret::Secret;
#[cfg(doc)]
use super::source::Source;
use super::whereabouts::Whereabouts;
use crate::access::Policy;
use crate::store::key::{RepositoryName, Target};

/// Every repository of one reading of the file. Never changes; a new reading makes a new value.
#[derive(Debug, Clone)]
pub struct Repositories {
    pub(super) by_name: BTreeMap<RepositoryName, Arc<Repository>>,
    pub(super) tokens: Vec<ConfiguredToken>,
    pub(super) generation: u64,
    pub(super) digest: Sha256,
}

impl Repositories {
    /// The repository of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Repository>> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Repository>> {
        self.by_name.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The tokens of `access:`.
    #[must_use]
    pub fn tokens(&self) -> &[ConfiguredToken] {
        &self.tokens
    }

    /// Counts the readings that were put to use: 1 for the first, one more for each that replaced another.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What is allowed but should be known, for the log.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.iter().flat_map(|repository| repository.remarks())
    }

    /// SHA-256 of what can be shown: tells an operator whether two replicas run the same configuration. Not of the file's
    /// bytes, for among them may be a password, and whoever sees its digest can try words until one fits.
    #[must_use]
    pub const fn digest(&self) -> &Sha256 {
        &self.digest
    }
}

/// One repository.
#[derive(Clone)]
pub struct Repository {
    /// The key below `remotes:`, and the first segment after `/api/`.
    pub name: RepositoryName,
    /// What `package:` selects.
    pub format: &'static dyn Format,
    /// For people.
    pub description: Option<String>,
    /// Where its files come from.
    pub kind: Kind,
    /// Which paths may be fetched.
    pub patterns: Patterns,
    /// Whether anybody may read it, without a token.
    pub anonymous_read: bool,
    /// How long things are kept, and how much of them.
    pub cache: CachePolicy,
}

impl Repository {
    /// The root, by its entry, that an index, companion or member path belongs to.
    #[must_use]
    pub fn root_of(&self, path: &RepoPath) -> Option<Target> {
        let root = self.format.index()?.root_of(path)?;
        Some(Target::new(self.name.clone(), root.entry))
    }

    /// What it says of access.
    #[must_use]
    pub const fn policy(&self) -> Policy<'_> {
        Policy { repository: &self.name, anonymous_read: self.anonymous_read }
    }

    /// The public half of a key that signs this repository's indexes, or signed them before, if that is what is under a path: clients fetch it there
    /// in order to trust everything else, so nothing that people put in may be there.
    #[must_use]
    pub fn public_key(&self, path: &str) -> Option<&str> {
        let (signing, retired) = match &self.kind {
            Kind::Local(local) => (&local.signing_keys, &local.retired_keys),
            Kind::Virtual(all) => (&all.signing_keys, &all.retired_keys),
            Kind::Remote(_) => return None,
        };
        let retired = retired.iter().map(|key| (key.name.as_str(), key.text.as_str()));
        signing.public_keys().chain(retired).find(|(name, _)| *name == path).map(|(_, text)| text)
    }

    fn remarks(&self) -> Vec<String> {
        let Kind::Remote(remote) = &self.kind else {
            return Vec::new();
        };
        let name = &self.name;
        let mut remarks = Vec::new();
        if self.patterns.include().is_none() {
            remarks
                .push(format!("{name} has no include_patterns: all that its upstream has can be fetched through it"));
        }
        if remote.credentials.is_some() && remote.home().scheme() == "http" {
            remarks.push(format!("{name} sends its credentials over http: whoever is on the way can read them"));
        }
        remarks
    }
}

/// Where a repository's files come from.
#[derive(Debug, Clone)]
pub enum Kind {
    /// From an upstream server; what has been fetched is kept.
    Remote(Arc<Remote>),
    /// From uploads.
    Local(Box<Local>),
    /// From other repositories of the same format.
    Virtual(Box<Virtual>),
}

impl Kind {
    /// The word in `type:`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Remote(_) => "remote",
            Self::Local(_) => "local",
            Self::Virtual(_) => "virtual",
        }
    }
}

/// What is taken from people who upload.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// Whether a path may be given other bytes.
    pub overwrite: bool,
    /// How many folders lead to an index root: 2 for `el9/x86_64`. Only where names do not say it themselves (rpm).
    pub root_depth: usize,
    /// The largest file taken, in bytes.
    pub max_file_bytes: u64,
    /// The most bytes held; `None` has no bound.
    pub quota: Option<u64>,
    /// How indexes are compressed; `None` is the format's usual way.
    pub compression: Option<Compression>,
    /// Who signs the indexes.
    pub signing_keys: SigningKeys,
    /// Who signed them before.
    pub retired_keys: Vec<RetiredKey>,
}

/// Several repositories under one name. It holds them as values: they are of one reading of the file, so none of them can be
/// missing, and no way leads in a circle.
#[derive(Clone, Default)]
pub struct Virtual {
    /// In the order in which they are asked.
    pub members: Vec<Arc<Repository>>,
    /// The local member that uploads go to; `None` takes none.
    pub deploy_to: Option<Arc<Repository>>,
    /// Who signs the merged indexes.
    pub signing_keys: SigningKeys,
    /// Who signed them before.
    pub retired_keys: Vec<RetiredKey>,
}

impl std::fmt::Debug for Virtual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.members.iter().map(|member| &member.name).collect();
        f.debug_struct("Virtual")
            .field("members", &names)
            .field("deploy_to", &self.deploy_to.as_ref().map(|local| &local.name))
            .field("signing_keys", &self.signing_keys)
            .field("retired_keys", &self.retired_keys)
            .finish()
    }
}

/// The largest file taken unless the configuration says otherwise, in bytes.
pub const MAX_FILE_BYTES: u64 = 10 << 30;

/// An upstream server.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// Who we are to the upstream. For its own origin only: see [`Remote::credentials_for`].
    pub credentials: Option<Credentials>,
    /// Through whom everything is asked; `None` asks directly.
    pub proxy: Option<Proxy>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Whether a redirect or a list of mirrors may lead to a private or loopback address although who says so is at a
    /// public one.
    pub allow_private: bool,
    /// The most transfers at once; `None` is [`Remote::MAX_PARALLEL`].
    pub max_parallel: Option<NonZeroUsize>,
    /// Whether an index may be replaced by one that says it is older.
    pub allow_rollback: bool,
    /// What happens to a package that is not what its index says.
    pub verify: Verify,
    /// Indexes are served as they were this long ago; `None` serves the newest.
    pub hold: Option<Duration>,
    /// Of which one must have signed each index; empty when nobody asks who did.
    pub trusted_keys: TrustedKeys,
    /// What is fetched before anybody asks for it.
    pub prefetch: Option<Prefetch>,
}

/// What happens to a package that is not what the held index says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
    /// It is refused: the connection is cut before its end, nothing is kept.
    #[default]
    Strict,
    /// It is passed on and not kept, with a line in the log.
    Warn,
    /// The index is not asked; a package must only be whole in itself.
    Off,
}

impl Verify {
    pub(super) const ALL: [Self; 3] = [Self::Strict, Self::Warn, Self::Off];

    /// The word in `verify:`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

impl Remote {
    /// The most transfers at once from an upstream that does not say how many: `engine/fills` holds to it, for one that is slow must
    /// not take the turns of all.
    pub const MAX_PARALLEL: usize = 64;

    /// The URLs that the operator names, in the order in which they are tried; none when a list names them.
    pub fn named(&self) -> impl Iterator<Item = &Url> {
        let (base, mirrors) = match &self.whereabouts {
            Whereabouts::Named { base, mirrors } => (Some(base), &**mirrors),
            Whereabouts::Listed(_) => (None, &[][..]),
        };
        base.into_iter().chain(mirrors)
    }

    /// The URL that everything else follows from: `base_url`, or that of the list.
    #[must_use]
    pub const fn home(&self) -> &Url {
        match &self.whereabouts {
            Whereabouts::Named { base, .. } => base,
            Whereabouts::Listed(list) => &list.url,
        }
    }

    /// Whether what one source does not give, another may.
    #[must_use]
    pub fn has_mirrors(&self) -> bool {
        match &self.whereabouts {
            Whereabouts::Named { mirrors, .. } => !mirrors.is_empty(),
            Whereabouts::Listed(_) => true,
        }
    }

    /// The credentials to send along with a request for `url`: none unless it has the scheme, host and port of
    /// [`Remote::home`], so that neither a mirror nor a redirect is told a password that is not for it.
    #[must_use]
    pub fn credentials_for(&self, url: &Url) -> Option<&Credentials> {
        self.credentials.as_ref().filter(|_| url.origin() == self.home().origin())
    }
}

/// Who we are to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Basic`.
    Basic {
        /// The user; a secret too, for there are upstreams that take a token in its place.
        username: Secret,
        /// The password.
        password: Secret,
    },
    /// `Authorization: Bearer`.
    Bearer(Secret),
}

/// How long to wait for an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection, TLS included, stands.
    pub connect: Duration,
    /// Without a byte from the other side, before or within an answer.
    pub idle: Duration,
}

/// How long things are kept, and how much of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy {
    /// Packages and files.
    pub file_ttl: FileTtl,
    /// Index entries; zero asks the upstream on every request.
    pub index_ttl: Duration,
    /// An upstream's 404 or 410 for a file; zero remembers none.
    pub negative_ttl: Duration,
    /// The longest a request waits for an index to be refreshed before it is given the one we hold.
    pub refresh_wait: Duration,
    /// How long a client stays with the snapshot whose entry it was given, after a switch.
    pub pin: Duration,
    /// How long the files of an earlier snapshot stay servable.
    pub snapshot_keep: Duration,
    /// The most bytes held; `None` sets no bound.
    pub max_bytes: Option<u64>,
}

/// How long a package or file is taken as it is before the upstream is asked whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTtl {
    /// `file_ttl: 0`.
    Forever,
    /// So long.
    For(Duration),
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), idle: Duration::from_secs(30) }
    }
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            file_ttl: FileTtl::Forever,
            index_ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(30),
            refresh_wait: Duration::from_secs(2),
            pin: Duration::from_secs(60),
            snapshot_keep: Duration::from_secs(7 * 86_400),
            max_bytes: None,
        }
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("name", &self.name)
            .field("format", &self.format.name())
            .field("description", &self.description)
            .field("kind", &self.kind)
            .field("patterns", &self.patterns)
            .field("anonymous_read", &self.anonymous_read)
            .field("cache", &self.cache)
            .finish()
    }
}
