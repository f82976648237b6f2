//! From a database's errors to what a caller does about them.

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

use super::{CatalogError, CatalogErrorKind};

impl CatalogError {
    /// An error of the database, while doing `during`.
    pub(super) fn from_sqlx(during: &'static str, error: sqlx::Error) -> Self {
        Self { kind: kind_of(&error), during, source: Some(Box::new(error)) }
    }

    /// The database did not answer in time, or is known not to.
    pub(super) fn unavailable(during: &'static str, why: &'static str) -> Self {
        Self { kind: CatalogErrorKind::Unavailable, during, source: Some(why.into()) }
    }
}

/// The kind of a failed migration.
pub(super) fn kind_of_migration(error: &MigrateError) -> CatalogErrorKind {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => kind_of(error),
        _ => CatalogErrorKind::Refused,
    }
}

/// The kind of a database error.
pub(super) fn kind_of(error: &sqlx::Error) -> CatalogErrorKind {
    use sqlx::Error;
    match error {
        Error::Io(_) | Error::Protocol(_) | Error::WorkerCrashed | Error::PoolTimedOut | Error::PoolClosed => {
            CatalogErrorKind::Unavailable
        }
        Error::Decode(_)
        | Error::ColumnDecode { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::RowNotFound => CatalogErrorKind::Damaged,
        Error::Database(error) => kind_of_answer(error.as_ref()),
        Error::Migrate(error) => kind_of_migration(error),
        _ => CatalogErrorKind::Refused,
    }
}

fn kind_of_answer(error: &dyn DatabaseError) -> CatalogErrorKind {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        kind_of_sqlite(code.parse().unwrap_or(1))
    } else {
        kind_of_sqlstate(&code)
    }
}

/// By the primary result code, the low byte of the extended one.
fn kind_of_sqlite(extended: u32) -> CatalogErrorKind {
    match extended & 0xff {
        // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, PROTOCOL
        5 | 6 | 7 | 9 | 10 | 15 => CatalogErrorKind::Unavailable,
        // FULL
        13 => CatalogErrorKind::Full,
        // CORRUPT, NOTADB
        11 | 26 => CatalogErrorKind::Damaged,
        _ => CatalogErrorKind::Refused,
    }
}

/// By the SQLSTATE.
fn kind_of_sqlstate(code: &str) -> CatalogErrorKind {
    match code {
        "53100" => CatalogErrorKind::Full,
        // statement time-out, lock time-out, read-only after a failover
        "57014" | "55P03" | "25006" => CatalogErrorKind::Unavailable,
        "XX001" | "XX002" => CatalogErrorKind::Damaged,
        _ => match code.get(..2) {
            // connection, serialisation and deadlock, resources, operator intervention (starting, stopping), I/O
            Some("08" | "40" | "53" | "57" | "58") => CatalogErrorKind::Unavailable,
            _ => CatalogErrorKind::Refused,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_code() {
        assert_eq!(kind_of_sqlite(5), CatalogErrorKind::Unavailable);
        assert_eq!(kind_of_sqlite(13), CatalogErrorKind::Full);
        assert_eq!(kind_of_sqlite(10 | 11 << 8), CatalogErrorKind::Unavailable, "an extended code");
        assert_eq!(kind_of_sqlite(14), CatalogErrorKind::Refused, "cannot open");
        assert_eq!(kind_of_sqlstate("57P03"), CatalogErrorKind::Unavailable, "starting up");
        assert_eq!(kind_of_sqlstate("53300"), CatalogErrorKind::Unavailable, "too many connections");
        assert_eq!(kind_of_sqlstate("53100"), CatalogErrorKind::Full);
        assert_eq!(kind_of_sqlstate("28P01"), CatalogErrorKind::Refused, "wrong password");
        assert_eq!(kind_of_sqlstate("3D000"), CatalogErrorKind::Refused, "no such database");
        assert_eq!(kind_of_sqlstate("42501"), CatalogErrorKind::Refused, "may not create tables");
    }
}
