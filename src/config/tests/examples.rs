//! The shipped file and a file with every key come out as the values that they say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::{FORMATS, Role};

use super::{lookup, read};
use crate::config::{
    Admission, CachePolicy, Credentials, FileTtl, Kind, Repositories, Repository, Secret, Source, Timeouts, Verify,
};

fn get<'r>(repositories: &'r Repositories, name: &str) -> &'r Repository {
    repositories.get(name).expect(name)
}

fn remote(repository: &Repository) -> &crate::config::Remote {
    match &repository.kind {
        Kind::Remote(remote) => remote,
        other => panic!("{} is {other:?}", repository.name),
    }
}

/// Name, package, base, description, `index_ttl` and patterns.
type Row = (&'static str, &'static str, &'static str, &'static str, u64, &'static [&'static str]);

#[test]
fn the_shipped_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = Source::find(None, root, FORMATS, Arc::new(lookup)).expect("config/remotes.yaml");
    assert_eq!(source.file(), root.join("config/remotes.yaml"));
    let repositories = source.load().expect("valid");
    let names: Vec<_> = repositories.iter().map(|repository| repository.name.as_str()).collect();
    assert_eq!(names, ["almalinux", "alpine", "github", "hashicorp-releases", "local-generic"]);
    assert_eq!(repositories.remarks().count(), 0);

    let table: [Row; 4] = [
        (
            "github",
            "generic",
            "https://github.com/",
            "GitHub releases and files",
            0,
            &[
                "gruntwork-io/terragrunt/.*terragrunt_linux_amd64.*",
                r"lxc/incus/.*\.tar\.gz$",
                r"prometheus/node_exporter/.*/node_exporter-.*\.linux-amd64\.tar\.gz$",
            ],
        ),
        (
            "hashicorp-releases",
            "generic",
            "https://releases.hashicorp.com/",
            "HashiCorp product releases",
            0,
            &[
                r"terraform/.*terraform_.*_linux_amd64\.zip$",
                r"vault/.*vault_.*_linux_amd64\.zip$",
                r"consul/.*/consul_.*_linux_amd64\.zip$",
            ],
        ),
        (
            "alpine",
            "alpine",
            "https://dl-cdn.alpinelinux.org/",
            "Alpine Linux APK package repository",
            7200,
            &[r".*/x86_64/.*\.apk$"],
        ),
        (
            "almalinux",
            "rpm",
            "http://mirror.aarnet.edu.au/pub/almalinux/",
            "AlmaLinux RPM package repository",
            7200,
            &[r".*/x86_64/.*\.rpm$", r".*/noarch/.*\.rpm$", "RPM-GPG-KEY-AlmaLinux-[0-9]+$"],
        ),
    ];
    for (name, package, base, description, index_ttl, patterns) in table {
        let repository = get(&repositories, name);
        assert_eq!(repository.format.name(), package, "{name}");
        assert_eq!(remote(repository).home().as_str(), base, "{name}");
        assert_eq!(repository.description.as_deref(), Some(description), "{name}");
        assert_eq!(repository.cache.index_ttl, Duration::from_secs(index_ttl), "{name}");
        assert_eq!(repository.cache.file_ttl, FileTtl::Forever, "{name}");
        let include: Vec<_> = repository.patterns.include().expect(name).iter().map(String::as_str).collect();
        assert_eq!(include, patterns, "{name}");
    }
    let local = get(&repositories, "local-generic");
    assert!(matches!(local.kind, Kind::Local(_)));
    assert_eq!(local.format.name(), "generic");
    assert_eq!(local.patterns.include(), None);

    let github = |path: &str| get(&repositories, "github").patterns.admits(path, Role::File);
    let release = "gruntwork-io/terragrunt/releases/download/v0.96.1/terragrunt_linux_amd64.tar.gz";
    assert_eq!(github(release), Admission::Admitted);
    assert_eq!(github("gruntwork-io/terragrunt/releases/download/v0.96.1/SHA256SUMS"), Admission::NotIncluded);
}

/// Whoever copies a line out of README into a client's file gets what it names.
#[test]
fn the_keys_that_readme_has_clients_ask_for_are_admitted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = Source::find(None, root, FORMATS, Arc::new(lookup)).and_then(|source| source.load()).expect("valid");
    let readme = include_str!("../../../README.md");
    let keys: Vec<_> =
        readme.lines().filter_map(|line| line.strip_prefix("gpgkey=http://localhost:8000/api/")).collect();
    assert!(!keys.is_empty(), "README sets up dnf");
    for key in keys {
        let (name, path) = key.split_once('/').expect("a repository and a path");
        assert_eq!(get(&shipped, name).patterns.admits(path, Role::File), Admission::Admitted, "{key}");
    }
}

#[test]
fn defaults() {
    let text = "remotes:\n  r: {base_url: 'https://example.com/a', package: rpm}\n";
    let repositories = read(text).expect("valid");
    let repository = get(&repositories, "r");
    let remote = remote(repository);
    assert_eq!(remote.timeouts, Timeouts { connect: Duration::from_secs(10), idle: Duration::from_secs(30) });
    assert!(!remote.has_mirrors() && remote.credentials.is_none() && !remote.allow_private);
    assert_eq!(remote.max_parallel, None);
    let expected = CachePolicy {
        file_ttl: FileTtl::Forever,
        index_ttl: Duration::from_secs(300),
        negative_ttl: Duration::from_secs(30),
        refresh_wait: Duration::from_secs(2),
        pin: Duration::from_secs(60),
        snapshot_keep: Duration::from_secs(604_800),
        max_bytes: None,
    };
    assert_eq!(repository.cache, expected);
    assert_eq!(repository.patterns.admits("anything", Role::Package), Admission::Admitted);
    let remarks: Vec<_> = repositories.remarks().collect();
    assert_eq!(remarks, ["r has no include_patterns: all that its upstream has can be fetched through it"]);
    assert!(read("remotes: {}").expect("valid").is_empty());
}

