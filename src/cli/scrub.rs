//! `artifactapi scrub`: compares what the store holds with what the catalog and the indexes say of it.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::EXIT_CONFIGURATION;
use crate::app::DurableStores;
use crate::config::{Repositories, Repository, Settings};
use crate::engine::scrub::{Finding, Scrub, Scrubbed};

/// What to look through.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The repository; without it, all of the configuration.
    repository: Option<String>,
    /// Remove what is bad, so that the next request for it fetches it anew.
    #[arg(long)]
    repair: bool,
}

pub(super) fn run(settings: &Settings, what: &What) -> ExitCode {
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
    match runtime.block_on(scrub(settings, &repositories, what)) {
        Ok(scrubbed) => {
            let Scrubbed { files, bytes, bad, repaired } = scrubbed;
            let bytes = indicatif::BinaryBytes(bytes);
            say(&format!("{files} files ({bytes}): {bad} bad, {repaired} of them repaired\n"));
            if bad == repaired { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("artifactapi: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn scrub(
    settings: &Settings,
    repositories: &Repositories,
    what: &What,
) -> Result<Scrubbed, Box<dyn std::error::Error>> {
    let chosen: Vec<Arc<Repository>> = match &what.repository {
        None => repositories.iter().cloned().collect(),
        Some(name) => {
            let found = repositories.get(name).cloned();
            vec![found.ok_or_else(|| format!("there is no repository {name:?} in the configuration"))?]
        }
    };
    let stores = DurableStores::open(settings).await?;
    let mut total = 0;
    for repository in &chosen {
        total += stores.catalog.totals(&repository.name).await?.artifacts;
    }
    // Draws on a terminal only.
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} files, {msg}, {eta} left") {
        bar.set_style(style);
    }
    let scrub = Scrub {
        blobs: &stores.blobs,
        catalog: &*stores.catalog,
        snapshots: &*stores.snapshots,
        repositories: &chosen,
        aside: &settings.data_dir.join("scrub"),
        repair: what.repair,
        is_alone: stores.are_ours_alone(),
    };
    let mut found = |finding: &Finding| bar.suspend(|| say(&format!("{finding}\n")));
    let mut progress = |so_far: &Scrubbed| {
        bar.set_position(so_far.files);
        bar.set_message(format!("{} read, {} bad", indicatif::BinaryBytes(so_far.bytes), so_far.bad));
    };
    let scrubbed = scrub.run(&mut found, &mut progress).await;
    bar.finish_and_clear();
    Ok(scrubbed?)
}

fn say(text: &str) {
    // A closed pipe has nobody left to tell.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
