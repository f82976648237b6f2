//! What the environment says: which services to use, where to listen, how much to keep.
//!
//! [`Settings::from_env`] is handed a function instead of reading the environment itself, so that a test needs no
//! process of its own; [`process_environment`] is the real one and the only reader of the environment in the project.
//! A variable that is set to nothing counts as not set, because that is what manifests with blanks in them mean.
//!
//! Each service is chosen by the presence of its first variable, independently of the others: `DBHOST` for PostgreSQL,
//! `REDIS_URL` for Redis, `MINIO_ENDPOINT` or `MINIO_BUCKET` for S3. Everything that is wrong is reported at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::secret::Secret;

/// What the environment says, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ARTIFACTAPI_LISTEN`: where to listen.
    pub listen: SocketAddr,
    /// `ARTIFACTAPI_CONFIG`: the file that describes the repositories; `None` looks in the usual places.
    pub config: Option<PathBuf>,
    /// `ARTIFACTAPI_DATA_DIR`: where files, records and the hot tier are kept on this machine.
    pub data_dir: PathBuf,
    /// `ARTIFACTAPI_ADMIN_TOKEN`: what writers must present; `None` leaves writing switched off or open as the server says.
    pub admin_token: Option<Secret>,
    /// `ARTIFACTAPI_TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `ARTIFACTAPI_HOT_TIER_BYTES`: the most bytes kept on local disk in front of S3.
    pub hot_tier_bytes: u64,
    /// `ARTIFACTAPI_MEMORY_CACHE_BYTES`: the most bytes of small files kept in memory.
    pub memory_cache_bytes: u64,
    /// `ARTIFACTAPI_SHUTDOWN_GRACE`: how long running requests may take to end after SIGTERM.
    pub shutdown_grace: Duration,
    /// How to log.
    pub log: LogSettings,
    /// `DBHOST` and its kin; `None` keeps records in SQLite.
    pub postgres: Option<PostgresSettings>,
    /// `REDIS_URL`; `None` coordinates within this process only.
    pub redis: Option<RedisSettings>,
    /// `MINIO_*`; `None` keeps files below the data folder.
    pub s3: Option<S3Settings>,
    /// What is odd but no error, for the log.
    pub remarks: Vec<String>,
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `RUST_LOG`, handed on as it is.
    pub filter: Option<String>,
    /// `ARTIFACTAPI_LOG_FORMAT`.
    pub format: LogFormat,
}

/// `ARTIFACTAPI_LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How to reach PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// `DBHOST`: a host name, an address, or the folder of a Unix socket.
    pub host: String,
    /// `DBPORT`.
    pub port: u16,
    /// `DBUSER`.
    pub user: String,
    /// `DBPASS`; `None` when it is set to nothing, for servers that ask for no password.
    pub password: Option<Secret>,
    /// `DBNAME`.
    pub database: String,
}

/// How to reach Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// `REDIS_URL` as given; it may hold a password.
    pub url: Secret,
}

/// How to reach an S3 store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// `MINIO_ENDPOINT` with its scheme; `None` is AWS itself. With an endpoint the bucket goes into the path.
    pub endpoint: Option<Url>,
    /// `MINIO_BUCKET`.
    pub bucket: String,
    /// `MINIO_REGION`; `None` asks the AWS chain.
    pub region: Option<String>,
    /// `MINIO_ACCESS_KEY` and `MINIO_SECRET_KEY`; `None` asks the AWS chain.
    pub keys: Option<S3Keys>,
}

/// A key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Keys {
    /// `MINIO_ACCESS_KEY`.
    pub access: Secret,
    /// `MINIO_SECRET_KEY`.
    pub secret: Secret,
}