#[test]
fn every_key() {
    let text = r#"
remotes:
  full:
    base_url: http://127.0.0.1:8080/pub
    mirrors: ["https://mirror.example/pub/", "https://other.example"]
    type: remote
    package: rpm
    description: "Everything"
    include_patterns: ['.*\.rpm$']
    exclude_patterns: ['.*-debuginfo-.*']
    username_env: UPSTREAM_USER
    password_env: UPSTREAM_PASSWORD
    connect_timeout: 5
    idle_timeout: 1m30s
    allow_private_redirects: true
    max_parallel: 4
    allow_rollback: true
    verify: off
    hold: 7d
    prefetch: {used: true, include: ['x86_64/.*'], before_switch: true, parallel: 3, bandwidth: 20 MB}
    cache: &cache
      file_ttl: 7d
      index_ttl: 2h
      negative_ttl: 0
      refresh_wait: 500ms
      pin: 90s
      snapshot_keep: 1w2d
  tokened:
    base_url: https://example.com
    package: rpm
    token: planted-secret-token
    cache:
      <<: *cache
      index_ttl: 0
      max_bytes: 20GiB
  ours:
    type: local
    package: rpm
    cache: *cache
  all:
    type: virtual
    package: rpm
    members: [ours, full]
  more:
    type: virtual
    package: rpm
    members: [all, tokened]
"#;
    let repositories = read(text).expect("valid");
    let full = get(&repositories, "full");
    let upstream = remote(full);
    let origins: Vec<_> = upstream.named().map(url::Url::as_str).collect();
    assert_eq!(origins, ["http://127.0.0.1:8080/pub/", "https://mirror.example/pub/", "https://other.example/"]);
    let secret = |text: &str| Secret::new(text).expect("not empty");
    let credentials = Credentials::Basic { username: secret("reader"), password: secret("planted-secret-env") };
    assert_eq!(upstream.credentials_for(upstream.home()), Some(&credentials));
    for other in upstream.named().skip(1) {
        assert_eq!(upstream.credentials_for(other), None, "{other}");
    }
    assert_eq!(upstream.timeouts, Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(90) });
    assert!(upstream.allow_private && upstream.allow_rollback);
    assert_eq!(upstream.verify, Verify::Off);
    assert_eq!(upstream.hold, Some(Duration::from_secs(604_800)));
    let prefetch = upstream.prefetch.as_ref().expect("prefetch");
    assert!(prefetch.used && prefetch.before_switch);
    assert_eq!(prefetch.include.as_ref().map(|include| include.written().len()), Some(1));
    assert_eq!((prefetch.parallel.get(), prefetch.bandwidth.map(u64::from)), (3, Some(20_000_000)));
    assert_eq!(upstream.max_parallel.map(std::num::NonZeroUsize::get), Some(4));
    let cache = CachePolicy {
        file_ttl: FileTtl::For(Duration::from_secs(604_800)),
        index_ttl: Duration::from_secs(7200),
        negative_ttl: Duration::ZERO,
        refresh_wait: Duration::from_millis(500),
        pin: Duration::from_secs(90),
        snapshot_keep: Duration::from_secs(777_600),
        max_bytes: None,
    };
    assert_eq!(full.cache, cache);
    assert_eq!(get(&repositories, "ours").cache, cache);
    let tokened = CachePolicy { index_ttl: Duration::ZERO, max_bytes: Some(20 << 30), ..cache };
    assert_eq!(get(&repositories, "tokened").cache, tokened);
    let token = Some(Credentials::Bearer(secret("planted-secret-token")));
    assert_eq!(remote(get(&repositories, "tokened")).credentials, token);
    let Kind::Virtual(more) = &get(&repositories, "more").kind else { panic!("virtual") };
    assert_eq!(more.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["all", "tokened"]);
    assert!(more.deploy_to.is_none());
    let remarks: Vec<_> = repositories.remarks().collect();
    assert_eq!(
        remarks,
        [
            "full sends its credentials over http: whoever is on the way can read them",
            "tokened has no include_patterns: all that its upstream has can be fetched through it",
        ]
    );
}

#[test]
fn secrets_in_files() {
    let folder = tempfile::tempdir().expect("folder");
    let text = "remotes:\n  r:\n    base_url: https://example.com\n    package: generic\n    \
         username: me\n    password_file: secrets/password\n";
    std::fs::write(folder.path().join("remotes.yaml"), text).expect("write");
    std::fs::create_dir(folder.path().join("secrets")).expect("folder");
    for (content, expected) in [("one", "one"), ("two\n", "two"), ("three\r\n", "three"), (" four ", " four ")] {
        std::fs::write(folder.path().join("secrets/password"), content).expect("write");
        let repositories = super::source(folder.path()).load().expect("valid");
        let Some(Credentials::Basic { password, .. }) = &remote(get(&repositories, "r")).credentials else {
            panic!("basic")
        };
        assert_eq!(password.expose(), expected);
    }
}

/// What is not described does not exist for whoever reads the reference, so every key and variable is in it.
#[test]
fn the_reference_names_every_key() {
    let reference = include_str!("../../../docs/configuration.md");
    let keys = crate::config::document::known_keys();
    let missing: Vec<_> = keys
        .filter(|key| !key.ends_with("_env") && !key.ends_with("_file"))
        .filter(|key| !reference.contains(&format!("`{key}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
