//! The held files of several repositories in one line, coldest first, read a page at a time.
//!
//! Each page is asked for when the one before is used up, from where that ended: who was used meanwhile has moved on in the
//! line, and who could not be removed is not met again.

use std::collections::VecDeque;

use super::rule::Ledger;
use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{Coldest, Snapshots};
use crate::store::key::RepositoryName;

/// Files read at once of one repository.
const PAGE: u32 = 256;

pub(super) struct Cold<'a> {
    snapshots: &'a dyn Snapshots,
    lines: Vec<Line>,
}

struct Line {
    repository: RepositoryName,
    ahead: VecDeque<Coldest>,
    last: Option<Coldest>,
    is_over: bool,
}

impl Line {
    async fn fill(&mut self, snapshots: &dyn Snapshots) -> Result<(), CatalogError> {
        if self.is_over || !self.ahead.is_empty() {
            return Ok(());
        }
        self.ahead = snapshots.coldest(Some(&self.repository), self.last.as_ref(), PAGE).await?.into();
        self.is_over = self.ahead.len() < PAGE as usize;
        self.last = self.ahead.back().cloned();
        Ok(())
    }
}

impl<'a> Cold<'a> {
    /// The files of these repositories.
    pub(super) fn new(snapshots: &'a dyn Snapshots, repositories: impl Iterator<Item = RepositoryName>) -> Self {
        let line = |repository| Line { repository, ahead: VecDeque::new(), last: None, is_over: false };
        Self { snapshots, lines: repositories.map(line).collect() }
    }

    /// The coldest file of those repositories that have to give.
    pub(super) async fn next(&mut self, ledger: &Ledger) -> Result<Option<Coldest>, CatalogError> {
        let mut coldest: Option<&mut Line> = None;
        for line in self.lines.iter_mut().filter(|line| ledger.asks(&line.repository)) {
            line.fill(self.snapshots).await?;
            let is_colder = |than: &&mut Line| since(line.ahead.front()) < since(than.ahead.front());
            if !line.ahead.is_empty() && coldest.as_ref().is_none_or(is_colder) {
                coldest = Some(line);
            }
        }
        Ok(coldest.and_then(|line| line.ahead.pop_front()))
    }
}

fn since(cold: Option<&Coldest>) -> Option<(std::time::SystemTime, crate::store::catalog::Revision)> {
    cold.map(|cold| (cold.last_used, cold.artifact.revision))
}
