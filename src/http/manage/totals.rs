//! How much each repository holds, remembered.
//!
//! Front page and metrics show these numbers to anybody who asks, so asking must cost the database nothing to speak of:
//! they are gathered at most once in [`KEPT`], by one task however many ask, and whoever asks waits for at most
//! [`PATIENCE`] and then gets what is known. While the catalog is away, the last numbers stay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use parking_lot::Mutex;

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
    pub fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, board: Arc::default() }
    }

    /// The totals of these repositories, as far as they are known by now.
    pub async fn of(&self, repositories: Vec<RepositoryName>) -> HashMap<RepositoryName, Totals> {
        if self.begin() {
            let gathering = tokio::spawn(gather(Arc::clone(&self.catalog), Arc::clone(&self.board), repositories));
            // The task goes on when patience ends; the next one to ask sees what it brought.
            let _ = tokio::time::timeout(PATIENCE, gathering).await;
        }
        self.known()
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> HashMap<RepositoryName, Totals> {
        self.board.lock().totals.clone()
    }

    /// Whether this caller is the one to gather.
    fn begin(&self) -> bool {
        let mut board = self.board.lock();
        let due = board.gathered.is_none_or(|gathered| gathered.elapsed() >= KEPT);
        let begins = due && !board.gathering;
        board.gathering |= begins;
        begins
    }
}

async fn gather(catalog: Arc<dyn Catalog>, board: Arc<Mutex<Board>>, repositories: Vec<RepositoryName>) {
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
    let mut board = board.lock();
    board.totals.retain(|name, _| repositories.contains(name));
    board.totals.extend(found.into_iter().flatten());
    board.gathered = Some(Instant::now());
    board.gathering = false;
}
