//! `artifactapi check`: everything that is wrong with a configuration, without serving it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::EXIT_CONFIGURATION;
use crate::config::Settings;

pub(super) fn run(settings: &Settings, file: Option<PathBuf>) -> ExitCode {
    let loaded = super::source(settings, file).and_then(|source| Ok((source.load()?, source)));
    match loaded {
        Ok((repositories, source)) => {
            let summary = format!("{}: {} repositories, no problems\n", source.file().display(), repositories.len());
            // A closed pipe has nobody left to tell.
            let _ = std::io::stdout().write_all(summary.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}
