//! The rule of eviction, without I/O: what is held, what may be held, and so which files go.
//!
//! Files are offered coldest first, of all repositories together. One goes if its repository still has to give, or if all of
//! them together do; what a repository gives for its own budget counts for the overall one first, so that nobody else gives
//! for it. Once a budget is exceeded, a little more goes than must ([`SLACK`]), so that the next file that is fetched does not
//! begin it all again.

use std::collections::BTreeMap;

use crate::store::key::RepositoryName;

/// Which part of a budget is made free beyond what must be: one in so many.
pub const SLACK: u64 = 20;

/// What one repository holds and may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The repository.
    pub repository: RepositoryName,
    /// What it holds, in bytes.
    pub bytes: u64,
    /// What it may hold; `None` sets no bound.
    pub budget: Option<u64>,
    /// Whether its files may go: they can be had again.
    pub is_evictable: bool,
}

/// What has to go, kept up to date while files go.
#[derive(Debug)]
pub struct Ledger {
    accounts: BTreeMap<RepositoryName, Account>,
    overall: Account,
}

#[derive(Debug)]
struct Account {
    bytes: u64,
    budget: Option<u64>,
    is_evictable: bool,
    /// The budget was exceeded; it is not done before there is slack.
    is_giving: bool,
    owed: u64,
}

impl Account {
    fn new(bytes: u64, budget: Option<u64>, is_evictable: bool) -> Self {
        Self { bytes, budget, is_evictable, is_giving: false, owed: 0 }
    }

    /// Finds out what is owed if so many bytes are held.
    fn assess(&mut self, bytes: u64) {
        let Some(budget) = self.budget else { return };
        self.is_giving |= bytes > budget;
        self.owed = if self.is_giving { bytes.saturating_sub(budget - budget / SLACK) } else { 0 };
    }

    fn over(&self) -> u64 {
        self.budget.map_or(0, |budget| self.bytes.saturating_sub(budget))
    }
}

impl Ledger {
    /// The ledger of these holdings under an overall budget.
    #[must_use]
    pub fn new(holdings: Vec<Holding>, overall: Option<u64>) -> Self {
        let account = |held: Holding| {
            (held.repository, Account::new(held.bytes, held.budget.filter(|_| held.is_evictable), held.is_evictable))
        };
        let accounts = holdings.into_iter().map(account).collect();
        let mut ledger = Self { accounts, overall: Account::new(0, overall, false) };
        ledger.assess();
        ledger
    }

    /// Takes what is held now in place of what was thought to be.
    pub fn read_again(&mut self, held: &BTreeMap<RepositoryName, u64>) {
        for (repository, account) in &mut self.accounts {
            account.bytes = held.get(repository).copied().unwrap_or(account.bytes);
        }
        self.assess();
    }

    fn assess(&mut self) {
        let (mut bytes, mut left) = (0_u64, 0_u64);
        for account in self.accounts.values_mut() {
            account.assess(account.bytes);
            bytes = bytes.saturating_add(account.bytes);
            left = left.saturating_add(account.bytes - account.owed);
        }
        self.overall.bytes = bytes;
        self.overall.assess(left);
    }

