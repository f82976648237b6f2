//! What a token allows: grants, for each repository or for all.
//!
//! A grant allows what it says and nothing else, so that a job which only uploads cannot read or delete; `admin` alone
//! includes the others. Written as `local-rpm=read,write *=read`, on the command line and in the catalog, and the two add up.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::store::key::RepositoryName;

/// One thing that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// Fetching files, and looking at what there is.
    Read,
    /// Uploading, having files fetched ahead of time, naming snapshots.
    Write,
    /// Removing what was uploaded.
    Delete,
    /// Everything.
    Admin,
}

impl Grant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Delete, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Delete => 4,
            Self::Admin => 8,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Any number of grants, without saying on what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GrantSet(u8);

impl GrantSet {
    /// Adds one.
    pub const fn add(&mut self, grant: Grant) {
        self.0 |= grant.bit();
    }

    /// Whether what needs this grant is allowed.
    #[must_use]
    pub const fn allows(self, needed: Grant) -> bool {
        self.0 & (needed.bit() | Grant::Admin.bit()) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that were given.
    pub fn iter(self) -> impl Iterator<Item = Grant> {
        Grant::ALL.into_iter().filter(move |grant| self.0 & grant.bit() != 0)
    }
}

impl FromIterator<Grant> for GrantSet {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        let mut set = Self::default();
        grants.into_iter().for_each(|grant| set.add(grant));
        set
    }
}

impl fmt::Display for GrantSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Grant::name).collect::<Vec<_>>().join(","))
    }
}

/// What grants are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every repository, those of the future among them: `*`.
    Everywhere,
    /// This one.
    Repository(RepositoryName),
}

impl FromStr for Scope {
    type Err = InvalidGrants;

    fn from_str(text: &str) -> Result<Self, InvalidGrants> {
        if text == "*" {
            return Ok(Self::Everywhere);
        }
        text.parse().map(Self::Repository).map_err(|_| InvalidGrants::Scope(text.to_owned()))
    }
}

/// Grants on one scope, as one word: `local-rpm=read,write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedGrants {
    /// On what.
    pub scope: Scope,
    /// Which.
    pub grants: GrantSet,
}

/// Why a text is not grants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrants {
    /// No `=` in it.
    #[error("{0:?} is not REPOSITORY=GRANT,GRANT; write local-rpm=read,write, or *=read for all repositories")]
    Form(String),
    /// Neither a repository's name nor `*`.
    #[error("{0:?} is neither a repository's name nor *")]
    Scope(String),
    /// No such grant.
    #[error("{0:?} is not a grant; there are read, write, delete and admin")]
    Grant(String),
}

impl FromStr for Grant {
    type Err = InvalidGrants;

    fn from_str(text: &str) -> Result<Self, InvalidGrants> {
        Self::ALL.into_iter().find(|grant| grant.name() == text).ok_or_else(|| InvalidGrants::Grant(text.to_owned()))
    }
}

impl FromStr for ScopedGrants {
    type Err = InvalidGrants;

    fn from_str(text: &str) -> Result<Self, InvalidGrants> {
        let (scope, grants) = text.split_once('=').ok_or_else(|| InvalidGrants::Form(text.to_owned()))?;
        let grants = grants.split(',').map(str::parse).collect::<Result<GrantSet, _>>()?;
        Ok(Self { scope: scope.parse()?, grants })
    }
}

/// Everything that a token allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    everywhere: GrantSet,
    by_repository: BTreeMap<RepositoryName, GrantSet>,
}

impl Grants {
    /// Everything on everything.
    #[must_use]
    pub fn administrator() -> Self {
        Self { everywhere: GrantSet::from_iter([Grant::Admin]), by_repository: BTreeMap::new() }
    }

    /// Adds grants on a scope to those that are there.
    pub fn add(&mut self, added: ScopedGrants) {
        let set = match added.scope {
            Scope::Everywhere => &mut self.everywhere,
            Scope::Repository(name) => self.by_repository.entry(name).or_default(),
        };
        added.grants.iter().for_each(|grant| set.add(grant));
    }

    /// Whether what needs this grant on this repository is allowed.
    #[must_use]
    pub fn allow(&self, repository: &RepositoryName, needed: Grant) -> bool {
        self.allow_everywhere(needed) || self.by_repository.get(repository).is_some_and(|set| set.allows(needed))
    }

    /// Whether what needs this grant is allowed on every repository.
    #[must_use]
    pub const fn allow_everywhere(&self, needed: Grant) -> bool {
        self.everywhere.allows(needed)
    }

    /// The repositories that are named.
    pub fn repositories(&self) -> impl Iterator<Item = &RepositoryName> {
        self.by_repository.keys()
    }

    /// Scope by scope, `*` first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, GrantSet)> {
        let everywhere = (!self.everywhere.is_empty()).then_some(("*", self.everywhere));
        everywhere.into_iter().chain(self.by_repository.iter().map(|(name, set)| (name.as_str(), *set)))
    }
}

impl FromIterator<ScopedGrants> for Grants {
    fn from_iter<I: IntoIterator<Item = ScopedGrants>>(all: I) -> Self {
        let mut grants = Self::default();
        all.into_iter().for_each(|scoped| grants.add(scoped));
        grants
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.iter().map(|(scope, set)| format!("{scope}={set}")).collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Grants {
    type Err = InvalidGrants;

    fn from_str(text: &str) -> Result<Self, InvalidGrants> {
        text.split_whitespace().map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_come_back_as_they_are_written() {
        for text in ["", "*=admin", "*=read a=write,delete", "a=read b.c-d_e=read,write,delete,admin"] {
            assert_eq!(text.parse::<Grants>().expect(text).to_string(), text);
        }
        let grants: Grants = "a=write a=read *=read".parse().expect("grants");
        assert_eq!(grants.to_string(), "*=read a=read,write", "they add up, in one order");
        assert_eq!(grants.repositories().map(RepositoryName::as_str).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn what_is_no_grant_is_named() {
        let table = [
            ("a", "\"a\" is not REPOSITORY=GRANT,GRANT; write local-rpm=read,write, or *=read for all repositories"),
            ("a/b=read", "\"a/b\" is neither a repository's name nor *"),
            ("a=read,erase", "\"erase\" is not a grant; there are read, write, delete and admin"),
            ("a=", "\"\" is not a grant; there are read, write, delete and admin"),
            ("a=Read", "\"Read\" is not a grant; there are read, write, delete and admin"),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Grants>().expect_err(text).to_string(), expected);
        }
    }
}
