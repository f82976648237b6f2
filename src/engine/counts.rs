//! What is counted. Counters are resolved once and kept by those who count, so that counting is one atomic addition.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::store::key::RepositoryName;

/// Labels of a request counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    repository: String,
    result: &'static str,
}

/// Labels of a counter for each repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepositoryLabel {
    repository: String,
}

/// How requests to one repository were answered.
#[derive(Debug, Default, Clone)]
#[allow(missing_docs, reason = "the names are the label values")]
pub struct RepositoryCounts {
    pub hit: Counter,
    pub miss: Counter,
    pub revalidated: Counter,
    pub stale: Counter,
    pub passed_through: Counter,
    pub absent: Counter,
    pub refused: Counter,
    pub failed: Counter,
    /// Body bytes promised to clients.
    pub bytes: Counter,
}

/// All counters of the engine.
#[derive(Debug, Default)]
pub struct Counts {
    requests: Family<Labels, Counter>,
    bytes: Family<RepositoryLabel, Counter>,
    by_repository: RwLock<HashMap<RepositoryName, Arc<RepositoryCounts>>>,
    /// Requests made upstream, those for lists of mirrors and those that redirects lead to among them.
    pub upstream_requests: Counter,
    /// Bytes of whole bodies fetched from upstream.
    pub upstream_bytes: Counter,
    /// Bodies from upstream that were refused: damaged, truncated, something else.
    pub unfit: Counter,
    /// Indexes refused because they are older than the one that is served.
    pub older_refused: Counter,
    /// Indexes refused because no trusted key signed them.
    pub untrusted: Counter,
    /// Indexes refused because the metalink does not know them.
    pub unlisted: Counter,
    /// Packages fetched before anybody asked for them.
    pub prefetched_files: Counter,
    /// Their bytes.
    pub prefetched_bytes: Counter,
    /// Packages that could not be fetched ahead.
    pub prefetch_failures: Counter,
    /// Bodies that were passed on but could not be kept.
    pub unkept: Counter<u64, AtomicU64>,
    /// Files whose records were removed to keep a budget.
    pub evicted_files: Counter,
    /// Their bytes.
    pub evicted_bytes: Counter,
    /// Superseded snapshots that were removed when their time was over.
    pub snapshots_expired: Counter,
}

impl Counts {
    /// All counters, registered under their names.
    #[must_use]
    pub fn registered(registry: &mut Registry) -> Self {
        let counts = Self::default();
        registry.register("requests", "Requests below /api by repository and result", counts.requests.clone());
        registry.register("response_bytes", "Body bytes promised to clients", counts.bytes.clone());
        registry.register(
            "upstream_requests",
            "Requests made upstream, whatever for",
            counts.upstream_requests.clone(),
        );
        registry.register("upstream_bytes", "Bytes of whole bodies fetched", counts.upstream_bytes.clone());
        registry.register("upstream_unfit", "Upstream bodies refused as damaged or wrong", counts.unfit.clone());
        let older = counts.older_refused.clone();
        registry.register("indexes_older_refused", "Indexes refused as older than the one that is served", older);
        let untrusted = counts.untrusted.clone();
        registry.register("indexes_untrusted", "Indexes refused because no trusted key signed them", untrusted);
        let unlisted = counts.unlisted.clone();
        registry.register("indexes_unlisted", "Indexes refused because the metalink does not know them", unlisted);
        let prefetched = [
            ("prefetched_files", "Packages fetched before anybody asked for them", &counts.prefetched_files),
            ("prefetched_bytes", "Bytes of packages fetched before anybody asked for them", &counts.prefetched_bytes),
            ("prefetch_failures", "Packages that could not be fetched ahead", &counts.prefetch_failures),
        ];
        for (name, help, counter) in prefetched {
            registry.register(name, help, counter.clone());
        }
        registry.register("fills_unkept", "Bodies passed on that could not be kept", counts.unkept.clone());
        registry.register("evicted_files", "Files removed to keep a budget", counts.evicted_files.clone());
        registry.register("evicted_bytes", "Bytes of files removed to keep a budget", counts.evicted_bytes.clone());
        let expired = counts.snapshots_expired.clone();
        registry.register("snapshots_expired", "Superseded snapshots removed when their time was over", expired);
        counts
    }

    /// The counters of one repository.
    #[must_use]
    pub fn of(&self, repository: &RepositoryName) -> Arc<RepositoryCounts> {
        if let Some(counts) = self.by_repository.read().get(repository) {
            return Arc::clone(counts);
        }
        let counter = |result| {
            let labels = Labels { repository: repository.to_string(), result };
            self.requests.get_or_create(&labels).clone()
        };
        let made = Arc::new(RepositoryCounts {
            hit: counter("hit"),
            miss: counter("miss"),
            revalidated: counter("revalidated"),
            stale: counter("stale"),
            passed_through: counter("passed_through"),
            absent: counter("absent"),
            refused: counter("refused"),
            failed: counter("failed"),
            bytes: self.bytes.get_or_create(&RepositoryLabel { repository: repository.to_string() }).clone(),
        });
        Arc::clone(self.by_repository.write().entry(repository.clone()).or_insert(made))
    }
}
