//! Configuration: the environment becomes [`Settings`], remotes.yaml becomes [`Repositories`].
//!
//! Both are read strictly and reported completely: whatever is wrong is an error at start that names file, line and key
//! and says what to do, and all of it is named at once. What comes out is right by construction, so that no other module
//! parses a URL, a duration or a pattern of the configuration again. Secrets are [`Secret`]s from here on.
//!
//! The environment is fixed for the life of the process. The file is not: [`LiveRepositories`] holds the reading in
//! force, and [`watch`] replaces it when the file changes for the better.

mod access;
mod credentials;
mod document;
pub mod duration;
mod effects;
pub mod environment;
mod fingerprint;
pub mod live;
mod local;
mod members;
mod misread;
pub mod patterns;
pub mod prefetch;
pub mod problem;
mod proxy;
mod reader;
pub mod repositories;
mod retired;
pub mod secret;
mod services;
pub mod settings;
mod signing;
pub mod size;
pub mod source;
mod suggest;
mod trust;
mod upstream;
pub mod view;
mod virtuals;
pub mod watch;
mod whereabouts;
mod yaml;

pub use access::ConfiguredToken;
pub use environment::{SettingsError, process_environment, unknown_variables};
pub use live::{LiveRepositories, ReloadError};
pub use patterns::{Admission, PatternSet, Patterns};
pub use prefetch::Prefetch;
pub use problem::{ConfigError, Place, Problem};
pub use proxy::{Proxy, ProxyUser};
pub use repositories::{
    CachePolicy, Credentials, FileTtl, Kind, Local, Remote, Repositories, Repository, Timeouts, Verify, Virtual,
};
pub use retired::RetiredKey;
pub use secret::Secret;
pub use settings::{LogFormat, LogSettings, PostgresSettings, RedisSettings, S3Keys, S3Settings, Settings};
pub use source::{Environment, Source};
pub use view::ConfigView;
pub use whereabouts::{List, Whereabouts};

#[cfg(test)]
mod tests;
