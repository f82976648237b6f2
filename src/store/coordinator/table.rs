//! Who leads what in this process.
//!
//! A [`Table`] holds one entry for each target that somebody leads, and nothing else: it is as large as the work going on.
//! Its lock is held for a look-up and never across an `await`. Followers wait on the leader's own channel, so a leader that
//! is dropped, in whatever way, lets them go.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::store::key::Target;

/// What longer patience is cut to.
const MAX_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// The targets being led.
#[derive(Debug, Default)]
pub(super) struct Table {
    led: Mutex<HashMap<Target, watch::Receiver<Progress>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The leader is at it.
    Working,
    /// The leader is done: look again.
    Settled,
    /// The leader never began: one of the followers leads now.
    PassedOn,
}

/// The answer to [`Table::enter`].
#[derive(Debug)]
pub(super) enum Place {
    /// Nobody else in this process leads.
    Lead(Seat),
    /// Somebody did.
    Settled,
    /// Somebody still does.
    OutOfPatience,
}

/// The leader's seat in the table. Dropping it passes the lead on to a follower.
#[derive(Debug)]
pub(super) struct Seat {
    table: Arc<Table>,
    target: Target,
    progress: watch::Sender<Progress>,
}

/// The end of `patience` from now.
pub(super) fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience.min(MAX_PATIENCE)
}

impl Table {
    /// Leads `target`, or waits for who does.
    pub(super) async fn enter(self: &Arc<Self>, target: &Target, deadline: Instant) -> Place {
        loop {
            let mut leader = match self.sit_down(target) {
                Ok(seat) => return Place::Lead(seat),
                Err(leader) => leader,
            };
            let ended = timeout_at(deadline, leader.wait_for(|progress| *progress != Progress::Working)).await;
            match ended.map(|progress| progress.map(|progress| *progress)) {
                Err(_) => return Place::OutOfPatience,
                Ok(Ok(Progress::Settled)) => return Place::Settled,
                Ok(_) => {}
            }
        }
    }

    fn sit_down(self: &Arc<Self>, target: &Target) -> Result<Seat, watch::Receiver<Progress>> {
        match self.led.lock().entry(target.clone()) {
            Entry::Occupied(led) => Err(led.get().clone()),
            Entry::Vacant(free) => {
                let (progress, follow) = watch::channel(Progress::Working);
                free.insert(follow);
                Ok(Seat { table: Arc::clone(self), target: target.clone(), progress })
            }
        }
    }
}

impl Seat {
    /// The work is done: all followers look again.
    pub(super) fn settle(self) {
        self.leave(Progress::Settled);
    }

    fn leave(&self, progress: Progress) {
        self.progress.send_if_modified(|current| {
            let first = *current == Progress::Working;
            if first {
                // Before the followers wake, so that those who come back find the seat free.
                self.table.led.lock().remove(&self.target);
                *current = progress;
            }
            first
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave(Progress::PassedOn);
    }
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::RepoPath;

    use super::*;

    fn target() -> Target {
        Target::new("alpine".parse().expect("a name"), RepoPath::new("a.apk").expect("a path"))
    }

    #[tokio::test]
    async fn it_is_as_large_as_the_work_going_on() {
        let table = Arc::<Table>::default();
        let Place::Lead(seat) = table.enter(&target(), deadline(Duration::ZERO)).await else { panic!("it is free") };
        let waiting = table.enter(&target(), deadline(Duration::from_millis(10))).await;
        assert!(matches!(waiting, Place::OutOfPatience));
        assert_eq!(table.led.lock().len(), 1);
        seat.settle();
        assert_eq!(table.led.lock().len(), 0);
    }

    #[tokio::test]
    async fn a_leader_who_never_began_is_followed() {
        let table = Arc::<Table>::default();
        let Place::Lead(seat) = table.enter(&target(), deadline(Duration::ZERO)).await else { panic!("it is free") };
        let followers: Vec<_> = (0..10)
            .map(|_| {
                let table = Arc::clone(&table);
                tokio::spawn(async move {
                    match table.enter(&target(), deadline(MAX_PATIENCE)).await {
                        Place::Lead(seat) => {
                            followed_by(&seat, 9).await;
                            seat.settle();
                            1
                        }
                        Place::Settled => 0,
                        Place::OutOfPatience => panic!("there was patience"),
                    }
                })
            })
            .collect();
        followed_by(&seat, 10).await;
        drop(seat);
        // One of them leads; all others follow that one, and look again when it is done.
        let mut leads = 0;
        for follower in followers {
            leads += follower.await.expect("no panic");
        }
        assert_eq!(leads, 1);
        assert_eq!(table.led.lock().len(), 0);
    }

    /// Waits until so many wait for a leader; the table itself listens, too.
    async fn followed_by(seat: &Seat, count: usize) {
        while seat.progress.receiver_count() != count + 1 {
            tokio::task::yield_now().await;
        }
    }
}
