//! No secret in anything that is shown: `/config`, debug output, error messages.

use artifactapi_formats::{OpenPgpKey, OpenPgpKind, Sha256};
use serde_json::json;

use super::read;
use crate::config::{ConfigView, Settings};

const TEXT: &str = "
remotes:
  basic:
    base_url: https://one.example
    package: rpm
    include_patterns: ['.*']
    username: planted-secret-user
    password: planted-secret-word
    max_parallel: 2
    prefetch: {used: true, include: ['a/.*'], bandwidth: 10MiB}
    mirrors: ['https://two.example/x']
    cache: {refresh_wait: 1500ms, file_ttl: 1h, max_bytes: 100MB}
  bearer: {base_url: 'https://three.example', package: alpine, proxy: 'http://me:planted-secret-proxy@proxy.example:3128', token_env: UPSTREAM_PASSWORD, exclude_patterns: [a]}
  listed: {metalink: 'https://four.example/m?repo=a', package: rpm}
  ours: {type: local, package: rpm, description: Ours, overwrite: true, root_depth: 2, quota: 1GB, compression: zstd}
  plain: {type: local, package: generic, max_file_bytes: 1MiB}
  all: {type: virtual, package: rpm, members: [ours, basic], deploy_to: ours}
  closed: {type: local, package: rpm, anonymous_read: false}
access:
  tokens:
    - {name: ci, sha256: 84e7b9b8a4ee5f0dcfcb4e39d6f1a6b2fdcaa4c1e1c5ac4a3c2f1a0b9d8e7f60, grants: {ours: [write, read], '*': [read]}}
    - {name: robot, token_env: UPSTREAM_PASSWORD, grants: {all: [admin]}}
";

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "ARTIFACTAPI_ADMIN_TOKEN" => "planted-secret-admin",
        "ARTIFACTAPI_TOKEN" => "planted-secret-token",
        "ARTIFACTAPI_TRUSTED_PROXIES" => "10.0.0.0/8",
        "ARTIFACTAPI_MAX_BYTES" => "1TB",
        "DBHOST" => "db",
        "DBUSER" => "artifacts",
        "DBPASS" => "planted-secret-db",
        "DBNAME" => "things",
        "REDIS_URL" => "redis://:planted-secret-redis@redis:6379/1",
        "MINIO_ENDPOINT" => "minio:9000",
        "MINIO_BUCKET" => "artifacts",
        "MINIO_ACCESS_KEY" => "planted-secret-access",
        "MINIO_SECRET_KEY" => "planted-secret-secret",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn shows_everything_but_the_secrets() {
    let settings = Settings::from_env(&environment).expect("fine");
    let repositories = read(TEXT).expect("valid");
    let view = serde_json::to_value(ConfigView::of(&settings, &repositories)).expect("json");
    for shown in
        [view.to_string(), format!("{settings:?} {settings:#?}"), format!("{repositories:?} {repositories:#?}")]
    {
        assert!(!shown.contains("planted") && !shown.contains("84e7b9b8"), "{shown}");
    }
    assert_eq!(view["digest"], json!(repositories.digest().hex()));
    assert_eq!(
        view["remotes"]["basic"],
        json!({
            "type": "remote", "package": "rpm", "base_url": "https://one.example/", "mirrors": ["https://two.example/x/"],
            "username": "***", "password": "***", "connect_timeout": 10, "idle_timeout": 30,
            "allow_private_redirects": false, "max_parallel": 2, "allow_rollback": false, "verify": "strict",
            "prefetch": {
                "used": true, "include": ["a/.*"], "before_switch": false, "parallel": 2, "bandwidth": 10_485_760,
            },
                        "include_patterns": [".*"], "anonymous_read": true,
            "cache": {
                "file_ttl": 3600, "index_ttl": 300, "negative_ttl": 30, "refresh_wait": "1500ms", "pin": 60,
                "snapshot_keep": 604_800, "max_bytes": 100_000_000,
            },
        })
    );
    assert_eq!(view["remotes"]["bearer"]["token"], "***");
    assert_eq!(view["remotes"]["bearer"]["exclude_patterns"], json!(["a"]));
    let listed = &view["remotes"]["listed"];
    assert_eq!((&listed["metalink"], listed.get("base_url")), (&json!("https://four.example/m?repo=a"), None));
    assert_eq!((listed.get("mirrorlist"), listed.get("mirrors")), (None, None));
    let ours = &view["remotes"]["ours"];
    assert_eq!(
        *ours,
        json!({
            "type": "local", "package": "rpm", "description": "Ours", "overwrite": true, "root_depth": 2,
            "max_file_bytes": 10_737_418_240_u64, "quota": 1_000_000_000, "compression": "zstd", "anonymous_read": true,
            "cache": ours["cache"],
        })
    );
    let plain = &view["remotes"]["plain"];
    assert_eq!((&plain["max_file_bytes"], plain.get("compression")), (&json!(1_048_576), None));
    assert_eq!((&view["remotes"]["closed"]["compression"], plain.get("root_depth")), (&json!("gzip"), None));
    assert_eq!(
        view["remotes"]["all"],
        json!({
            "type": "virtual", "package": "rpm", "members": ["ours", "basic"], "deploy_to": "ours", "anonymous_read": true,
            "cache": {"index_ttl": 300, "refresh_wait": 2, "pin": 60, "snapshot_keep": 604_800},
        })
    );
    assert_eq!(view["remotes"]["closed"]["anonymous_read"], false);
    assert_eq!(
        view["access"],
        json!({"tokens": [
            {"name": "ci", "sha256": "***", "grants": {"*": ["read"], "ours": ["read", "write"]}},
            {"name": "robot", "sha256": "***", "grants": {"all": ["admin"]}},
        ]})
    );
    let some = ConfigView::of(&settings, &repositories).only(|name| name != "closed");
    let some = serde_json::to_value(some).expect("json");
    assert!(some["remotes"].get("closed").is_none() && some.get("access").is_none(), "{some}");
    assert_eq!(some["remotes"]["basic"], view["remotes"]["basic"]);
    assert_eq!(
        view["environment"],
        json!({
            "ARTIFACTAPI_LISTEN": "0.0.0.0:8000", "ARTIFACTAPI_DATA_DIR": "./data", "ARTIFACTAPI_ADMIN_TOKEN": "***",
            "ARTIFACTAPI_TOKEN": "***",
            "ARTIFACTAPI_TRUSTED_PROXIES": ["10.0.0.0/8"],
            "ARTIFACTAPI_MAX_BYTES": 1_000_000_000_000_u64, "ARTIFACTAPI_HOT_TIER_BYTES": 10_737_418_240_u64,
            "ARTIFACTAPI_MEMORY_CACHE_BYTES": 67_108_864, "ARTIFACTAPI_SHUTDOWN_GRACE": 30,
            "ARTIFACTAPI_LOG_FORMAT": "text", "DBHOST": "db", "DBPORT": 5432, "DBUSER": "artifacts", "DBPASS": "***",
            "DBNAME": "things", "REDIS_URL": "redis://redis:6379/1", "MINIO_ENDPOINT": "http://minio:9000/",
            "MINIO_SECURE": false, "MINIO_BUCKET": "artifacts", "MINIO_REGION": "us-east-1", "MINIO_ACCESS_KEY": "***",
            "MINIO_SECRET_KEY": "***",
        })
    );
}

