//! What the environment may say, as tables.

use std::path::Path;
use std::time::Duration;

use crate::config::{LogFormat, Secret, Settings};

fn settings(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Settings::from_env(&lookup).map_err(|error| error.to_string().lines().map(str::to_owned).collect())
}

fn secret(text: &str) -> Secret {
    Secret::new(text).expect("not empty")
}

#[test]
fn nothing_set() {
    let settings = settings(&[("DBHOST", ""), ("REDIS_URL", ""), ("MINIO_BUCKET", "")]).expect("fine");
    assert_eq!(settings.listen.to_string(), "0.0.0.0:8000");
    assert_eq!(settings.config, None);
    assert_eq!(settings.data_dir, Path::new("./data"));
    assert_eq!(settings.admin_token, None);
    assert!(settings.trusted_proxies.is_empty());
    assert_eq!(settings.max_bytes, None);
    assert_eq!(settings.hot_tier_bytes, 10 << 30);
    assert_eq!(settings.memory_cache_bytes, 64 << 20);
    assert_eq!(settings.shutdown_grace, Duration::from_secs(30));
    assert_eq!((settings.log.filter, settings.log.format), (None, LogFormat::Text));
    assert!(settings.postgres.is_none() && settings.redis.is_none() && settings.s3.is_none());
    assert!(settings.remarks.is_empty());
}

#[test]
fn everything_set() {
    let settings = settings(&[
        ("ARTIFACTAPI_LISTEN", "[::1]:9000"),
        ("ARTIFACTAPI_CONFIG", "/etc/artifactapi/remotes.yaml"),
        ("ARTIFACTAPI_DATA_DIR", "/var/lib/artifactapi"),
        ("ARTIFACTAPI_ADMIN_TOKEN", "0123456789abcdef"),
        ("ARTIFACTAPI_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1 fd00::/8,::1"),
        ("ARTIFACTAPI_MAX_BYTES", "2TB"),
        ("ARTIFACTAPI_HOT_TIER_BYTES", "0"),
        ("ARTIFACTAPI_MEMORY_CACHE_BYTES", "1GiB"),
        ("ARTIFACTAPI_SHUTDOWN_GRACE", "1m"),
        ("ARTIFACTAPI_LOG_FORMAT", "json"),
        ("RUST_LOG", "artifactapi=debug"),
        ("DBHOST", "postgres-service"),
        ("DBPORT", "5433"),
        ("DBUSER", "artifacts"),
        ("DBPASS", "artifacts123"),
        ("DBNAME", "artifacts"),
        ("REDIS_URL", "redis://redis-service:6379"),
        ("MINIO_ENDPOINT", "minio-service:9000"),
        ("MINIO_ACCESS_KEY", "minioadmin"),
        ("MINIO_SECRET_KEY", "minioadmin"),
        ("MINIO_BUCKET", "artifacts"),
        ("MINIO_SECURE", "false"),
    ])
    .expect("fine");
    assert_eq!(settings.listen.to_string(), "[::1]:9000");
    assert_eq!(settings.config.as_deref(), Some(Path::new("/etc/artifactapi/remotes.yaml")));
    assert_eq!(settings.data_dir, Path::new("/var/lib/artifactapi"));
    assert_eq!(settings.admin_token, Some(secret("0123456789abcdef")));
    let proxies: Vec<_> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8", "::1/128"]);
    assert_eq!(settings.max_bytes, Some(2_000_000_000_000));
    assert_eq!((settings.hot_tier_bytes, settings.memory_cache_bytes), (0, 1 << 30));
    assert_eq!(settings.shutdown_grace, Duration::from_secs(60));
    assert_eq!((settings.log.filter.as_deref(), settings.log.format), (Some("artifactapi=debug"), LogFormat::Json));
    let postgres = settings.postgres.expect("postgres");
    assert_eq!((postgres.host.as_str(), postgres.port), ("postgres-service", 5433));
    assert_eq!((postgres.user.as_str(), postgres.database.as_str()), ("artifacts", "artifacts"));
    assert_eq!(postgres.password, Some(secret("artifacts123")));
    assert_eq!(settings.redis.expect("redis").url.expose(), "redis://redis-service:6379");
    let s3 = settings.s3.expect("s3");
    assert_eq!(s3.endpoint.expect("endpoint").as_str(), "http://minio-service:9000/");
    assert_eq!((s3.bucket.as_str(), s3.region.as_deref()), ("artifacts", Some("us-east-1")));
    let keys = s3.keys.expect("keys");
    assert_eq!((keys.access, keys.secret), (secret("minioadmin"), secret("minioadmin")));
    assert!(settings.remarks.is_empty());
}

