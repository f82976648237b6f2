//! The tokens that were made with `artifactapi token new`, and the one of the first start.
//!
//! [`Tokens`] promises:
//! - **A token is its digest.** No text of a token ever gets here, and nothing here could be presented by whoever reads it.
//! - **Revoking is removing.** Once [`Tokens::revoke`] has answered, no [`Tokens::find`] of any replica finds the token.
//! - **One of a name.** Two that are created at once under one name become one, and the other is told.
//!
//! It never decides what a token allows, nor whether its time is over: it does not look at the clock. What of its answers is
//! remembered, and for how long, is the business of whoever asks.

use std::time::SystemTime;

use async_trait::async_trait;

use super::row::{from_millis, to_millis};
use super::{CatalogError, CatalogErrorKind};
use crate::access::{Grants, InvalidGrants, InvalidTokenName, TokenHash, TokenId, TokenName};

/// The most rows of one page of [`Tokens::list`].
pub const TOKENS_LISTED: u32 = 1_000;

/// A token that is to be created. Times have whole milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What people call it.
    pub name: TokenName,
    /// What it is known by.
    pub hash: TokenHash,
    /// What it allows.
    pub grants: Grants,
    /// When it was made.
    pub created_at: SystemTime,
    /// From when on it is worth nothing; `None` for never.
    pub expires_at: Option<SystemTime>,
}

/// A token that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its number.
    pub id: TokenId,
    /// What people call it.
    pub name: TokenName,
    /// What it is known by.
    pub hash: TokenHash,
    /// What it allows.
    pub grants: Grants,
    /// When it was made.
    pub created_at: SystemTime,
    /// From when on it is worth nothing; `None` for never.
    pub expires_at: Option<SystemTime>,
    /// When it was last used, to the hour; `None` for never.
    pub last_used: Option<SystemTime>,
}

/// What [`Tokens::create`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is there, under this number.
    Made(TokenId),
    /// There is one of this name.
    NameTaken,
}

/// A store of tokens. The module's text is the contract.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Makes a token known.
    ///
    /// # Errors
    /// [`CatalogError`]; whether it happened is then unknown, and trying again says [`Created::NameTaken`] if it did.
    async fn create(&self, token: &NewToken) -> Result<Created, CatalogError>;

    /// Tokens in the byte order of their names, after this one: at most so many, and never more than [`TOKENS_LISTED`].
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn list(&self, after: Option<&TokenName>, limit: u32) -> Result<Vec<TokenRecord>, CatalogError>;

    /// Removes the token of that name. `false` if there is none.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer; trying again is safe.
    async fn revoke(&self, name: &TokenName) -> Result<bool, CatalogError>;

    /// The token of this digest.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer; absence is `Ok(None)`.
    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, CatalogError>;

    /// Notes that a token was used. Never moves the time backwards; a token that is gone is passed over.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn used(&self, id: TokenId, at: SystemTime) -> Result<(), CatalogError>;
}

/// The statements, which both databases understand word for word.
pub(super) mod sql {
    pub(in super::super) const CREATE: &str = "
        INSERT INTO access_token (name, sha256, grants, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (name) DO NOTHING RETURNING id";

    pub(in super::super) const LIST: &str = "
        SELECT id, name, sha256, grants, created_at, expires_at, last_used FROM access_token
        WHERE name > $1 ORDER BY name LIMIT $2";

    pub(in super::super) const REVOKE: &str = "DELETE FROM access_token WHERE name = $1";

    pub(in super::super) const FIND: &str = "
        SELECT id, name, sha256, grants, created_at, expires_at, last_used FROM access_token WHERE sha256 = $1";

    pub(in super::super) const USED: &str =
        "UPDATE access_token SET last_used = $2 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)";
}

/// One row of `access_token`.
#[derive(sqlx::FromRow)]
pub(super) struct TokenRow {
    id: i64,
    name: String,
    sha256: Vec<u8>,
    grants: String,
    created_at: i64,
    expires_at: Option<i64>,
    last_used: Option<i64>,
}

impl TokenRow {
    /// The token this row was written from.
    pub(super) fn read(self, during: &'static str) -> Result<TokenRecord, CatalogError> {
        let damaged = |source| CatalogError { kind: CatalogErrorKind::Damaged, during, source: Some(source) };
        let hash = <[u8; 32]>::try_from(self.sha256).map_err(|_| damaged("a digest is not 32 bytes long".into()))?;
        Ok(TokenRecord {
            id: TokenId(self.id),
            name: self.name.parse().map_err(|error: InvalidTokenName| damaged(error.into()))?,
            hash: TokenHash::from_bytes(hash),
            grants: self.grants.parse().map_err(|error: InvalidGrants| damaged(error.into()))?,
            created_at: from_millis(self.created_at),
            expires_at: self.expires_at.map(from_millis),
            last_used: self.last_used.map(from_millis),
        })
    }
}

/// The columns of a token that is to be created, in the order of [`sql::CREATE`].
pub(super) struct NewRow {
    pub(super) name: String,
    pub(super) sha256: Vec<u8>,
    pub(super) grants: String,
    pub(super) created_at: i64,
    pub(super) expires_at: Option<i64>,
}

impl From<&NewToken> for NewRow {
    fn from(token: &NewToken) -> Self {
        Self {
            name: token.name.to_string(),
            sha256: token.hash.as_bytes().to_vec(),
            grants: token.grants.to_string(),
            created_at: to_millis(token.created_at),
            expires_at: token.expires_at.map(to_millis),
        }
    }
}
