//! [`Tokens`] in PostgreSQL: one statement and one round trip for each operation.

use std::time::SystemTime;

use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::PostgresCatalog;
use crate::access::{TokenHash, TokenId, TokenName};
use crate::store::catalog::CatalogError;
use crate::store::catalog::row::to_millis;
use crate::store::catalog::tokens::{Created, NewRow, NewToken, TOKENS_LISTED, TokenRecord, TokenRow, Tokens, sql};

#[async_trait]
impl Tokens for PostgresCatalog {
    async fn create(&self, token: &NewToken) -> Result<Created, CatalogError> {
        let row = NewRow::from(token);
        let made: Option<i64> = self
            .database
            .call("creating a token", async |db| {
                query_scalar(sql::CREATE)
                    .bind(row.name)
                    .bind(row.sha256)
                    .bind(row.grants)
                    .bind(row.created_at)
                    .bind(row.expires_at)
                    .fetch_optional(db)
                    .await
            })
            .await?;
        Ok(made.map_or(Created::NameTaken, |id| Created::Made(TokenId(id))))
    }

    async fn list(&self, after: Option<&TokenName>, limit: u32) -> Result<Vec<TokenRecord>, CatalogError> {
        let during = "listing tokens";
        let after = after.map_or("", TokenName::as_str);
        let rows: Vec<TokenRow> = self
            .database
            .call(during, async |db| {
                query_as(sql::LIST).bind(after).bind(i64::from(limit.min(TOKENS_LISTED))).fetch_all(db).await
            })
            .await?;
        rows.into_iter().map(|row| row.read(during)).collect()
    }

    async fn revoke(&self, name: &TokenName) -> Result<bool, CatalogError> {
        self.database
            .call("revoking a token", async |db| {
                Ok(query(sql::REVOKE).bind(name.as_str()).execute(db).await?.rows_affected() > 0)
            })
            .await
    }

    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, CatalogError> {
        let during = "looking up a token";
        let row: Option<TokenRow> = self
            .database
            .call(during, async |db| query_as(sql::FIND).bind(&hash.as_bytes()[..]).fetch_optional(db).await)
            .await?;
        row.map(|row| row.read(during)).transpose()
    }

    async fn used(&self, id: TokenId, at: SystemTime) -> Result<(), CatalogError> {
        self.database
            .call("noting the use of a token", async |db| {
                query(sql::USED).bind(id.0).bind(to_millis(at)).execute(db).await.map(drop)
            })
            .await
    }
}
