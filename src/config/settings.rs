//! What the environment says: which services to use, where to listen, how much to keep.
//!
//! [`Settings::from_env`] is handed a function instead of reading the environment itself, so that a test needs no
//! process of its own; [`process_environment`] is the real one. Everything that is wrong is reported at once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

#[cfg(doc)]
use super::environment::process_environment;
use super::environment::{SettingsError, Variables};
use super::secret::{STARS, Secret};
use super::{duration, services, size};

/// What the environment says, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ARTIFACTAPI_LISTEN`: where to listen.
    pub listen: SocketAddr,
    /// `ARTIFACTAPI_CONFIG`: the file that describes the repositories; `None` looks in the usual places.
    pub config: Option<PathBuf>,
    /// `ARTIFACTAPI_DATA_DIR`: where files, records and the hot tier are kept on this machine.
    pub data_dir: PathBuf,
    /// `ARTIFACTAPI_ADMIN_TOKEN`: what a client must present to change things; `None` when there is none.
    pub admin_token: Option<Secret>,
    /// `ARTIFACTAPI_TOKEN`: what `upload` and `import` present to a server.
    pub token: Option<Secret>,
    /// `ARTIFACTAPI_TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `ARTIFACTAPI_MAX_BYTES`: the most bytes that all repositories together hold; `None` sets no bound.
    pub max_bytes: Option<u64>,
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

impl LogFormat {
    /// The word in the variable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
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

impl RedisSettings {
    /// The URL without user, password and query, for logs and the like.
    #[must_use]
    pub fn address(&self) -> String {
        let Ok(mut url) = Url::parse(self.url.expose()) else { return STARS.to_owned() };
        // Both fail for URLs without a host, which hold neither.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        url.into()
    }
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

impl Settings {
    /// Where to listen unless told otherwise.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8000);
    /// Where things are kept unless told otherwise.
    pub const DATA_DIR: &str = "./data";
    /// The hot tier unless told otherwise: 10 GiB.
    pub const HOT_TIER_BYTES: u64 = 10 << 30;
    /// Small files in memory unless told otherwise: 64 MiB.
    pub const MEMORY_CACHE_BYTES: u64 = 64 << 20;
    /// How long to wait for running requests unless told otherwise.
    pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
    /// What is logged unless told otherwise. The libraries that look for AWS credentials write pages about places where there are
    /// none; what comes of it is our own sentence.
    pub const LOG: &str = "info,aws_config=error";
    /// Shorter tokens are remarked on: they can be guessed.
    const ADMIN_TOKEN_BYTES: usize = 16;

    /// Reads the variables that `lookup` answers for.
    ///
    /// # Errors
    /// [`SettingsError`] names every variable that is wrong or missing, and what to set it to.
    pub fn from_env(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut from = Variables::new(lookup);
        let mut remarks = Vec::new();
        let settings = Self {
            listen: from.parsed("ARTIFACTAPI_LISTEN", listen).unwrap_or(Self::LISTEN),
            config: from.text("ARTIFACTAPI_CONFIG").map(PathBuf::from),
            data_dir: from.text("ARTIFACTAPI_DATA_DIR").unwrap_or_else(|| Self::DATA_DIR.to_owned()).into(),
            admin_token: admin_token(&mut from, &mut remarks),
            token: token(&mut from, "ARTIFACTAPI_TOKEN"),
            trusted_proxies: from.parsed("ARTIFACTAPI_TRUSTED_PROXIES", networks).unwrap_or_default(),
            max_bytes: from.parsed("ARTIFACTAPI_MAX_BYTES", size::parse_budget),
            hot_tier_bytes: from.parsed("ARTIFACTAPI_HOT_TIER_BYTES", size::parse).unwrap_or(Self::HOT_TIER_BYTES),
            memory_cache_bytes: from
                .parsed("ARTIFACTAPI_MEMORY_CACHE_BYTES", size::parse)
                .unwrap_or(Self::MEMORY_CACHE_BYTES),
            shutdown_grace: from.parsed("ARTIFACTAPI_SHUTDOWN_GRACE", duration::parse).unwrap_or(Self::SHUTDOWN_GRACE),
            log: LogSettings {
                filter: from.text("RUST_LOG"),
                format: from.parsed("ARTIFACTAPI_LOG_FORMAT", log_format).unwrap_or_default(),
            },
            postgres: services::postgres(&mut from, &mut remarks),
            redis: services::redis(&mut from),
            s3: services::s3(&mut from, &mut remarks),
            remarks,
        };
        if from.problems.is_empty() { Ok(settings) } else { Err(SettingsError(from.problems)) }
    }

    /// The same with what was found out where nothing is said: the file of the repositories, and what is logged.
    #[must_use]
    pub fn with_defaults(&self, file: &Path) -> Self {
        let mut settings = self.clone();
        settings.config.get_or_insert_with(|| file.to_owned());
        settings.log.filter.get_or_insert_with(|| Self::LOG.to_owned());
        settings
    }
}

/// An address with a port, or `:8000` for all addresses.
fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    let whole = if text.starts_with(':') { format!("{}{text}", Ipv4Addr::UNSPECIFIED) } else { text.to_owned() };
    whole.parse().map_err(|_| "is not an address to listen on; write it as 0.0.0.0:8000, [::]:8000 or :8000")
}

fn admin_token(from: &mut Variables<'_>, remarks: &mut Vec<String>) -> Option<Secret> {
    const NAME: &str = "ARTIFACTAPI_ADMIN_TOKEN";
    let token = token(from, NAME)?;
    if token.expose().len() < Settings::ADMIN_TOKEN_BYTES {
        remarks.push(format!("{NAME} has fewer than {} characters and can be guessed", Settings::ADMIN_TOKEN_BYTES));
    }
    Some(token)
}

fn token(from: &mut Variables<'_>, name: &str) -> Option<Secret> {
    let token = from.secret(name)?;
    if !token.expose().bytes().all(|b| b.is_ascii_graphic()) {
        from.refuse(name, "must be printable ASCII without spaces, for it travels in a header");
    }
    Some(token)
}

/// Networks (`10.0.0.0/8`) and single addresses, with commas or blanks between them.
fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let network = |word: &str| word.parse().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
    words
        .map(|word| {
            network(word).map_err(|_| format!("holds {word:?}, which is no network; write 10.0.0.0/8 or 192.0.2.1"))
        })
        .collect()
}

fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is not a log format; write text or json"),
    }
}
