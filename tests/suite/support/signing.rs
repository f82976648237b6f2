//! Signatures as upstreams make them: by gpg, rpmsign and openssl, with a key of the fixtures or with one that nobody trusts.

use std::path::{Path, PathBuf};

use super::bodies::sha256;
use super::process::{clean, run};
use super::run::Run;
use super::testbed::{keys, tool};

/// The user id of the fixtures' OpenPGP key.
const FIXTURES: &str = "Fixtures <fixtures@example.org>";

/// A signer of rpm packages and of `repomd.xml`, with a keyring of its own.
pub(crate) struct Gpg {
    home: PathBuf,
}

impl Gpg {
    /// With the key that clients of the fixtures trust.
    pub(crate) async fn fixtures(into: &Run) -> Self {
        let gpg = Self::empty(into, "gpg-fixtures");
        gpg.run(&["--import", &keys().join("rpm-fixtures.secret.asc").display().to_string()]).await;
        gpg
    }

    /// With a key that was made just now, for the same user id.
    pub(crate) async fn impostor(into: &Run) -> Self {
        let gpg = Self::empty(into, "gpg-impostor");
        gpg.run(&["--passphrase", "", "--quick-generate-key", FIXTURES, "rsa2048", "sign", "never"]).await;
        gpg
    }

    fn empty(into: &Run, name: &str) -> Self {
        let home = into.folder(name);
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&home, private).expect("a private folder");
        Self { home }
    }

    async fn run(&self, arguments: &[&str]) {
        let mut command = clean(tool("GPG"));
        command.arg("--homedir").arg(&self.home).args(["--batch", "--yes", "--quiet"]).args(arguments);
        run(command).await.succeeded();
    }

    /// An armored signature; its comment is the digest of what it signs.
    pub(crate) async fn signature(&self, of: &[u8]) -> Vec<u8> {
        let digest = sha256(of);
        let (file, out) = (self.home.join(&digest), self.home.join(format!("{digest}.asc")));
        std::fs::write(&file, of).expect("what is signed");
        let shown = [&file, &out].map(|path| path.display().to_string());
        self.run(&["--armor", "--comment", &digest, "-o", &shown[1], "--detach-sign", &shown[0]]).await;
        std::fs::read(out).expect("a signature")
    }

    /// Signs packages in their places.
    pub(crate) async fn sign_packages(&self, files: &[PathBuf]) {
        let mut command = clean(tool("RPMSIGN"));
        let home = self.home.display();
        for define in [format!("_gpg_name {FIXTURES}"), format!("_gpg_path {home}"), format!("__gpg {}", tool("GPG"))] {
            command.args(["--define", &define]);
        }
        command.args(["--define", "_gpg_sign_cmd_extra_args --batch", "--addsign"]).args(files);
        run(command).await.succeeded();
    }
}

/// A signer for apk: of members of packages and of indexes.
#[derive(Debug, Clone)]
pub(crate) struct ApkKey {
    /// The name that stands in its signatures.
    name: String,
    secret: PathBuf,
    scratch: PathBuf,
}

impl ApkKey {
    /// The key that clients of the fixtures trust.
    pub(crate) fn fixtures(into: &Run) -> Self {
        let secret = secret("fixtures@");
        let name = format!("{}.pub", secret.file_name().expect("a name").to_string_lossy());
        Self { name, secret, scratch: into.folder("apk-signatures") }
    }

    /// Another key under the name of the trusted one.
    pub(crate) fn impostor(into: &Run) -> Self {
        Self { secret: secret("untrusted@"), ..Self::fixtures(into) }
    }

    /// The file name of the signature's entry, and the signature.
    pub(crate) async fn signature(&self, of: &[u8]) -> (String, Vec<u8>) {
        let file = self.scratch.join(sha256(of));
        std::fs::write(&file, of).expect("what is signed");
        let out = file.with_extension("signature");
        let mut command = clean(tool("OPENSSL"));
        command.args(["dgst", "-sha256", "-sign"]).arg(&self.secret).arg("-out").arg(&out).arg(&file);
        run(command).await.succeeded();
        (format!(".SIGN.RSA256.{}", self.name), std::fs::read(out).expect("a signature"))
    }
}

/// The secret RSA key of the fixtures whose name begins so.
fn secret(begin: &str) -> PathBuf {
    let entries = std::fs::read_dir(keys()).expect("keys").map(|entry| entry.expect("an entry").path());
    let is_it = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(begin) && name.ends_with(".rsa")
    };
    entries.into_iter().find(|path| is_it(path)).expect("a secret key")
}
