//! zypper, with one root, checking the signatures of packages and of metadata.

use std::path::{Path, PathBuf};

use super::as_root;
use super::dnf::fixture_key;
use crate::support::process::{Finished, run};
use crate::support::run::Run;
use crate::support::testbed::tool;

pub(crate) struct Zypper {
    root: PathBuf,
}

impl Zypper {
    /// A new root that uses the repository at `url`.
    pub(crate) fn new(run: &Run, name: &str, url: &str) -> Self {
        Self::with_keys(run, name, url, &format!("file://{}", fixture_key().display()))
    }

    /// A new root that trusts a key beside that of the fixtures' packages.
    pub(crate) fn trusting(run: &Run, name: &str, url: &str, key: &Path) -> Self {
        Self::with_keys(run, name, url, &format!("file://{}\n       file://{}", fixture_key().display(), key.display()))
    }

    fn with_keys(run: &Run, name: &str, url: &str, keys: &str) -> Self {
        let repository = format!(
            "[t]\nname=t\nenabled=1\nautorefresh=1\ntype=rpm-md\nbaseurl={url}\ngpgkey={keys}\ngpgcheck=1\n\
             repo_gpgcheck=1\npkg_gpgcheck=1\nkeeppackages=1\n",
        );
        run.file(&format!("{name}/etc/zypp/repos.d/t.repo"), &repository);
        Self { root: run.path(name) }
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = as_root(tool("ZYPPER"));
        command.args(["--non-interactive", "--gpg-auto-import-keys", "--root"]).arg(&self.root).args(arguments);
        run(command).await
    }

    /// What rpm says of an installed package: its full name.
    pub(crate) async fn installed(&self, package: &str) -> String {
        let mut command = as_root(tool("RPM"));
        command.arg("--root").arg(&self.root).args(["-q", package]);
        run(command).await.output.trim().to_owned()
    }
}