#[test]
fn one_variable_at_a_time() {
    let table = [
        (
            "ARTIFACTAPI_LISTEN",
            "8000",
            "\"8000\" is not an address to listen on; write it as 0.0.0.0:8000, [::]:8000 or :8000",
        ),
        (
            "ARTIFACTAPI_LISTEN",
            "localhost:80",
            "\"localhost:80\" is not an address to listen on; write it as 0.0.0.0:8000, [::]:8000 or :8000",
        ),
        (
            "ARTIFACTAPI_ADMIN_TOKEN",
            "with space, long enough",
            "must be printable ASCII without spaces, for it travels in a header",
        ),
        (
            "ARTIFACTAPI_ADMIN_TOKEN",
            "0123456789abcdef\n",
            "holds a control character, perhaps a line feed at its end; take it out",
        ),
        (
            "ARTIFACTAPI_TRUSTED_PROXIES",
            "10.0.0.0/33",
            "\"10.0.0.0/33\" holds \"10.0.0.0/33\", which is no network; write 10.0.0.0/8 or 192.0.2.1",
        ),
        (
            "ARTIFACTAPI_HOT_TIER_BYTES",
            "10G",
            "\"10G\" is not a number of bytes; write it as 1048576, \"64MiB\" or \"10GiB\"",
        ),
        ("ARTIFACTAPI_MAX_BYTES", "0", "\"0\" would keep nothing; leave it out to set no bound"),
        (
            "ARTIFACTAPI_SHUTDOWN_GRACE",
            "soon",
            "\"soon\" is not a length of time; write seconds (300) or a text such as \"90s\", \"2h\", \"1h30m\", \"7d\"",
        ),
        ("ARTIFACTAPI_LOG_FORMAT", "xml", "\"xml\" is not a log format; write text or json"),
        (
            "REDIS_URL",
            "planted:6379",
            "not the URL of a Redis server; write it as redis://host:6379 (rediss:// for TLS)",
        ),
        (
            "REDIS_URL",
            "http://:planted@host",
            "not the URL of a Redis server; write it as redis://host:6379 (rediss:// for TLS)",
        ),
    ];
    for (name, value, expected) in table {
        let found = settings(&[(name, value)]).expect_err(name);
        assert_eq!(found, [format!("{name}: {expected}")], "{value}");
        assert!(!found.concat().contains("planted"));
    }
    for (value, expected) in [(":8000", "0.0.0.0:8000"), ("[::]:80", "[::]:80"), ("127.0.0.1:0", "127.0.0.1:0")] {
        assert_eq!(settings(&[("ARTIFACTAPI_LISTEN", value)]).expect("fine").listen.to_string(), expected);
    }
}

#[test]
fn postgres_is_all_or_nothing() {
    let all = [("DBHOST", "db"), ("DBUSER", "me"), ("DBPASS", "pw"), ("DBNAME", "things")];
    assert_eq!(settings(&all).expect("fine").postgres.expect("chosen").port, 5432);
    for missing in ["DBUSER", "DBNAME"] {
        let expected = format!("{missing}: missing; DBHOST is set, so this must be too");
        let rest: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
        assert_eq!(settings(&rest).expect_err(missing), [expected.as_str()]);
        let blank: Vec<_> =
            all.into_iter().map(|(name, value)| (name, if name == missing { "" } else { value })).collect();
        assert_eq!(settings(&blank).expect_err(missing), [expected]);
    }
    const PASSWORD: &str = "DBPASS: missing; DBHOST is set, so this must be too (to nothing, if there is no password)";
    assert_eq!(settings(&[all[0], all[1], all[3]]).expect_err("no password"), [PASSWORD]);
    let open = settings(&[all[0], all[1], ("DBPASS", ""), all[3]]).expect("fine");
    assert_eq!(open.postgres.expect("chosen").password, None);
    let all_missing = settings(&[("DBHOST", "db"), ("DBPORT", "0")]).expect_err("nearly everything is missing");
    assert_eq!(
        all_missing,
        [
            "DBPORT: \"0\" is not a port; write a number from 1 to 65535",
            "DBUSER: missing; DBHOST is set, so this must be too",
            "DBNAME: missing; DBHOST is set, so this must be too",
            PASSWORD,
        ]
    );
    let without_host = settings(&all[1..]).expect("DBHOST decides");
    assert!(without_host.postgres.is_none());
    assert_eq!(without_host.remarks, ["DBUSER, DBPASS, DBNAME set, but DBHOST is not, so records are kept in SQLite"]);
}