/// Of keys that sign, what clients know them by, and nothing of what they are.
#[test]
fn keys_are_shown_by_name() {
    let mut count = 0;
    let mut random = |bytes: &mut [u8]| {
        bytes.iter_mut().for_each(|byte| {
            count += 1;
            *byte = Sha256::of(format!("{count}").as_bytes()).as_bytes()[0];
        });
    };
    let key = OpenPgpKey::generate(OpenPgpKind::Ed25519, "Example <a@example.org>", 1_735_689_600, &mut random);
    let key = key.expect("a key");
    let secret = key.secret().expect("armored");
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("our.key"), &secret).expect("written");
    let text = "remotes:\n  ours: {type: local, package: rpm, signing_keys: [our.key]}\n";
    std::fs::write(folder.path().join("remotes.yaml"), text).expect("written");
    let repositories = super::source(folder.path()).load().expect("valid");
    let settings = Settings::from_env(&|_| None).expect("fine");
    let view = serde_json::to_value(ConfigView::of(&settings, &repositories)).expect("json");
    assert_eq!(view["remotes"]["ours"]["signing_keys"], json!([key.fingerprint()]));
    let shown = format!("{view} {repositories:?}");
    let lines = secret.lines().filter(|line| line.len() > 40);
    assert!(lines.clone().count() > 2 && lines.clone().all(|line| !shown.contains(line)), "{shown}");
}

#[test]
fn the_view_can_be_written_back() {
    let repositories = read(TEXT).expect("valid");
    let settings = Settings::from_env(&|_| None).expect("fine");
    let view = serde_json::to_value(ConfigView::of(&settings, &repositories)).expect("json");
    // JSON is YAML, and what is shown is named as it is written; only the secrets have become stars.
    let again = read(&json!({"remotes": view["remotes"]}).to_string()).expect("valid");
    let view_again = serde_json::to_value(ConfigView::of(&settings, &again)).expect("json");
    assert_eq!(view["remotes"], view_again["remotes"]);
    assert_eq!(view["environment"].as_object().map(serde_json::Map::len), Some(7));
}
