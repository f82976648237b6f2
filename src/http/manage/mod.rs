//! What operators and their programs ask: which repositories there are, what they hold, how the server is, and that many
//! files be fetched.
//!
//! One file for each route, each with the state it uses and a `routes` function; [`routes`] puts them together. Nothing
//! here is on the way of a request for a file, and nothing here does work without a bound: every list is paged, every wait
//! is limited. The paths are documented in `openapi.json`, and a test compares the two.

mod accept;
pub mod artifacts;
mod asked;
pub mod batch;
mod batch_answer;
pub mod config;
mod cursor;
pub mod gauges;
pub mod health;
pub mod metrics;
mod named;
pub mod openapi;
pub mod packages;
mod page;
pub mod root;
#[cfg(test)]
mod samples;
pub mod snapshots;
#[cfg(test)]
mod tests;
pub mod totals;
mod trust;

use axum::Router;

/// The states of all of them.
#[allow(missing_docs, reason = "the types say it")]
pub struct Management {
    pub root: root::Root,
    pub health: health::Health,
    pub configuration: config::Configuration,
    pub listing: artifacts::Listing,
    pub snapshots: snapshots::SnapshotRoutes,
    pub packages: packages::Packages,
    pub cache_artifact: batch::CacheArtifact,
    pub metrics: metrics::Metrics,
}

/// Every route but those below `/api/`.
pub fn routes(management: Management) -> Router {
    root::routes(management.root)
        .merge(health::routes(management.health))
        .merge(config::routes(management.configuration))
        .merge(artifacts::routes(management.listing))
        .merge(snapshots::routes(management.snapshots))
        .merge(packages::routes(management.packages))
        .merge(batch::routes(management.cache_artifact))
        .merge(metrics::routes(management.metrics))
        .merge(openapi::routes())
}
