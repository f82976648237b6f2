//! Keeping the configuration in force in step with the file.
//!
//! Three things make us look at the file: SIGHUP, a change in a folder that one of its files lies in, and a slow clock.
//! Folders are watched and not files, because hardly anybody writes into the file itself: editors write another and
//! rename it, and Kubernetes swaps a link beside it. The clock is for what no event tells of, such as network mounts.
//!
//! A file that reads as before changes nothing, whatever happened to it. A good one is put in force as the next
//! generation. A bad one is reported once, and what is in force stays.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::fingerprint::Fingerprint;
use super::live::LiveRepositories;
use super::problem::ConfigError;
use super::source::{Attempt, Source};

/// How patient to be with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a folder must be quiet after a change before the file is read.
    pub quiet: Duration,
    /// How long to wait for that at most.
    pub patience: Duration,
    /// How often to look without being told to.
    pub poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(100), patience: Duration::from_secs(2), poll: Duration::from_secs(30) }
    }
}

/// Reads `source` for the first time and keeps what is in force in step with it until `stop`. Call it within a runtime;
/// the first reading waits for the disk.
///
/// # Errors
/// [`ConfigError`] when the first reading fails: there is nothing to keep then.
pub fn start(
    source: Source,
    pace: Pace,
    stop: CancellationToken,
) -> Result<(Arc<LiveRepositories>, JoinHandle<()>), ConfigError> {
    let Attempt { result, fingerprint } = source.attempt();
    let live = Arc::new(LiveRepositories::new(result?));
    report(&live, &source);
    // From here on SIGHUP does not end the process any more, so this must not wait for the task to be scheduled.
    let hangups = signal(SignalKind::hangup())
        .map_err(|error| tracing::warn!(%error, "SIGHUP will not reload the configuration"))
        .ok();
    let changed = Arc::new(Notify::new());
    let folders = Folders::watch(Arc::clone(&changed));
    let mut keeper =
        Keeper { source, live: Arc::clone(&live), in_force: fingerprint.clone(), seen: fingerprint, folders };
    keeper.folders.follow(&keeper.seen);
    Ok((live, tokio::spawn(keep(keeper, pace, hangups, changed, stop))))
}

async fn keep(
    mut keeper: Keeper,
    pace: Pace,
    mut hangups: Option<Signal>,
    changed: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut clock = interval(pace.poll);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            () = hangup(&mut hangups) => true,
            () = settled(&changed, pace) => false,
            _ = clock.tick() => false,
        };
        let look = tokio::task::spawn_blocking(move || {
            keeper.look(asked);
            keeper
        });
        match look.await {
            Ok(back) => keeper = back,
            Err(error) => {
                tracing::error!(%error, "the configuration is not watched any more");
                return;
            }
        }
    }
}

async fn hangup(hangups: &mut Option<Signal>) {
    if let Some(hangups) = hangups
        && hangups.recv().await.is_some()
    {
        return;
    }
    // There is no handler, or it will say no more; that must not look like a signal that comes again and again.
    std::future::pending().await
}

/// Waits for a change and then until it is quiet: one save is several events.
async fn settled(changed: &Notify, pace: Pace) {
    changed.notified().await;
    let until = Instant::now() + pace.patience;
    while Instant::now() < until && timeout(pace.quiet, changed.notified()).await.is_ok() {}
}

/// What the watching task knows.
struct Keeper {
    source: Source,
    live: Arc<LiveRepositories>,
    /// What was read when what is in force was read.
    in_force: Fingerprint,
    /// What was read last, good or bad.
    seen: Fingerprint,
    folders: Folders,
}

impl Keeper {
    /// Looks at the file, and reads it if it changed since the last look or if somebody `asked` for it.
    fn look(&mut self, asked: bool) {
        if asked || self.seen.is_outdated() {
            self.reload();
        }
        // Every time, because a folder may have been replaced by another of its name.
        self.folders.follow(&self.seen);
    }

    fn reload(&mut self) {
        let Attempt { result, fingerprint } = self.source.attempt();
        self.seen = fingerprint;
        match result {
            Ok(_) if self.seen == self.in_force => {
                self.live.settle();
                tracing::info!(file = %self.source.file().display(), "the configuration is unchanged");
            }
            Ok(next) => {
                self.in_force = self.seen.clone();
                self.live.replace(next);
                report(&self.live, &self.source);
            }
            Err(error) => {
                let message = error.to_string();
                tracing::error!(problems = %message, "the new configuration is wrong; the old one stays in force");
                self.live.refuse(message);
            }
        }
    }
}

fn report(live: &LiveRepositories, source: &Source) {
    let now = live.current();
    tracing::info!(
        file = %source.file().display(),
        generation = now.generation(),
        repositories = now.len(),
        digest = %now.digest().hex16(),
        "configuration in force"
    );
    for remark in now.remarks() {
        tracing::warn!("{remark}");
    }
}

/// The folders that are watched.
struct Folders {
    /// `None` when the system has no watches left; the clock and SIGHUP still work then.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    fn watch(changed: Arc<Notify>) -> Self {
        let tell = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| matters(event.kind)) {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(tell)
            .map_err(|error| tracing::warn!(%error, "changes of the configuration will be seen late"))
            .ok();
        Self { watcher, watched: BTreeSet::new() }
    }

    /// Watches the folders of what was read, and no others.
    fn follow(&mut self, read: &Fingerprint) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let folders = read.folders();
        for gone in self.watched.difference(&folders) {
            // Fails when the folder itself is gone, and its watch with it.
            let _ = watcher.unwatch(gone);
        }
        for folder in &folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::debug!(%error, folder = %folder.display(), "cannot watch");
            }
        }
        self.watched = folders;
    }
}

/// Whether an event can mean new content. Opening and reading do not; we do that ourselves, and would never rest.
const fn matters(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(kind) if !matches!(kind, AccessKind::Close(AccessMode::Write)))
}
