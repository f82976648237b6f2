//! `artifactapi gc [--dry-run]`: what servers do in the background, at once and by hand, beside them or without one.
//!
//! Records go first, and blobs that lost their last name follow after the grace that readers have. With files, a running
//! server has the data folder to itself and deletes them; otherwise those whose grace is over are deleted here.
//!
//! What is held of repositories that are not configured any more is said each time; `--purge NAME` removes it.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use crate::app::StoresBeside;
use crate::config::size::written;
use crate::config::{Repositories, Settings};
use crate::engine::held::now;
use crate::engine::retention::{Gone, Mode, Report, Retention, RetentionParts};
use crate::engine::tend::sweep_now;
use crate::store::key::RepositoryName;

pub(super) fn run(settings: &Settings, dry_run: bool, purge: &[RepositoryName]) -> ExitCode {
    let mode = if dry_run { Mode::Show } else { Mode::Remove };
    super::answer(settings, async |repositories| collect(settings, repositories, purge, now(), mode).await)
}

async fn collect(
    settings: &Settings,
    repositories: &Repositories,
    purge: &[RepositoryName],
    now: SystemTime,
    mode: Mode,
) -> Result<String, Box<dyn std::error::Error>> {
    if let Some(name) = purge.iter().find(|name| repositories.get(name.as_str()).is_some()) {
        return Err(format!("{name} is in the configuration; take it out of the file before it is purged").into());
    }
    let stores = StoresBeside::open(settings, mode == Mode::Remove).await?;
    let snapshots = Arc::clone(&stores.snapshots);
    let retention = Retention::new(RetentionParts {
        catalog: Arc::clone(&stores.catalog),
        snapshots: stores.snapshots,
        coordinator: stores.coordinator,
        counts: Arc::default(),
        overall: settings.max_bytes,
    });
    let mut text = String::new();
    for name in purge {
        let holds_files = stores.catalog.totals(name).await?.artifacts > 0;
        if !holds_files && snapshots.roots(name, None, 1).await?.is_empty() {
            return Err(format!("nothing is held under the name {name}").into());
        }
        writeln!(text, "{name}, which is not configured: {}", went(&retention.purge(name, now, mode).await?, mode))?;
    }
    text += &said(&retention.run(repositories, now, mode).await?, mode);
    for (name, held) in retention.left_behind(repositories).await? {
        let size = written(held.bytes);
        writeln!(
            text,
            "{name} is not configured and still holds {} files ({size}); `artifactapi gc --purge {name}` removes them",
            held.artifacts
        )?;
    }
    match (mode, &stores.blobs) {
        (Mode::Show, _) => {}
        (Mode::Remove, Some(blobs)) => {
            let deleted = sweep_now(&*stores.catalog, &**blobs).await?;
            let minutes = blobs.grace().as_secs() / 60;
            writeln!(text, "{deleted} blobs deleted that nothing has named for {minutes} minutes")?;
        }
        (Mode::Remove, None) => {
            text.push_str(
                "a server uses the data folder; it deletes the blobs of what went when readers had their time\n",
            );
        }
    }
    Ok(text)
}

fn said(report: &Report, mode: Mode) -> String {
    let mut lines: Vec<String> =
        report.repositories.iter().map(|(repository, gone)| format!("{repository}: {}", went(gone, mode))).collect();
    lines.push(format!("in all: {}", went(&report.sum(), mode)));
    if report.over > 0 {
        let over = written(report.over);
        lines.push(format!("budgets are exceeded by {over} of uploads and of files of current and tagged snapshots"));
    }
    lines.join("\n") + "\n"
}

fn went(gone: &Gone, mode: Mode) -> String {
    let Gone { expired, files, bytes } = gone;
    let size = written(*bytes);
    match mode {
        // What goes with a snapshot is known only when it goes.
        Mode::Show => format!("would expire {} snapshots, would evict {files} files ({size})", expired.snapshots),
        Mode::Remove => format!(
            "expired {} snapshots with {} package records and {} past packages, evicted {files} files ({size})",
            expired.snapshots, expired.packages, expired.past
        ),
    }
}
