//! [`Tokens`] in the SQLite file: reads on the readers' connections, changes through the writer.

use std::time::SystemTime;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as, query_scalar};

use super::SqliteCatalog;
use super::writer::Change;
use crate::access::{TokenHash, TokenId, TokenName};
use crate::store::catalog::CatalogError;
use crate::store::catalog::row::to_millis;
use crate::store::catalog::tokens::{Created, NewRow, NewToken, TOKENS_LISTED, TokenRecord, TokenRow, Tokens, sql};

#[async_trait]
impl Tokens for SqliteCatalog {
    async fn create(&self, token: &NewToken) -> Result<Created, CatalogError> {
        self.writer.change(Create(token.into())).await
    }

    async fn list(&self, after: Option<&TokenName>, limit: u32) -> Result<Vec<TokenRecord>, CatalogError> {
        let during = "listing tokens";
        let after = after.map_or("", TokenName::as_str);
        let rows: Vec<TokenRow> = self
            .read(during, async |db| {
                query_as(sql::LIST).bind(after).bind(i64::from(limit.min(TOKENS_LISTED))).fetch_all(db).await
            })
            .await?;
        rows.into_iter().map(|row| row.read(during)).collect()
    }

    async fn revoke(&self, name: &TokenName) -> Result<bool, CatalogError> {
        self.writer.change(Revoke(name.clone())).await
    }

    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, CatalogError> {
        let during = "looking up a token";
        let row: Option<TokenRow> = self
            .read(during, async |db| query_as(sql::FIND).bind(&hash.as_bytes()[..]).fetch_optional(db).await)
            .await?;
        row.map(|row| row.read(during)).transpose()
    }

    async fn used(&self, id: TokenId, at: SystemTime) -> Result<(), CatalogError> {
        self.writer.change(Used { id, at }).await
    }
}

struct Create(NewRow);

#[async_trait]
impl Change for Create {
    type Outcome = Created;

    const DURING: &'static str = "creating a token";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Created, sqlx::Error> {
        let row = &self.0;
        let made: Option<i64> = query_scalar(sql::CREATE)
            .bind(&*row.name)
            .bind(&*row.sha256)
            .bind(&*row.grants)
            .bind(row.created_at)
            .bind(row.expires_at)
            .fetch_optional(db)
            .await?;
        Ok(made.map_or(Created::NameTaken, |id| Created::Made(TokenId(id))))
    }
}

struct Revoke(TokenName);

#[async_trait]
impl Change for Revoke {
    type Outcome = bool;

    const DURING: &'static str = "revoking a token";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        Ok(query(sql::REVOKE).bind(self.0.as_str()).execute(db).await?.rows_affected() > 0)
    }
}

struct Used {
    id: TokenId,
    at: SystemTime,
}

#[async_trait]
impl Change for Used {
    type Outcome = ();

    const DURING: &'static str = "noting the use of a token";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        query(sql::USED).bind(self.id.0).bind(to_millis(self.at)).execute(db).await.map(drop)
    }
}
