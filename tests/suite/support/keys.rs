//! Keys as operators make them: by the server's own command.

use std::path::PathBuf;

use super::process;
use super::server::binary;
use super::site::Setup;

/// A new key for rpm indexes: its secret and its public half.
pub(crate) async fn for_rpm(setup: &Setup) -> (PathBuf, PathBuf) {
    let keys = new(setup, "rpm", "Example packages <packages@example.org>").await;
    let file = |suffix: &str| {
        let mut entries = std::fs::read_dir(&keys).expect("keys").map(|entry| entry.expect("a key").path());
        entries.find(|path| path.to_string_lossy().ends_with(suffix)).expect("a key")
    };
    (file(".key"), file(".asc"))
}

/// A new key for apk indexes: its secret and its public half.
pub(crate) async fn for_apk(setup: &Setup) -> (PathBuf, PathBuf) {
    let keys = new(setup, "apk", "ci@example.org").await;
    (keys.join("ci@example.org.rsa"), keys.join("ci@example.org.rsa.pub"))
}

async fn new(setup: &Setup, format: &str, owner: &str) -> PathBuf {
    let keys = setup.run.folder("keys");
    let mut command = process::clean(binary());
    command.args(["key", "new", format, owner, "--folder"]).arg(&keys);
    process::run(command).await.succeeded();
    keys
}
