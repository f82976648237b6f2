//! The one writer: changes that arrive together share a transaction.
//!
//! While one transaction is being flushed to the disk, the next changes gather; then they are all applied and flushed at
//! once. Each is answered after its transaction is committed, and goes on when whoever asked for it has left. A change that
//! fails takes nobody with it: its transaction is undone, and each change of it is tried again alone.

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, oneshot};

use crate::store::catalog::CatalogError;

/// How many changes one transaction takes at most.
const MAX_BATCH: usize = 128;

/// How many changes wait at most; who comes later waits to be let in.
const QUEUE: usize = 1024;

/// Something to be changed. May be applied again after its first transaction was undone.
#[async_trait]
pub(super) trait Change: Send + Sync + 'static {
    /// What is answered once it is committed.
    type Outcome: Send;

    /// What it is called in errors.
    const DURING: &'static str;

    /// Makes the change, inside a transaction.
    async fn apply(&self, db: &mut SqliteConnection) -> Result<Self::Outcome, sqlx::Error>;
}

/// The way to the writer.
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Pending>>,
}

impl Writer {
    /// Starts the writer on this connection. It ends when this value is dropped and all changes are made.
    pub(super) fn start(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(write(options, connection, waiting));
        Self { queue }
    }

    /// Makes a change; returns when it is on the disk.
    pub(super) async fn change<C: Change>(&self, change: C) -> Result<C::Outcome, CatalogError> {
        let gone = || CatalogError::unavailable(C::DURING, "the writer has ended");
        let (answer, answered) = oneshot::channel();
        self.queue.send(Box::new(Asked { change, outcome: None, answer })).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// A change, whatever its outcome.
#[async_trait]
trait Pending: Send {
    async fn apply(&mut self, db: &mut SqliteConnection) -> Result<(), sqlx::Error>;
    fn committed(self: Box<Self>);
    fn failed(self: Box<Self>, error: sqlx::Error);
}

struct Asked<C: Change> {
    change: C,
    outcome: Option<C::Outcome>,
    answer: oneshot::Sender<Result<C::Outcome, CatalogError>>,
}

#[async_trait]
impl<C: Change> Pending for Asked<C> {
    async fn apply(&mut self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        self.outcome = Some(self.change.apply(db).await?);
        Ok(())
    }

    fn committed(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // Whoever asked may have left.
            let _ = self.answer.send(Ok(outcome));
        }
    }

    fn failed(self: Box<Self>, error: sqlx::Error) {
        let _ = self.answer.send(Err(CatalogError::from_sqlx(C::DURING, error)));
    }
}

async fn write(options: SqliteConnectOptions, mut db: SqliteConnection, mut waiting: mpsc::Receiver<Box<dyn Pending>>) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while waiting.recv_many(&mut batch, MAX_BATCH).await > 0 {
        if transact(&mut db, &mut batch).await.is_ok() {
            batch.drain(..).for_each(Pending::committed);
            continue;
        }
        renew(&options, &mut db).await;
        for change in batch.drain(..) {
            let mut alone = [change];
            let result = transact(&mut db, &mut alone).await;
            let [change] = alone;
            match result {
                Ok(()) => change.committed(),
                Err(error) => {
                    change.failed(error);
                    renew(&options, &mut db).await;
                }
            }
        }
    }
    // Writes the log back into the file.
    let _ = db.close().await;
}

/// A connection that failed may be beyond use: where the disk is full SQLite ends the transaction by itself, which the driver does not
/// know. A new one knows nothing of what went wrong, so that the next to fail says why.
async fn renew(options: &SqliteConnectOptions, db: &mut SqliteConnection) {
    if let Ok(fresh) = options.connect().await {
        *db = fresh;
    }
}

/// Applies all changes in one transaction, or none.
async fn transact(db: &mut SqliteConnection, changes: &mut [Box<dyn Pending>]) -> Result<(), sqlx::Error> {
    // As a writer from the beginning: a transaction that begins by reading could not always become one.
    let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
    for change in changes {
        change.apply(&mut transaction).await?;
    }
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a line; a line of more than one character is against the rules of the table.
    struct Line(&'static str);

    #[async_trait]
    impl Change for Line {
        type Outcome = ();

        const DURING: &'static str = "writing a line";

        async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
            sqlx::query("INSERT INTO lines VALUES ($1)").bind(self.0).execute(db).await.map(drop)
        }
    }

    #[tokio::test]
    async fn a_change_that_fails_takes_nobody_with_it() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let options = SqliteConnectOptions::new().filename(folder.path().join("db")).create_if_missing(true);
        let mut db = options.connect().await.expect("a file");
        sqlx::raw_sql("CREATE TABLE lines (line TEXT CHECK (LENGTH(line) = 1))")
            .execute(&mut db)
            .await
            .expect("a table");
        let writer = Writer::start(options.clone(), db);
        // On one thread all five are waiting when the writer first looks: they are one batch.
        let (a, bad, b, worse, c) = tokio::join!(
            writer.change(Line("a")),
            writer.change(Line("bad")),
            writer.change(Line("b")),
            writer.change(Line("worse")),
            writer.change(Line("c")),
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert!(bad.is_err() && worse.is_err());
        writer.change(Line("d")).await.expect("it goes on");
        let mut reader = options.connect().await.expect("a file");
        let lines: String =
            sqlx::query_scalar("SELECT GROUP_CONCAT(line, '') FROM lines").fetch_one(&mut reader).await.expect("lines");
        assert_eq!(lines, "abcd");
    }
}
