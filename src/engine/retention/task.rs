//! Retention in the background: budgets looked at every few seconds and whenever this replica kept enough to exceed one,
//! snapshots every few minutes, by one replica at a time.
//!
//! The look at budgets is cheap and everybody's; only who then gets the lease does the work. A store that is away is tried
//! again the next time.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use artifactapi_formats::RepoPath;

use super::{Gone, Mode, Report, Retention};
use crate::config::{LiveRepositories, Repositories};
use crate::engine::growth::Growth;
use crate::engine::held::now;
use crate::engine::shelf::Shelf;
use crate::engine::tend::report_uses_now;
use crate::store::catalog::CatalogError;
use crate::store::coordinator::Entered;
use crate::store::key::{RepositoryName, Target};

/// How often budgets are looked at, whoever kept what.
pub const BUDGETS_EVERY: Duration = Duration::from_secs(15);

/// The shortest time between two looks at budgets, however much is kept.
pub const BUDGETS_APART: Duration = Duration::from_secs(1);

/// How often snapshots are looked through for those whose time is over.
pub const SNAPSHOTS_EVERY: Duration = Duration::from_secs(600);

/// Keeps budgets and expires snapshots for as long as the server runs.
pub async fn keep_in_bounds(
    retention: Retention,
    repositories: Arc<LiveRepositories>,
    shelf: Arc<Shelf>,
    growth: Arc<Growth>,
) {
    let mut snapshots_due = Instant::now();
    let mut was_over = false;
    let mut known_left_behind = BTreeSet::new();
    loop {
        growth.begin(retention.smallest_slack(&repositories.current()));
        tokio::time::sleep(BUDGETS_APART).await;
        // Either is a reason to look.
        let _ = tokio::time::timeout(BUDGETS_EVERY - BUDGETS_APART, growth.due()).await;
        let repositories = Arc::clone(&repositories.current());
        let is_due = Instant::now() >= snapshots_due;
        match retention.is_over(&repositories).await {
            Ok(is_over) if is_over || is_due => {}
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(%error, "budgets not looked at");
                continue;
            }
        }
        if is_due {
            snapshots_due = Instant::now() + SNAPSHOTS_EVERY;
        }
        let Entered::Lead(_lease) = retention.coordinator.enter(&LEASE, Duration::ZERO).await else {
            continue; // another replica is at it
        };
        if is_due {
            say_what_is_left_behind(&retention, &repositories, &mut known_left_behind).await;
        }
        // What was used since the last report would look colder than it is.
        report_uses_now(&*retention.catalog, &shelf).await;
        match look_after(&retention, &repositories, is_due).await {
            Ok(report) => {
                say(&report, was_over);
                was_over = report.over > 0;
            }
            Err(error) => tracing::warn!(%error, "retention could not finish; it is tried again"),
        }
    }
}

async fn look_after(
    retention: &Retention,
    repositories: &Repositories,
    with_snapshots: bool,
) -> Result<Report, CatalogError> {
    if with_snapshots {
        return retention.run(repositories, now(), Mode::Remove).await;
    }
    let mut report = Report::default();
    retention.evict(repositories, now(), Mode::Remove, &mut report).await?;
    Ok(report)
}

/// Says once of each repository that it is not configured and still takes up room.
async fn say_what_is_left_behind(
    retention: &Retention,
    repositories: &Repositories,
    known: &mut BTreeSet<RepositoryName>,
) {
    let Ok(left_behind) = retention.left_behind(repositories).await else { return };
    known.retain(|name| left_behind.contains_key(name));
    for (name, held) in left_behind {
        if known.insert(name.clone()) {
            tracing::warn!(
                repository = %name, files = held.artifacts, bytes = held.bytes,
                "a repository that is not configured still holds files; `artifactapi gc --purge` removes them"
            );
        }
    }
}

fn say(report: &Report, was_over: bool) {
    if !report.repositories.is_empty() {
        let Gone { expired, files, bytes } = report.sum();
        tracing::info!(
            files,
            bytes,
            snapshots = expired.snapshots,
            past_packages = expired.past,
            "evicted and expired"
        );
    }
    if report.over > 0 && !was_over {
        tracing::warn!(
            over_by_bytes = report.over,
            "budgets are exceeded by what may not go: uploads, and files of current and tagged snapshots; raise them"
        );
    }
}

/// What replicas sort it out by. No request asks for it: a query never belongs to an index.
static LEASE: LazyLock<Target> = LazyLock::new(|| {
    let path = RepoPath::new("artifactapi/retention").expect("it is a path");
    Target::with_query("artifactapi".parse().expect("it is a name"), path, "lease")
});
