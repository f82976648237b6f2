//! Whether a key stands good at a point in time, from what its owner said of it.
//!
//! The owner's statements are self-signatures: dated, some of them limited in time, and the latest one counts. No packets and no
//! mathematics here: [`super::certificate`] has checked that each statement is the owner's.

use crate::Untrusted;

/// How far clocks may be apart before a date counts as lying in the future. Seconds.
pub(super) const SKEW: u64 = 3600;

/// What the owner said of a key at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Statement {
    /// When.
    pub(super) made: u64,
    /// Until when the statement counts; `None` for always.
    pub(super) expires: Option<u64>,
    /// Until when the key is good; `None` for always.
    pub(super) key_expires: Option<u64>,
    /// Whether the key is for signing.
    pub(super) may_sign: bool,
}

/// Everything the owner said of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// When the key was made.
    pub(super) created: u64,
    /// Revoked, whenever and for whatever reason: an index is signed anew all the time, so there is nothing to be said
    /// for signatures from before.
    pub(super) revoked: bool,
    pub(super) statements: Vec<Statement>,
}

impl Standing {
    /// What counts at `now`, or why the key is not good then. `key` is its name.
    pub(super) fn at(&self, now: u64, key: &str) -> Result<Statement, Untrusted> {
        let key = || key.to_owned();
        if self.revoked {
            return Err(Untrusted::KeyRevoked { key: key() });
        }
        let soon = now.saturating_add(SKEW);
        if self.created > soon {
            return Err(Untrusted::NotYet { key: key(), at: self.created });
        }
        let is_over = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let latest = self
            .statements
            .iter()
            .filter(|statement| statement.made <= soon && !is_over(statement.expires))
            .max_by_key(|statement| (statement.made, std::cmp::Reverse(statement.key_expires.unwrap_or(u64::MAX))));
        match latest {
            Some(statement) => match statement.key_expires {
                Some(at) if at <= now => Err(Untrusted::KeyExpired { key: key(), at }),
                _ => Ok(*statement),
            },
            None => Err(match self.statements.iter().filter_map(|statement| statement.expires).max() {
                Some(at) if at <= now => Untrusted::KeyExpired { key: key(), at },
                _ => Untrusted::KeyMayNotSign { key: key() },
            }),
        }
    }

    /// What `other` says of the same key counts too.
    pub(super) fn merge(&mut self, other: &Self) {
        self.revoked |= other.revoked;
        for statement in &other.statements {
            if !self.statements.contains(statement) {
                self.statements.push(*statement);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(made: u64, key_expires: Option<u64>) -> Statement {
        Statement { made, expires: None, key_expires, may_sign: true }
    }

    fn word(standing: &Standing, now: u64) -> &'static str {
        match standing.at(now, "k") {
            Ok(_) => "good",
            Err(Untrusted::KeyRevoked { .. }) => "revoked",
            Err(Untrusted::KeyExpired { .. }) => "expired",
            Err(Untrusted::NotYet { .. }) => "not yet",
            Err(Untrusted::KeyMayNotSign { .. }) => "no word",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_latest_word_counts() {
        const T: u64 = 1_700_000_000;
        let of = |statements: &[Statement]| Standing { created: T, revoked: false, statements: statements.to_vec() };
        let limited = Statement { expires: Some(T + 500), ..said(T, None) };
        let table = [
            (of(&[said(T, None)]), T + 10, "good"),
            (of(&[said(T, None)]), T - SKEW - 1, "not yet"),
            (of(&[said(T, Some(T + 100))]), T + 99, "good"),
            (of(&[said(T, Some(T + 100))]), T + 100, "expired"),
            // Prolonged, shortened, both said at once.
            (of(&[said(T, Some(T + 100)), said(T + 50, Some(T + 900))]), T + 500, "good"),
            (of(&[said(T, None), said(T + 50, Some(T + 100))]), T + 500, "expired"),
            (of(&[said(T, None), said(T, Some(T + 100))]), T + 500, "expired"),
            // A word from the future does not count yet.
            (of(&[said(T, Some(T + 100)), said(T + 900_000, None)]), T + 500, "expired"),
            (of(&[limited]), T + 499, "good"),
            (of(&[limited]), T + 500, "expired"),
            (of(&[]), T + 1, "no word"),
            (Standing { revoked: true, ..of(&[said(T, None)]) }, T + 1, "revoked"),
        ];
        for (standing, now, expected) in table {
            assert_eq!(word(&standing, now), expected, "{standing:?} at {now}");
        }
    }
}
