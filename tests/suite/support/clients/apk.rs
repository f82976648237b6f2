//! apk, with one root.

use std::path::PathBuf;

use crate::support::process::{Finished, clean, run};
use crate::support::run::Run;
use crate::support::testbed::{generation, tool};

pub(crate) struct Apk {
    root: PathBuf,
    repositories: PathBuf,
    /// One index file instead of the list of repositories.
    feed: Option<String>,
    keys: PathBuf,
    fresh: bool,
}

impl Apk {
    /// A new root that uses these repositories and trusts these keys.
    pub(crate) fn with(run: &Run, name: &str, lines: &[String], keys: PathBuf) -> Self {
        let repositories = run.file(&format!("{name}.repositories"), &(lines.join("\n") + "\n"));
        Self { root: run.path(name), repositories, feed: None, keys, fresh: true }
    }

    /// A new root that uses the repositories below `base`, the URL of the fixtures' `alpine` folder.
    pub(crate) fn new(run: &Run, name: &str, base: &str) -> Self {
        let lines = format!("{base}/v3.22/main\n{base}/v3.22/community\n");
        let repositories = run.file(&format!("{name}.repositories"), &lines);
        Self { root: run.path(name), repositories, feed: None, keys: fixture_keys(), fresh: true }
    }

    /// A new root that uses a version 3 feed, by the URL of its index.
    pub(crate) fn feed(run: &Run, name: &str, url: String) -> Self {
        Self {
            root: run.path(name),
            repositories: "/dev/null".into(),
            feed: Some(url),
            keys: fixture_keys(),
            fresh: true,
        }
    }

    /// Runs it; the first run makes the root.
    pub(crate) async fn run(&mut self, arguments: &[&str]) -> Finished {
        let mut command = clean(tool("APK"));
        command.arg("--root").arg(&self.root);
        command.arg("--keys-dir").arg(&self.keys);
        command.arg("--repositories-file").arg(&self.repositories);
        if let Some(url) = &self.feed {
            command.args(["--repository", url]);
        }
        command.args(["--arch", "x86_64", "--no-cache"]);
        if std::mem::take(&mut self.fresh) {
            command.arg("--initdb");
            if !rustix::process::getuid().is_root() {
                command.arg("--usermode");
            }
        }
        command.args(arguments);
        run(command).await
    }

    /// What lies in a file below its root.
    pub(crate) fn file(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The version of an installed package.
    pub(crate) fn installed(&self, package: &str) -> Option<String> {
        let database = std::fs::read_to_string(self.root.join("lib/apk/db/installed")).expect("apk's database");
        let stanza = database.split("\n\n").find(|stanza| stanza.lines().any(|line| line == format!("P:{package}")))?;
        stanza.lines().find_map(|line| line.strip_prefix("V:")).map(str::to_owned)
    }
}

fn fixture_keys() -> PathBuf {
    generation(1).join("alpine/keys")
}
