//! Measurements, run by hand: `cargo nextest run --release --lib --run-ignored only measure`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

use super::{Raw, Subject, artifact, target};
use crate::store::catalog::ListQuery;
use crate::store::catalog::sqlite::SqliteCatalog;

const ROWS: usize = 1_000_000;

const FILL: &str = "
    INSERT INTO artifact (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
        upstream_last_modified, last_modified, stored_at, checked_at)
    SELECT 'alpine', 'v3.22/main/x86_64/package-number-' || n || '-1.2.3-r0.apk', '', '', n,
        'alpine/0123456789abcdef/package-number-' || n || '-1.2.3-r0.apk', 100000, $1,
        'application/octet-stream', '\"0123456789abcdef\"', 'Tue, 01 Jul 2025 00:00:00 GMT', 0, 0, 0 ";

async fn fill(subject: &Subject) {
    match &subject.raw {
        Raw::Sqlite(path, _) => {
            let numbers = "FROM (WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000) SELECT n FROM n)";
            let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("a file");
            let fill = sqlx::AssertSqlSafe(format!("{FILL}{numbers}"));
            sqlx::query(fill).bind(&[7_u8; 32][..]).execute(&mut db).await.expect("rows");
        }
        Raw::Postgres(service) => {
            let mut db = sqlx::PgConnection::connect(&super::url(service)).await.expect("a database");
            let fill = sqlx::AssertSqlSafe(format!("{FILL}FROM GENERATE_SERIES(1, 1000000) AS n"));
            sqlx::query(fill).bind(&[7_u8; 32][..]).execute(&mut db).await.expect("rows");
            db.execute("ANALYZE; CHECKPOINT").await.expect("statistics");
        }
    }
}

fn package(n: usize) -> String {
    format!("v3.22/main/x86_64/package-number-{n}-1.2.3-r0.apk")
}

#[allow(clippy::print_stdout, reason = "this is what it is for")]
fn say(what: &str, count: usize, took: Duration) {
    println!("{what}: {took:?}, {:?} each", took / u32::try_from(count).unwrap_or(u32::MAX));
}

async fn measure(name: &str, subject: &Subject) {
    let catalog = &subject.catalog;
    let repository = &target("a").repository;
    let start = Instant::now();
    for n in 0..5000 {
        let found = catalog.lookup(&target(&package(1 + n * 199))).await.expect("an answer");
        assert!(found.is_some());
    }
    say(&format!("{name} look-up, one after the other"), 5000, start.elapsed());

    let start = Instant::now();
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let catalog = Arc::clone(catalog);
            tokio::spawn(async move {
                for n in 0..1000 {
                    catalog.lookup(&target(&package(1 + task * 50_000 + n * 47))).await.expect("an answer");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    say(&format!("{name} look-up, 16 at once"), 16_000, start.elapsed());

    let start = Instant::now();
    for n in 0..200 {
        catalog.publish(&artifact(&format!("one/{n}"), b"x"), None).await.expect("an answer");
    }
    say(&format!("{name} publish, one after the other"), 200, start.elapsed());

    let start = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let catalog = Arc::clone(catalog);
            tokio::spawn(async move {
                for n in 0..100 {
                    catalog.publish(&artifact(&format!("many/{task}/{n}"), b"x"), None).await.expect("an answer");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    say(&format!("{name} publish, 64 at once"), 6400, start.elapsed());

    let start = Instant::now();
    let totals = catalog.totals(repository).await.expect("totals");
    assert_eq!(totals.artifacts, (ROWS + 6600) as u64);
    say(&format!("{name} totals"), 1, start.elapsed());

    let mut page = ListQuery { prefix: "v3.22/main/x86_64/package-number-5".to_owned(), after: None, limit: 100 };
    let start = Instant::now();
    for _ in 0..100 {
        let rows = catalog.list(repository, &page).await.expect("a page");
        page.after = rows.last().map(|row| (row.target.path.to_string(), row.target.query.to_string()));
    }
    say(&format!("{name} page of 100"), 100, start.elapsed());

    let uses: Vec<_> = (1..=1000)
        .map(|n| crate::store::catalog::Use { target: target(&package(n * 900)), count: 3, last: super::at(1) })
        .collect();
    let start = Instant::now();
    catalog.record_uses(&uses).await.expect("counted");
    say(&format!("{name} 1000 uses"), 1, start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_sqlite() {
    // Not in a folder that lives in memory: a commit has to reach a disk.
    let folder = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
    let path = folder.path().join("catalog.db");
    let catalog = SqliteCatalog::open(&path).await.expect("a catalog");
    let mut subject = Subject { catalog: Arc::new(catalog), raw: Raw::Sqlite(path.clone(), folder) };
    fill(&subject).await;
    for _ in 0..3 {
        let start = Instant::now();
        subject.catalog = Arc::new(SqliteCatalog::open(&path).await.expect("a catalog"));
        say("sqlite open", 1, start.elapsed());
    }
    measure("sqlite", &subject).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_postgres() {
    let mut subject = Subject::postgres().await;
    fill(&subject).await;
    let Raw::Postgres(service) = &subject.raw else { panic!() };
    let start = Instant::now();
    let catalog = super::postgres(service);
    catalog.migrate().await.expect("up to date");
    say("postgres open", 1, start.elapsed());
    subject.catalog = Arc::new(catalog);
    measure("postgres", &subject).await;
}
