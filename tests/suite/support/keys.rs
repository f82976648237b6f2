//! Keys as operators make them: by the server's own command.

use std::path::PathBuf;

use super::process;
use super::server::binary;
use super::site::Setup;

/// A new key for rpm indexes: its secret and its public half.
pub(crate) async fn for_rpm(setup: &Setup) -> (PathBuf, PathBuf) {
    rpm_of(setup, "keys", "Example packages <packages@example.org>").await
}

/// The same of an owner, in a folder of its own.
pub(crate) async fn rpm_of(setup: &Setup, folder: &str, owner: &str) -> (PathBuf, PathBuf) {
    let keys = new(setup, folder, "rpm", owner).await;
    let file = |suffix: &str| {
        let mut entries = std::fs::read_dir(&keys).expect("keys").map(|entry| entry.expect("a key").path());
        entries.find(|path| path.to_string_lossy().ends_with(suffix)).expect("a key")
    };
    (file(".key"), file(".asc"))
}

/// A new key for apk indexes: its secret and its public half.
pub(crate) async fn for_apk(setup: &Setup) -> (PathBuf, PathBuf) {
    apk_of(setup, "keys", "ci@example.org").await
}

/// The same of an owner, in a folder of its own.
pub(crate) async fn apk_of(setup: &Setup, folder: &str, owner: &str) -> (PathBuf, PathBuf) {
    let keys = new(setup, folder, "apk", owner).await;
    (keys.join(format!("{owner}.rsa")), keys.join(format!("{owner}.rsa.pub")))
}

async fn new(setup: &Setup, folder: &str, format: &str, owner: &str) -> PathBuf {
    let keys = setup.run.folder(folder);
    let mut command = process::clean(binary());
    command.args(["key", "new", format, owner, "--folder"]).arg(&keys);
    process::run(command).await.succeeded();
    keys
}
