//! `artifactapi rebuild-catalog`: makes the catalog anew from what the store holds.

use std::io::Write as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::EXIT_CONFIGURATION;
use crate::app::DurableStores;
use crate::config::{Repositories, Settings};
use crate::engine::rebuild::{Rebuild, Rebuilt};

pub(super) fn run(settings: &Settings) -> ExitCode {
    let repositories = match super::source(settings, None).and_then(|source| source.load()) {
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
    match runtime.block_on(rebuild(settings, &repositories)) {
        Ok(rebuilt) => {
            let Rebuilt { blobs, published, current, older, foreign, damaged } = rebuilt;
            let summary = format!(
                "{blobs} blobs: {published} records written, {current} were there, {older} are of an earlier content, \
                 {foreign} are not ours, {damaged} are damaged\n"
            );
            // A closed pipe has nobody left to tell.
            let _ = std::io::stdout().write_all(summary.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("artifactapi: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn rebuild(settings: &Settings, repositories: &Repositories) -> Result<Rebuilt, Box<dyn std::error::Error>> {
    let stores = DurableStores::open(settings).await?;
    let rebuild = Rebuild { blobs: &*stores.blobs, catalog: &*stores.catalog, repositories };
    // Draws on a terminal only.
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} blobs, {per_sec}, {msg}") {
        bar.set_style(style);
    }
    let rebuilt = rebuild
        .run(&mut |so_far| {
            bar.set_position(so_far.blobs);
            bar.set_message(format!("{} records written", so_far.published));
        })
        .await;
    bar.finish_and_clear();
    Ok(rebuilt?)
}
