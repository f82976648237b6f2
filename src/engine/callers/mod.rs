//! Whose token is it?
//!
//! A text that a client presents is compared with the administrator's (`ARTIFACTAPI_ADMIN_TOKEN`) and those of the
//! configuration in force, which costs no more than a digest; only what can be a token of the catalog is looked up there.
//!
//! It promises:
//! - **A revoked token is refused within [`FRESH`], by every replica**, with or without the news: so long an answer of the
//!   catalog is good, and [`Event::TokensChanged`] ends it at once.
//! - **The catalog's absence locks out nobody who has a token elsewhere.** Who was known to it within [`LATELY`] is
//!   [`Caller::Remembered`] and may still read; others are [`Caller::Unverified`]. Neither may change anything: what was
//!   revoked meanwhile must not write, and uploads need the catalog anyway.
//! - **Bounded.** [`REMEMBERED`] tokens at most are remembered, and wrong ones never are.
//!
//! It holds digests and no text of a token beyond the call that presents it.

mod first;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::broadcast::error::RecvError;

pub use self::first::{FIRST_TOKEN_FILE, FirstToken, make_first_token};
use super::held::now;
use crate::access::{Caller, Grants, Holder, InvalidToken, Origin, Token, TokenHash, TokenName};
use crate::config::LiveRepositories;
use crate::store::catalog::CatalogError;
use crate::store::catalog::tokens::{TokenRecord, Tokens};
use crate::store::coordinator::{Coordinator, Event};

/// How long an answer of the catalog is good without news.
pub const FRESH: Duration = Duration::from_millis(500);

/// How long ago the catalog may have known a token that is still accepted for reading while it is away.
pub const LATELY: Duration = Duration::from_secs(60);

/// How many tokens are remembered.
const REMEMBERED: usize = 4_096;

/// How far the catalog's note of the last use may lie back before it is written again.
const USE_STEP: Duration = Duration::from_secs(3_600);

/// The longest text that is looked at, in bytes.
const LONGEST: usize = 512;

/// Those who present tokens.
pub struct Callers {
    administrator: Option<(TokenHash, Arc<Holder>)>,
    repositories: Arc<LiveRepositories>,
    tokens: Arc<dyn Tokens>,
    remembered: quick_cache::sync::Cache<TokenHash, Remembered>,
}

/// What the catalog said of a token.
#[derive(Clone)]
struct Remembered {
    holder: Arc<Holder>,
    expires_at: Option<SystemTime>,
    asked: Instant,
    /// Whether the answer counts as news still; otherwise it is only for when the catalog is away.
    doubted: bool,
}

/// Why a text is nobody's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NobodysToken {
    /// It cannot be one.
    #[error("what was presented is no token")]
    Unfit,
    /// It was one once.
    #[error("the token was mistyped or cut short; copy the whole of it again")]
    Mistyped,
    /// Made up, or revoked.
    #[error("the token is not known here, or was revoked")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired; ask for another")]
    Expired,
}

impl Callers {
    /// Those that these know. `administrator` is the token of the environment.
    #[must_use]
    pub fn new(administrator: Option<&str>, repositories: Arc<LiveRepositories>, tokens: Arc<dyn Tokens>) -> Self {
        let administrator = administrator.map(|text| {
            let (name, grants) = (TokenName::of_environment(), Grants::administrator());
            (TokenHash::of(text), Arc::new(Holder { name, origin: Origin::Environment, grants }))
        });
        Self { administrator, repositories, tokens, remembered: quick_cache::sync::Cache::new(REMEMBERED) }
    }

    /// Whether a token stands in the environment or in the configuration.
    #[must_use]
    pub fn any_configured(&self) -> bool {
        self.administrator.is_some() || !self.repositories.current().tokens().is_empty()
    }

