//! dnf, with one root, checking the signatures of packages and of metadata.

use std::path::{Path, PathBuf};

use super::as_root;
use crate::support::process::{Finished, run};
use crate::support::run::Run;
use crate::support::testbed::{keys, tool};

pub(crate) struct Dnf {
    root: PathBuf,
    conf: PathBuf,
}

impl Dnf {
    /// A new root that uses the repository at `url`.
    pub(crate) fn new(run: &Run, name: &str, url: &str) -> Self {
        Self::by(run, name, "baseurl", url)
    }

    /// A new root that finds its repository by a line `key=url`.
    pub(crate) fn by(run: &Run, name: &str, key: &str, url: &str) -> Self {
        Self::with_keys(run, name, &format!("{key}={url}"), &format!("file://{}", fixture_key().display()))
    }

    /// A new root that trusts a key beside that of the fixtures' packages.
    pub(crate) fn trusting(run: &Run, name: &str, url: &str, key: &Path) -> Self {
        let keys = format!("file://{} file://{}", fixture_key().display(), key.display());
        Self::with_keys(run, name, &format!("baseurl={url}"), &keys)
    }

    fn with_keys(run: &Run, name: &str, place: &str, keys: &str) -> Self {
        let conf = format!(
            "[main]\nreposdir=/dev/null\nvarsdir=/dev/null\nplugins=0\ngpgcheck=1\nkeepcache=1\ninstall_weak_deps=0\n\
             skip_if_unavailable=0\nmodule_platform_id=platform:el9\n\n\
             [t]\nname=t\n{place}\ngpgkey={keys}\ngpgcheck=1\nrepo_gpgcheck=1\n",
        );
        Self { root: run.path(name), conf: run.file(&format!("{name}.conf"), &conf) }
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = as_root(tool("DNF"));
        command.args(["-q", "-y", "-c"]).arg(&self.conf);
        command.args(["--releasever", "9", "--forcearch", "x86_64", "--installroot"]).arg(&self.root).args(arguments);
        run(command).await
    }

    /// What lies in a file below its root.
    pub(crate) fn file(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// What its downloader noted so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.file("var/log/dnf.librepo.log")).into_owned()
    }

    /// What rpm says of an installed package: its full name.
    pub(crate) async fn installed(&self, package: &str) -> String {
        let mut command = as_root(tool("RPM"));
        command.arg("--root").arg(&self.root).args(["-q", package]);
        run(command).await.output.trim().to_owned()
    }
}

pub(super) fn fixture_key() -> PathBuf {
    keys().join("RPM-GPG-KEY-fixtures")
}
