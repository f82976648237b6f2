//! How much each repository holds, remembered.
//!
//! Front page and metrics show these numbers to anybody who asks, so asking must cost the database nothing to speak of:
//! they are gathered at most once in [`KEPT`], by one task however many ask, and whoever asks waits for at most
//! [`PATIENCE`] and then gets what is known. While the catalog is away, the last numbers stay.
//!
//! They are always those of every repository there is, whoever asks: what one caller may not see is another's business, and the
//! gauges'.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use parking_lot::Mutex;

use crate::config::LiveRepositories;
use crate::store::catalog::{Catalog, Totals};
use crate::store::key::RepositoryName;

/// How long numbers are good enough.
const KEPT: Duration = Duration::from_secs(2);

/// How long an answer waits for new numbers.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long the catalog may take for one repository.
const LIMIT: Duration = Duration::from_secs(5);

/// How many repositories are asked about at once.
const AT_ONCE: usize = 4;

/// Remembered totals.
pub struct Holdings {
    catalog: Arc<dyn Catalog>,
    repositories: Arc<LiveRepositories>,
    board: Arc<Mutex<Board>>,
}

#[derive(Default)]
struct Board {
    totals: HashMap<RepositoryName, Totals>,
    gathered: Option<Instant>,
    gathering: bool,
}

impl Holdings {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>, repositories: Arc<LiveRepositories>) -> Self {
        Self { catalog, repositories, board: Arc::default() }
    }

    /// The totals of these repositories, as far as they are known by now.
    pub async fn of(&self, repositories: &[RepositoryName]) -> HashMap<RepositoryName, Totals> {
        self.look().await;
        let mut totals = self.known();
        totals.retain(|name, _| repositories.contains(name));
        totals
    }

    /// Has the numbers looked up, unless they are young enough, and waits a moment for them.
    pub async fn look(&self) {
        if let Some(turn) = begin(&self.board) {
            let names = self.repositories.current().iter().map(|repository| repository.name.clone()).collect();
            let gathering = tokio::spawn(gather(Arc::clone(&self.catalog), turn, names));
            // The task goes on when patience ends; the next one to ask sees what it brought.
            let _ = tokio::time::timeout(PATIENCE, gathering).await;
        }
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> HashMap<RepositoryName, Totals> {
        self.board.lock().totals.clone()
    }
}

/// The turn to gather, if it is this caller's.
fn begin(board: &Arc<Mutex<Board>>) -> Option<Turn> {
    let mut now = board.lock();
    let due = now.gathered.is_none_or(|gathered| gathered.elapsed() >= KEPT);
    let begins = due && !now.gathering;
    now.gathering |= begins;
    begins.then(|| Turn(Arc::clone(board)))
}

/// The turn of the one who gathers. It ends with him, however he ends: otherwise nobody would gather ever after.
struct Turn(Arc<Mutex<Board>>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().gathering = false;
    }
}

async fn gather(catalog: Arc<dyn Catalog>, turn: Turn, repositories: Vec<RepositoryName>) {
    let ask = |name: RepositoryName| {
        let catalog = Arc::clone(&catalog);
        async move {
            match tokio::time::timeout(LIMIT, catalog.totals(&name)).await {
                Ok(Ok(totals)) => Some((name, totals)),
                Ok(Err(_)) | Err(_) => None,
            }
        }
    };
    let found: Vec<_> =
        futures_util::stream::iter(repositories.clone()).map(ask).buffer_unordered(AT_ONCE).collect().await;
    let mut board = turn.0.lock();
    board.totals.retain(|name, _| repositories.contains(name));
    board.totals.extend(found.into_iter().flatten());
    board.gathered = Some(Instant::now());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_ends_however_it_ends() {
        let board = Arc::<Mutex<Board>>::default();
        let turn = begin(&board).expect("nobody has gathered");
        assert!(begin(&board).is_none(), "somebody is at it");
        let gathering = tokio::spawn(async move {
            let _turn = turn;
            panic!("on purpose");
        });
        assert!(gathering.await.is_err());
        assert!(begin(&board).is_some(), "nobody is at it any more, and nothing was brought");
    }
}