    /// Who presents this text. Never [`Caller::Anonymous`].
    ///
    /// # Errors
    /// [`NobodysToken`] when it is certain that the text is worth nothing.
    pub async fn who_presents(&self, text: &str) -> Result<Caller, NobodysToken> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(NobodysToken::Unfit);
        }
        let hash = TokenHash::of(text);
        if let Some(holder) = self.of_operators(&hash) {
            return Ok(Caller::Holder(holder));
        }
        match text.parse::<Token>() {
            Ok(_) => {}
            Err(InvalidToken::Foreign) => return Err(NobodysToken::Unknown),
            Err(InvalidToken::Mistyped) => return Err(NobodysToken::Mistyped),
        }
        let known = self.remembered.get(&hash);
        if let Some(known) = known.as_ref().filter(|known| !known.doubted && known.asked.elapsed() < FRESH) {
            return known.caller(Caller::Holder);
        }
        let asked = Instant::now();
        match self.tokens.find(&hash).await {
            Ok(Some(record)) => self.remember(record, asked).caller(Caller::Holder),
            Ok(None) => {
                self.remembered.remove(&hash);
                Err(NobodysToken::Unknown)
            }
            Err(error) => {
                tracing::debug!(%error, "a token cannot be looked up");
                match known.filter(|known| known.asked.elapsed() < LATELY) {
                    Some(known) => known.caller(Caller::Remembered),
                    None => Ok(Caller::Unverified),
                }
            }
        }
    }

    /// Looks through all of them, whichever is the right one: the time it takes says nothing.
    fn of_operators(&self, hash: &TokenHash) -> Option<Arc<Holder>> {
        let current = self.repositories.current();
        let mut found = None;
        for token in current.tokens() {
            if token.hash == *hash {
                found = Some(token);
            }
        }
        let of_environment = self.administrator.as_ref().filter(|(known, _)| known == hash);
        match (of_environment, found) {
            (Some((_, holder)), _) => Some(Arc::clone(holder)),
            (None, Some(token)) => Some(Arc::new(Holder {
                name: token.name.clone(),
                origin: Origin::Configuration,
                grants: token.grants.clone(),
            })),
            (None, None) => None,
        }
    }

    fn remember(&self, record: TokenRecord, asked: Instant) -> Remembered {
        let TokenRecord { id, name, hash, grants, created_at: _, expires_at, last_used } = record;
        let holder = Arc::new(Holder { name, origin: Origin::Catalog(id), grants });
        let remembered = Remembered { holder, expires_at, asked, doubted: false };
        self.remembered.insert(hash, remembered.clone());
        let now = now();
        let noted_lately = last_used.is_some_and(|last| now.duration_since(last).unwrap_or_default() < USE_STEP);
        if !noted_lately && !remembered.is_over() {
            let tokens = Arc::clone(&self.tokens);
            // Nobody waits for a note. One that is lost is written at the next use.
            tokio::spawn(async move { tokens.used(id, now).await });
        }
        remembered
    }

    /// Forgets or doubts what is remembered, as events say, until the server ends.
    pub async fn hear(self: Arc<Self>, coordinator: Arc<dyn Coordinator>) {
        let mut events = coordinator.events();
        loop {
            match events.recv().await {
                Ok(Event::TokensChanged) => self.remembered.clear(),
                // What was missed is mostly not about tokens: those that were known stay so for when the catalog is away.
                Ok(Event::Missed) | Err(RecvError::Lagged(_)) => self.doubt_all(),
                Ok(_) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn doubt_all(&self) {
        let all: Vec<_> = self.remembered.iter().collect();
        for (hash, remembered) in all {
            self.remembered.insert(hash, Remembered { doubted: true, ..remembered });
        }
    }

    /// Whether the catalog knows any token.
    ///
    /// # Errors
    /// [`CatalogError`] when it cannot answer.
    async fn catalog_knows_any(&self) -> Result<bool, CatalogError> {
        Ok(!self.tokens.list(None, 1).await?.is_empty())
    }
}

impl Remembered {
    fn is_over(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= SystemTime::now())
    }

    fn caller(&self, known_as: fn(Arc<Holder>) -> Caller) -> Result<Caller, NobodysToken> {
        if self.is_over() { Err(NobodysToken::Expired) } else { Ok(known_as(Arc::clone(&self.holder))) }
    }
}

#[cfg(test)]
mod tests;
