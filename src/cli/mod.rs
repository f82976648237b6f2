//! The command line: one file for each subcommand. `artifactapi` alone serves.
//!
//! Exit codes: 0 done, 1 something outside the configuration failed, 2 the configuration or the command line is wrong.

mod check;
mod gc;
mod health;
mod import;
mod key;
mod prefetch;
mod rebuild;
mod scrub;
mod sending;
mod serve;
mod snapshot;
mod token;
mod upload;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::config::{ConfigError, Repositories, Settings, Source, process_environment};
use crate::store::key::RepositoryName;

/// What `--help` ends in: nothing of how the server runs stands on the command line.
const ENVIRONMENT: &str = "\
Environment:
  ARTIFACTAPI_CONFIG       the file with the repositories (./remotes.yaml, ./config/remotes.yaml or /app/remotes.yaml)
  ARTIFACTAPI_DATA_DIR     where files and records are kept (./data)
  ARTIFACTAPI_LISTEN       address and port (0.0.0.0:8000)
  ARTIFACTAPI_ADMIN_TOKEN  a token that allows everything; without any token the first start makes one
  ARTIFACTAPI_TOKEN        what upload and import present to a server
  DBHOST, DBPORT, DBUSER, DBPASS, DBNAME                     PostgreSQL in place of SQLite
  MINIO_ENDPOINT, MINIO_BUCKET, MINIO_ACCESS_KEY, MINIO_SECRET_KEY   S3 in place of files
  REDIS_URL                what replicas tell each other through
  RUST_LOG                 what is logged (info)

All of them, and every key of remotes.yaml: docs/configuration.md. Running it: docs/operations.md.";

/// The configuration or the command line is wrong.
const EXIT_CONFIGURATION: u8 = 2;

/// A package-manager-aware repository server: a pull-through cache and a home for generic, Alpine and RPM repositories.
#[derive(Debug, Parser)]
#[command(version, about, after_help = ENVIRONMENT)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (what happens without a subcommand).
    #[command(after_help = ENVIRONMENT)]
    Serve,
    /// Check a configuration file and say everything that is wrong with it.
    Check {
        /// The file; without it, the one that `serve` would use.
        file: Option<PathBuf>,
    },
    /// Ask the server on this machine whether it is alive; for container health checks.
    Health,
    /// Remove superseded snapshots whose time is over, and evict files until budgets are kept, as the server does by itself.
    /// May run beside it.
    Gc {
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
        /// Also remove everything of this repository, which must not be in the configuration any more. May be given several times.
        #[arg(long, value_name = "REPOSITORY")]
        purge: Vec<RepositoryName>,
    },
    /// Send a whole repository, as it lies in a folder, to a local one.
    Import(import::What),
    /// Make keys that indexes of local repositories are signed with.
    #[command(subcommand)]
    Key(key::What),
    /// Have the server on this machine fetch packages that indexes name, and show how far it is.
    Prefetch(prefetch::What),
    /// Compare what the store holds with its records and indexes. With files, while no server runs; with S3, at any time.
    Scrub(scrub::What),
    /// Make the catalog anew from what the store holds. With files, while no server runs; with S3, at any time.
    RebuildCatalog,
    /// List, compare and tag the snapshots of index roots.
    #[command(subcommand)]
    Snapshot(snapshot::Snapshots),
    /// Make, list and revoke tokens.
    #[command(subcommand)]
    Token(token::Tokens),
    /// Send files to a local repository.
    Upload(upload::What),
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match Settings::from_env(&process_environment) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("artifactapi: {error}");
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&settings),
        Command::Check { file } => check::run(&settings, file),
        Command::Key(what) => key::run(&what),
        Command::Health => health::run(&settings),
        Command::Import(what) => import::run(&settings, &what),
        Command::Gc { dry_run, purge } => gc::run(&settings, dry_run, &purge),
        Command::Prefetch(what) => prefetch::run(&settings, &what),
        Command::Scrub(what) => scrub::run(&settings, &what),
        Command::RebuildCatalog => rebuild::run(&settings),
        Command::Snapshot(what) => snapshot::run(&settings, what),
        Command::Token(what) => token::run(&settings, what),
        Command::Upload(what) => upload::run(&settings, &what),
    }
}

/// Reads the configuration, does `work`, and prints what it answers.
fn answer(
    settings: &Settings,
    work: impl AsyncFnOnce(&Repositories) -> Result<String, Box<dyn std::error::Error>>,
) -> ExitCode {
    let repositories = match source(settings, None).and_then(|source| source.load()) {
        Ok(repositories) => repositories,
        Err(error) => {
            eprintln!("artifactapi: {error}");
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("artifactapi: the runtime cannot be set up: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(work(&repositories)) {
        Ok(text) => {
            // A closed pipe has nobody left to tell.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("artifactapi: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration file that `serve` would use, or the one that is named.
fn source(settings: &Settings, named: Option<PathBuf>) -> Result<Source, ConfigError> {
    let named = named.or_else(|| settings.config.clone());
    Source::find(named.as_deref(), Path::new(""), artifactapi_formats::FORMATS, Arc::new(process_environment))
}
