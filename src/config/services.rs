//! The variables of the three services: PostgreSQL, Redis and S3.
//!
//! Each is chosen by the presence of its first variable, independently of the others. What belongs to a service that is
//! not chosen is ignored, but remarked on: `DBUSER` without `DBHOST` is more often a slip than a wish.

use url::Url;

use super::environment::Variables;
use super::settings::{PostgresSettings, RedisSettings, S3Keys, S3Settings};

/// Reads `DBHOST` and its kin.
pub(super) fn postgres(from: &mut Variables<'_>, remarks: &mut Vec<String>) -> Option<PostgresSettings> {
    const WITH: [&str; 4] = ["DBPORT", "DBUSER", "DBPASS", "DBNAME"];
    const DEFAULT_PORT: u16 = 5432;
    let Some(host) = from.text("DBHOST") else {
        ignored(from, &WITH, "DBHOST is not, so records are kept in SQLite", remarks);
        return None;
    };
    let port = from.parsed("DBPORT", |text| match text.parse() {
        Ok(0) | Err(_) => Err("is not a port; write a number from 1 to 65535"),
        Ok(port) => Ok(port),
    });
    let user = from.needed("DBUSER", "DBHOST");
    let database = from.needed("DBNAME", "DBHOST");
    // Set to nothing is an answer here: there are servers that ask for no password.
    if !from.is_set("DBPASS") {
        from.refuse("DBPASS", "missing; DBHOST is set, so this must be too (to nothing, if there is no password)");
    }
    let password = from.secret("DBPASS");
    Some(PostgresSettings { host, port: port.unwrap_or(DEFAULT_PORT), user: user?, password, database: database? })
}

/// Reads `REDIS_URL`.
pub(super) fn redis(from: &mut Variables<'_>) -> Option<RedisSettings> {
    let url = from.secret("REDIS_URL")?;
    let fine = Url::parse(url.expose()).is_ok_and(|url| match url.scheme() {
        "redis" | "rediss" => url.has_host(),
        "redis+unix" | "unix" => true,
        _ => false,
    });
    if !fine {
        from.refuse("REDIS_URL", "not the URL of a Redis server; write it as redis://host:6379 (rediss:// for TLS)");
        return None;
    }
    Some(RedisSettings { url })
}

/// Reads `MINIO_ENDPOINT` and its kin.
pub(super) fn s3(from: &mut Variables<'_>, remarks: &mut Vec<String>) -> Option<S3Settings> {
    const WITH: [&str; 4] = ["MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_REGION", "MINIO_SECURE"];
    let endpoint = from.text("MINIO_ENDPOINT");
    let first = if endpoint.is_some() { "MINIO_ENDPOINT" } else { "MINIO_BUCKET" };
    if endpoint.is_none() && from.text("MINIO_BUCKET").is_none() {
        let why = "neither MINIO_BUCKET nor MINIO_ENDPOINT is, so files are kept below the data folder";
        ignored(from, &WITH, why, remarks);
        return None;
    }
    let secure = from.parsed("MINIO_SECURE", flag);
    let endpoint = match endpoint.map(|text| address(&text, secure)) {
        Some(Err(text)) => {
            from.refuse("MINIO_ENDPOINT", text);
            None
        }
        Some(Ok(url)) => Some(url),
        None => None,
    };
    let bucket = from.needed("MINIO_BUCKET", first);
    if bucket.as_deref().is_some_and(|name| !is_bucket(name)) {
        from.refuse("MINIO_BUCKET", "not the name of a bucket; it has 3 to 255 letters, digits, '.', '_' and '-'");
    }
    let keys = match (from.secret("MINIO_ACCESS_KEY"), from.secret("MINIO_SECRET_KEY")) {
        (Some(access), Some(secret)) => Some(S3Keys { access, secret }),
        (None, None) => None,
        (Some(_), None) => from.needed("MINIO_SECRET_KEY", "MINIO_ACCESS_KEY").and(None),
        (None, Some(_)) => from.needed("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY").and(None),
    };
    // Stores that are not AWS check signatures against a region as well, and this is the one they are set up with.
    let region = from.text("MINIO_REGION").or_else(|| endpoint.is_some().then(|| "us-east-1".to_owned()));
    Some(S3Settings { endpoint, bucket: bucket?, region, keys })
}

fn ignored(from: &Variables<'_>, names: &[&str], why: &str, remarks: &mut Vec<String>) {
    let set: Vec<_> = names.iter().copied().filter(|name| from.is_set(name)).collect();
    if !set.is_empty() {
        remarks.push(format!("{} set, but {why}", set.join(", ")));
    }
}

fn flag(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

/// `host:port`, with the scheme that `MINIO_SECURE` says, or a URL that says it itself. The message does not repeat it.
fn address(text: &str, secure: Option<bool>) -> Result<Url, &'static str> {
    const WANTED: &str = "not an address; write it as host:port or http://host:port, without path, user and query";
    let scheme = if secure.unwrap_or(false) { "https" } else { "http" };
    let whole = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
    let url = Url::parse(&whole).map_err(|_| WANTED)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if !bare || !anonymous || !url.has_host() || !matches!(url.scheme(), "http" | "https") {
        return Err(WANTED);
    }
    if secure.is_some_and(|secure| secure != (url.scheme() == "https")) {
        return Err("its scheme contradicts MINIO_SECURE; leave one of them out");
    }
    Ok(url)
}

fn is_bucket(name: &str) -> bool {
    (3..=255).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
