//! `artifactapi rebuild-catalog`: makes the catalog anew from what the store holds.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use crate::app::DurableStores;
use crate::config::{Repositories, Settings};
use crate::engine::rebuild::{Rebuild, Rebuilt};

pub(super) fn run(settings: &Settings) -> ExitCode {
    super::answer(settings, async |repositories| {
        let Rebuilt { blobs, published, current, older, foreign, damaged } = rebuild(settings, repositories).await?;
        Ok(format!(
            "{blobs} blobs: {published} records written, {current} were there, {older} are of an earlier content, \
             {foreign} are not ours, {damaged} are damaged\n"
        ))
    })
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