    /// Whether anything has to go.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.accounts.keys().any(|repository| self.asks(repository))
    }

    /// Whether something of this repository has to go.
    #[must_use]
    pub fn asks(&self, repository: &RepositoryName) -> bool {
        let asks = |account: &Account| account.is_evictable && (account.owed > 0 || self.overall.owed > 0);
        self.accounts.get(repository).is_some_and(asks)
    }

    /// Whether a file goes that is the coldest left; if so, it counts as gone.
    pub fn lets_go(&mut self, repository: &RepositoryName, bytes: u64) -> bool {
        // Nothing is won by a file without bytes.
        if bytes == 0 || !self.asks(repository) {
            return false;
        }
        let Some(account) = self.accounts.get_mut(repository) else { return false };
        account.bytes = account.bytes.saturating_sub(bytes);
        self.overall.bytes = self.overall.bytes.saturating_sub(bytes);
        // What is given beyond what the repository owed helps all.
        let beyond = bytes.saturating_sub(account.owed);
        account.owed = account.owed.saturating_sub(bytes);
        self.overall.owed = self.overall.owed.saturating_sub(beyond);
        true
    }

    /// By how many bytes budgets are exceeded.
    #[must_use]
    pub fn over(&self) -> u64 {
        let own = self.accounts.values().map(Account::over).fold(0, u64::saturating_add);
        own.max(self.overall.over())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().expect("a name")
    }

    fn ledger(holdings: &[(&str, u64, Option<u64>)], overall: Option<u64>) -> Ledger {
        let holding = |&(repository, bytes, budget): &(&str, u64, Option<u64>)| Holding {
            repository: name(repository),
            bytes,
            budget,
            is_evictable: repository != "local",
        };
        Ledger::new(holdings.iter().map(holding).collect(), overall)
    }

    #[test]
    fn what_goes() {
        type Row<'a> =
            (&'a str, &'a [(&'a str, u64, Option<u64>)], Option<u64>, &'a [(&'a str, u64)], &'a [usize], u64);
        let table: &[Row<'_>] = &[
            ("no budget", &[("a", 1_000, None)], None, &[("a", 10)], &[], 0),
            ("within its budget", &[("a", 100, Some(100))], Some(100), &[("a", 10)], &[], 0),
            (
                "over: down to the slack",
                &[("a", 101, Some(100))],
                None,
                &[("a", 4), ("a", 1), ("a", 1), ("a", 1)],
                &[0, 1, 2],
                0,
            ),
            ("others give nothing", &[("a", 200, Some(100)), ("b", 50, None)], None, &[("b", 50), ("a", 105)], &[1], 0),
            (
                "overall: the coldest, whoever's",
                &[("a", 60, None), ("b", 60, None)],
                Some(100),
                &[("b", 20), ("a", 5), ("b", 20)],
                &[0, 1],
                0,
            ),
            (
                "what one gives for itself counts overall",
                &[("a", 200, Some(100)), ("b", 5, None)],
                Some(100),
                &[("b", 5), ("a", 105), ("a", 5), ("a", 5)],
                &[1],
                0,
            ),
            (
                "its own budget is enough",
                &[("a", 200, Some(50)), ("b", 40, None)],
                Some(100),
                &[("b", 5), ("a", 153)],
                &[1],
                0,
            ),
            (
                "uploads stay",
                &[("local", 200, Some(1)), ("a", 50, None)],
                Some(100),
                &[("local", 9), ("a", 50)],
                &[1],
                100,
            ),
            ("too little is left to go", &[("a", 200, Some(100))], None, &[("a", 20)], &[0], 80),
            ("an empty file wins nothing", &[("a", 200, Some(100))], None, &[("a", 0), ("a", 150)], &[1], 0),
            ("no room to speak of", &[("a", 10, Some(1))], None, &[("a", 5), ("a", 5)], &[0, 1], 0),
        ];
        for (what, holdings, overall, candidates, expected, over) in table {
            let mut ledger = ledger(holdings, *overall);
            let goes = |(repository, bytes): &(&str, u64)| ledger.lets_go(&name(repository), *bytes);
            let gone: Vec<bool> = candidates.iter().map(goes).collect();
            let gone: Vec<usize> = (0..gone.len()).filter(|&at| gone[at]).collect();
            assert_eq!(gone, *expected, "{what}");
            assert_eq!(ledger.over(), *over, "{what}");
        }
    }

    #[test]
    fn reading_again_goes_on_to_the_slack() {
        let mut ledger = ledger(&[("a", 110, Some(100)), ("b", 10, None)], None);
        assert!(ledger.asks(&name("a")) && !ledger.asks(&name("b")) && !ledger.asks(&name("c")));
        assert!(ledger.lets_go(&name("a"), 20) && !ledger.is_owed());
        // It was not removed, or something else came.
        ledger.read_again(&BTreeMap::from([(name("a"), 98)]));
        assert!(ledger.is_owed(), "within the budget, not yet at the slack");
        ledger.read_again(&BTreeMap::from([(name("a"), 95)]));
        assert!(!ledger.is_owed());
    }
}
