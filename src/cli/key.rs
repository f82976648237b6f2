//! `artifactapi key`: making keys that indexes of our own are signed with.
//!
//! The private half is written for its owner alone, and never over a file that is there; the public half beside it is what
//! clients need. Nothing is printed but where they are.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use artifactapi_formats::{OpenPgpKey, OpenPgpKind, RsaKeyPair};
use clap::{Args, Subcommand, ValueEnum};

/// Bits of an RSA key.
const BITS: usize = 4096;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Make a key that signs indexes.
    New(New),
}

/// What key to make.
#[derive(Debug, Args)]
pub(super) struct New {
    /// For indexes of which format.
    format: Format,
    /// What it is called: for apk the name of its files, such as ci@example.org; for rpm a name with an address, such as
    /// "Example CI <ci@example.org>".
    name: String,
    /// The folder to write it to.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// For rpm: an Ed25519 key in place of RSA; rpm reads it since 4.16.
    #[arg(long)]
    ed25519: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// RSA, for APKINDEX.
    Apk,
    /// OpenPGP, for repomd.xml.
    Rpm,
}

/// Does it.
pub(super) fn run(what: &What) -> ExitCode {
    let What::New(new) = what;
    match make(new) {
        Ok((secret, public)) => {
            // Where they are is the answer.
            let mut output = io::stdout();
            let told = writeln!(output, "private key: {}", secret.display())
                .and_then(|()| writeln!(output, "public key:  {}", public.display()));
            if told.is_err() {
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("artifactapi: no key was made: {why}");
            ExitCode::FAILURE
        }
    }
}

fn make(new: &New) -> Result<(PathBuf, PathBuf), String> {
    let is_file_name = |name: &str| !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    match new.format {
        Format::Apk if !is_file_name(&new.name) => Err(format!("{:?} is no name for a file", new.name)),
        Format::Apk => {
            let pair = RsaKeyPair::random(BITS).map_err(|why| why.to_string())?;
            let secret = new.folder.join(format!("{}.rsa", new.name));
            let public = new.folder.join(format!("{}.rsa.pub", new.name));
            write_both((&secret, pair.secret_pem()), (&public, pair.public_pem()))?;
            Ok((secret, public))
        }
        Format::Rpm => {
            let made_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let mut trouble = None;
            let mut random = |bytes: &mut [u8]| trouble = trouble.take().or(getrandom::fill(bytes).err());
            let kind = if new.ed25519 { OpenPgpKind::Ed25519 } else { OpenPgpKind::Rsa };
            let key = OpenPgpKey::generate(kind, &new.name, made_at, &mut random);
            if let Some(error) = trouble {
                return Err(format!("the system gives no random numbers: {error}"));
            }
            let key = key.map_err(|why| why.to_string())?;
            let text = key.secret().map_err(|why| why.to_string())?;
            let secret = new.folder.join(format!("{}.key", key.fingerprint()));
            let public = new.folder.join(format!("{}.asc", key.fingerprint()));
            write_both((&secret, &text), (&public, key.certificate()))?;
            Ok((secret, public))
        }
    }
}

fn write_both(secret: (&Path, &str), public: (&Path, &str)) -> Result<(), String> {
    let wrong = |path: &Path, error: &io::Error| format!("{} cannot be written: {error}", path.display());
    let write = |(path, text): (&Path, &str), mode| -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write(secret, 0o600).map_err(|error| wrong(secret.0, &error))?;
    write(public, 0o644).map_err(|error| wrong(public.0, &error))
}
