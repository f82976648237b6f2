//! Who may do what: pure values and one decision.
//!
//! A client presents a [`Token`] or nothing. Whoever looks tokens up (`engine::callers`) turns that into a [`Caller`], and
//! [`decide`] says whether this caller may do something to a repository. Everything here is a value or a function of values:
//! no clock, no store, no request. So the whole rule fits on a screen, and a table of every case is its test.
//!
//! It promises that the text of a token is held by a [`Token`] alone, that neither it nor its digest is ever shown by
//! `Debug`, and that digests are compared in constant time.

mod grants;
mod token;

pub use self::grants::{Grant, GrantSet, Grants, InvalidGrants, Scope, ScopedGrants};
pub use self::token::{InvalidHash, InvalidToken, InvalidTokenName, Token, TokenHash, TokenId, TokenName};

use std::fmt;
use std::sync::Arc;

use crate::store::key::RepositoryName;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who presented no token.
    Anonymous,
    /// Somebody whose token is right.
    Holder(Arc<Holder>),
    /// Somebody whose token was right a moment ago; the catalog, which could say whether it was revoked since, is away.
    Remembered(Arc<Holder>),
    /// Somebody whose token may be right; the catalog is away, and nobody here remembers it.
    Unverified,
}

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The token's name.
    pub name: TokenName,
    /// Where the token is known from.
    pub origin: Origin,
    /// What it allows.
    pub grants: Grants,
}

/// Where a token is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `ARTIFACTAPI_ADMIN_TOKEN`.
    Environment,
    /// `access:` in remotes.yaml.
    Configuration,
    /// `artifactapi token new`, or the first start.
    Catalog(TokenId),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::Configuration => f.write_str("configuration"),
            Self::Catalog(TokenId(id)) => write!(f, "catalog:{id}"),
        }
    }
}

impl Caller {
    /// The token's name, for logs; `anonymous` and `unverified` for those who have none.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Unverified => "unverified",
            Self::Holder(holder) | Self::Remembered(holder) => holder.name.as_str(),
        }
    }

    /// Whom the token stands for, if it is known.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Anonymous | Self::Unverified => None,
            Self::Holder(holder) | Self::Remembered(holder) => Some(holder),
        }
    }

    /// Whether a token of everything's administrator was presented.
    #[must_use]
    pub fn administers_everything(&self) -> bool {
        matches!(self, Self::Holder(holder) if holder.grants.allow_everywhere(Grant::Admin))
    }
}

/// What a repository says of access.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'r> {
    /// Its name.
    pub repository: &'r RepositoryName,
    /// Whether anybody may read it.
    pub anonymous_read: bool,
}

/// What [`decide`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// Not without a token.
    NeedsToken,
    /// Not with this token.
    Forbidden,
    /// Nobody can say now whether the token still stands.
    NotNow,
}

/// Whether a caller may do to a repository what needs this grant.
///
/// A token that is merely remembered may read and never change anything: a revoked one would otherwise go on writing for as
/// long as the catalog is away.
#[must_use]
pub fn decide(caller: &Caller, policy: Policy<'_>, needed: Grant) -> Decision {
    if needed == Grant::Read && policy.anonymous_read {
        return Decision::Allowed;
    }
    match caller {
        Caller::Anonymous => Decision::NeedsToken,
        Caller::Unverified => Decision::NotNow,
        Caller::Holder(holder) | Caller::Remembered(holder) if !holder.grants.allow(policy.repository, needed) => {
            Decision::Forbidden
        }
        Caller::Remembered(_) if needed != Grant::Read => Decision::NotNow,
        Caller::Holder(_) | Caller::Remembered(_) => Decision::Allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(grants: &str) -> Arc<Holder> {
        let grants = grants.parse().expect("grants");
        Arc::new(Holder { name: "ci".parse().expect("a name"), origin: Origin::Catalog(TokenId(7)), grants })
    }

    /// Every caller with every grant against every action, on a repository that anybody may read and on one that not.
    #[test]
    fn every_action_every_grant_and_nobody() {
        use Decision::{Allowed, Forbidden, NeedsToken, NotNow};
        let mine: RepositoryName = "mine".parse().expect("a name");
        // Read, write, delete, admin.
        let of_grants = [
            ("", [Forbidden; 4]),
            ("mine=read", [Allowed, Forbidden, Forbidden, Forbidden]),
            ("mine=write", [Forbidden, Allowed, Forbidden, Forbidden]),
            ("mine=delete", [Forbidden, Forbidden, Allowed, Forbidden]),
            ("mine=admin", [Allowed; 4]),
            ("*=read", [Allowed, Forbidden, Forbidden, Forbidden]),
            ("*=write", [Forbidden, Allowed, Forbidden, Forbidden]),
            ("*=delete", [Forbidden, Forbidden, Allowed, Forbidden]),
            ("*=admin", [Allowed; 4]),
            ("*=read mine=write", [Allowed, Allowed, Forbidden, Forbidden]),
            ("other=read,write,delete,admin", [Forbidden; 4]),
        ];
        let mut table = vec![
            ("nobody".to_owned(), Caller::Anonymous, [NeedsToken; 4]),
            ("unverified".to_owned(), Caller::Unverified, [NotNow; 4]),
        ];
        for (grants, decisions) in of_grants {
            table.push((grants.to_owned(), Caller::Holder(holder(grants)), decisions));
            // What would be a change is refused for now; what is forbidden stays so.
            let mut remembered = decisions;
            for later in remembered.iter_mut().skip(1).filter(|decision| **decision == Allowed) {
                *later = NotNow;
            }
            table.push((format!("{grants}, remembered"), Caller::Remembered(holder(grants)), remembered));
        }
        for (what, caller, decisions) in table {
            for (needed, decision) in Grant::ALL.into_iter().zip(decisions) {
                let closed = Policy { repository: &mine, anonymous_read: false };
                assert_eq!(decide(&caller, closed, needed), decision, "{what}: {needed} where nobody may read");
                let open = Policy { anonymous_read: true, ..closed };
                let decision = if needed == Grant::Read { Allowed } else { decision };
                assert_eq!(decide(&caller, open, needed), decision, "{what}: {needed} where anybody may read");
            }
        }
    }

    #[test]
    fn callers_are_named() {
        assert_eq!(Caller::Anonymous.name(), "anonymous");
        let caller = Caller::Holder(holder("*=admin"));
        assert_eq!((caller.name(), caller.administers_everything()), ("ci", true));
        assert!(!Caller::Remembered(holder("*=admin")).administers_everything());
        assert!(!Caller::Holder(holder("mine=admin")).administers_everything());
        assert_eq!(caller.holder().map(|holder| holder.origin.to_string()).as_deref(), Some("catalog:7"));
    }
}
