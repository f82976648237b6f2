//! Retention in the background: budgets looked at every few seconds and whenever this replica kept enough to exceed one,
//! snapshots every few minutes, by one replica at a time.
//!
//! The look at budgets is cheap and everybody's; only who then gets the lease does the work. A store that is away is tried
//! again the next time.

use std::sync::Arc;
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
use crate::store::key::Target;

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
    let Some(lease) = lease() else { return };
    let mut snapshots_due = Instant::now();
    let mut was_over = false;
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
        let Entered::Lead(_lease) = retention.coordinator.enter(&lease, Duration::ZERO).await else {
            continue; // another replica is at it
        };
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
fn lease() -> Option<Target> {
    let path = RepoPath::new("artifactapi/retention").ok()?;
    Some(Target::with_query("artifactapi".parse().ok()?, path, "lease"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lease_has_a_name() {
        assert!(super::lease().is_some());
    }
}
