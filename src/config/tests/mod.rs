//! Tests that look at the configuration as a whole.

mod access;
mod environment;
mod errors;
mod examples;
mod files;
mod patterns;
mod reload;
mod trust;
mod upstreams;
mod view;

use std::path::Path;
use std::sync::Arc;

use artifactapi_formats::FORMATS;

use super::{ConfigError, Repositories, Source};

/// The environment that the files of these tests may name.
fn lookup(name: &str) -> Option<String> {
    match name {
        "UPSTREAM_USER" => Some("reader".to_owned()),
        "UPSTREAM_PASSWORD" => Some("planted-secret-env".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn source(folder: &Path) -> Source {
    Source::find(Some(Path::new("remotes.yaml")), folder, FORMATS, Arc::new(lookup)).expect("a file that is named")
}

/// Reads `text` as the remotes.yaml of a folder of its own.
fn read(text: &str) -> Result<Repositories, ConfigError> {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("remotes.yaml"), text).expect("write");
    source(folder.path()).load()
}

/// What is wrong with `text`, one problem a line and without the file's name.
fn problems(text: &str) -> Vec<String> {
    match read(text) {
        Err(ConfigError::Invalid { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{text}\n{other:?}"),
    }
}

/// A remote with one more line.
fn with(line: &str) -> Vec<String> {
    problems(&format!("remotes:\n  r:\n    base_url: https://example.com\n    package: rpm\n    {line}\n"))
}
