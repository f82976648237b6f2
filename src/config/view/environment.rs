//! The environment as `GET /config` shows it: every variable that is set or has a default, by its name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Time;
use crate::config::secret::STARS;
use crate::config::settings::{RedisSettings, Settings};

/// Every setting by the name of its variable. Taken apart field by field, so that a new one cannot be forgotten here.
pub(super) fn environment(settings: &Settings) -> BTreeMap<&'static str, Value> {
    let Settings {
        listen,
        config,
        data_dir,
        admin_token,
        token,
        trusted_proxies,
        max_bytes,
        hot_tier_bytes,
        memory_cache_bytes,
        shutdown_grace,
        log,
        postgres,
        redis,
        s3,
        remarks: _,
    } = settings;
    let stars = |secret: bool| if secret { json!(STARS) } else { Value::Null };
    let postgres = postgres.as_ref();
    let s3 = s3.as_ref();
    let endpoint = s3.and_then(|s3| s3.endpoint.as_ref());
    let keys = s3.is_some_and(|s3| s3.keys.is_some());
    let all = [
        ("ARTIFACTAPI_LISTEN", json!(listen)),
        ("ARTIFACTAPI_CONFIG", json!(config)),
        ("ARTIFACTAPI_DATA_DIR", json!(data_dir)),
        ("ARTIFACTAPI_ADMIN_TOKEN", stars(admin_token.is_some())),
        ("ARTIFACTAPI_TOKEN", stars(token.is_some())),
        ("ARTIFACTAPI_TRUSTED_PROXIES", json!(trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>())),
        ("ARTIFACTAPI_MAX_BYTES", json!(max_bytes)),
        ("ARTIFACTAPI_HOT_TIER_BYTES", json!(hot_tier_bytes)),
        ("ARTIFACTAPI_MEMORY_CACHE_BYTES", json!(memory_cache_bytes)),
        ("ARTIFACTAPI_SHUTDOWN_GRACE", json!(Time(*shutdown_grace))),
        ("ARTIFACTAPI_LOG_FORMAT", json!(log.format.name())),
        ("RUST_LOG", json!(log.filter)),
        ("DBHOST", json!(postgres.map(|postgres| &postgres.host))),
        ("DBPORT", json!(postgres.map(|postgres| postgres.port))),
        ("DBUSER", json!(postgres.map(|postgres| &postgres.user))),
        ("DBPASS", stars(postgres.is_some_and(|postgres| postgres.password.is_some()))),
        ("DBNAME", json!(postgres.map(|postgres| &postgres.database))),
        ("REDIS_URL", json!(redis.as_ref().map(RedisSettings::address))),
        ("MINIO_ENDPOINT", json!(endpoint.map(url::Url::as_str))),
        ("MINIO_SECURE", json!(endpoint.map(|endpoint| endpoint.scheme() == "https"))),
        ("MINIO_BUCKET", json!(s3.map(|s3| &s3.bucket))),
        ("MINIO_REGION", json!(s3.and_then(|s3| s3.region.as_ref()))),
        ("MINIO_ACCESS_KEY", stars(keys)),
        ("MINIO_SECRET_KEY", stars(keys)),
    ];
    all.into_iter().filter(|(_, value)| !value.is_null()).collect()
}
