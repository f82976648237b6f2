//! Configuration: the environment becomes [`Settings`], remotes.yaml becomes [`Repositories`].
//!
//! Both are read strictly and reported completely: whatever is wrong is an error at start that names file, line and key
//! and says what to do, and all of it is named at once. What comes out is right by construction, so that no other module
//! parses a URL, a duration or a pattern of the configuration again. Secrets are [`Secret`]s from here on.
//!
//! The environment is fixed for the life of the process. The file is not: [`LiveRepositories`] holds the reading in
//! force, and [`watch`] replaces it when the file changes for the better.

pub mod duration;
pub mod live;
pub mod patterns;
pub mod repositories;
pub mod secret;
pub mod settings;
pub mod size;

pub use live::{LiveRepositories, ReloadError};
pub use patterns::{Admission, PatternSet, Patterns};
pub use repositories::{CachePolicy, Credentials, FileTtl, Kind, Remote, Repositories, Repository, Timeouts};
pub use secret::Secret;
pub use settings::{LogFormat, LogSettings, PostgresSettings, RedisSettings, S3Keys, S3Settings, Settings};