#[test]
fn s3_in_its_variants() {
    let chosen = |variables: &[(&str, &str)]| settings(variables).expect("fine").s3.expect("chosen");
    let aws = chosen(&[("MINIO_BUCKET", "artifacts")]);
    assert_eq!((aws.endpoint, aws.region, aws.keys), (None, None, None));
    let endpoints = [
        ("minio:9000", None, "http://minio:9000/"),
        ("minio:9000", Some("true"), "https://minio:9000/"),
        ("minio", Some("False"), "http://minio/"),
        ("[::1]:9000", None, "http://[::1]:9000/"),
        ("https://s3.example.com", None, "https://s3.example.com/"),
        ("https://s3.example.com/", Some("true"), "https://s3.example.com/"),
        ("http://minio:9000", Some("0"), "http://minio:9000/"),
    ];
    for (endpoint, secure, expected) in endpoints {
        let mut variables = vec![("MINIO_ENDPOINT", endpoint), ("MINIO_BUCKET", "artifacts"), ("MINIO_REGION", "eu")];
        variables.extend(secure.map(|secure| ("MINIO_SECURE", secure)));
        let s3 = chosen(&variables);
        assert_eq!(s3.endpoint.expect("endpoint").as_str(), expected, "{endpoint}");
        assert_eq!(s3.region.as_deref(), Some("eu"));
    }
    const ADDRESS: &str =
        "MINIO_ENDPOINT: not an address; write it as host:port or http://host:port, without path, user and query";
    let wrong: [(&[(&str, &str)], &str); 9] = [
        (&[("MINIO_ENDPOINT", "minio:9000")], "MINIO_BUCKET: missing; MINIO_ENDPOINT is set, so this must be too"),
        (
            &[("MINIO_BUCKET", "b/c")],
            "MINIO_BUCKET: not the name of a bucket; it has 3 to 255 letters, digits, '.', '_' and '-'",
        ),
        (
            &[("MINIO_BUCKET", "abc"), ("MINIO_ACCESS_KEY", "planted")],
            "MINIO_SECRET_KEY: missing; MINIO_ACCESS_KEY is set, so this must be too",
        ),
        (
            &[("MINIO_BUCKET", "abc"), ("MINIO_SECRET_KEY", "planted")],
            "MINIO_ACCESS_KEY: missing; MINIO_SECRET_KEY is set, so this must be too",
        ),
        (
            &[("MINIO_BUCKET", "abc"), ("MINIO_SECURE", "perhaps")],
            "MINIO_SECURE: \"perhaps\" is neither true nor false",
        ),
        (&[("MINIO_BUCKET", "abc"), ("MINIO_ENDPOINT", "https://a:planted@b")], ADDRESS),
        (&[("MINIO_BUCKET", "abc"), ("MINIO_ENDPOINT", "minio:9000/path")], ADDRESS),
        (&[("MINIO_BUCKET", "abc"), ("MINIO_ENDPOINT", "s3://minio")], ADDRESS),
        (
            &[("MINIO_BUCKET", "abc"), ("MINIO_ENDPOINT", "https://minio"), ("MINIO_SECURE", "false")],
            "MINIO_ENDPOINT: its scheme contradicts MINIO_SECURE; leave one of them out",
        ),
    ];
    for (variables, expected) in wrong {
        assert_eq!(settings(variables).expect_err(expected), [expected]);
    }
    let unused = settings(&[("MINIO_ACCESS_KEY", "planted"), ("MINIO_SECURE", "true")]).expect("fine");
    assert!(unused.s3.is_none());
    assert_eq!(
        unused.remarks,
        [
            "MINIO_ACCESS_KEY, MINIO_SECURE set, but neither MINIO_BUCKET nor MINIO_ENDPOINT is, so files are kept below \
             the data folder"
        ]
    );
}

#[test]
fn redis_urls() {
    let table = [
        ("redis://redis:6379", "redis://redis:6379"),
        ("rediss://me:planted@redis:6379/2", "rediss://redis:6379/2"),
        ("redis+unix:///run/redis.sock?pass=planted", "redis+unix:///run/redis.sock"),
    ];
    for (url, shown) in table {
        let redis = settings(&[("REDIS_URL", url)]).expect("fine").redis.expect("chosen");
        assert_eq!(redis.url.expose(), url);
        assert_eq!(redis.address(), shown);
    }
}

/// The variables are found by asking for them all, so one that is read and not described cannot hide.
#[test]
fn the_reference_names_every_variable() {
    let reference = include_str!("../../../docs/configuration.md");
    let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        matches!(name, "DBHOST" | "MINIO_ENDPOINT").then(|| "host".to_owned())
    };
    assert!(Settings::from_env(&lookup).is_err());
    assert_eq!(asked.borrow().len(), 24, "{asked:?}");
    let missing: Vec<_> = asked.take().into_iter().filter(|name| !reference.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
