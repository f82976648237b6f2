//! `artifactapi rebuild-catalog`: makes the catalog anew from what the store holds.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use crate::app::{DurableStores, PublisherBeside};
use crate::config::{Repositories, Settings};
use crate::engine::rebuild::{Rebuild, Rebuilt};

pub(super) fn run(settings: &Settings) -> ExitCode {
    super::answer(settings, async |repositories| {
        let rebuilt = rebuild(settings, repositories).await?;
        let Rebuilt { blobs, published, current, older, foreign, damaged, listed, unlisted } = rebuilt;
        Ok(format!(
            "{blobs} blobs: {published} records written, {current} were there, {older} are of an earlier content, \
             {foreign} are not ours, {damaged} are damaged\n\
             {listed} uploaded packages are listed again, {unlisted} cannot be\n"
        ))
    })
}

async fn rebuild(settings: &Settings, repositories: &Repositories) -> Result<Rebuilt, Box<dyn std::error::Error>> {
    let stores = DurableStores::open_for_rebuilding(settings).await?;
    let beside = PublisherBeside::open(&stores, repositories, &settings.data_dir)?;
    let rebuild = Rebuild {
        blobs: &*stores.blobs,
        catalog: &*stores.catalog,
        snapshots: &*stores.snapshots,
        publisher: &beside.publisher,
        repositories,
    };
    // Draws on a terminal only.
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} blobs, {per_sec}, {msg}") {
        bar.set_style(style);
    }
    let rebuilt = rebuild
        .run(&mut |so_far| {
            bar.set_position(so_far.blobs);
            bar.set_message(format!("{} records written, {} packages listed", so_far.published, so_far.listed));
        })
        .await;
    bar.finish_and_clear();
    Ok(rebuilt?)
}
