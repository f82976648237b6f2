//! Opening, several at once, and what a statement reads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};
use tempfile::TempDir;

use super::{Raw, Subject, artifact, postgres, target, url};
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::{Catalog, CatalogErrorKind, Published, sql};
use crate::store::services::Service;

#[tokio::test]
async fn a_file_is_opened_again_at_once() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("catalog.db");
    let mut written = artifact("a", b"1");
    {
        let catalog = SqliteCatalog::open(&path).await.expect("a new file");
        let Published::Won(revision) = catalog.publish(&written, None).await.expect("an answer") else { panic!() };
        written.revision = revision;
        let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("a file");
        let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50000)
            INSERT INTO artifact SELECT n + 1, 'r', 'p' || n, '', '', n, 'b' || n, 1, x'00', '', NULL, NULL, 0, 0, 0, NULL FROM n";
        db.execute(many).await.expect("rows");
    }
    let start = Instant::now();
    let catalog = SqliteCatalog::open(&path).await.expect("the same file");
    assert_eq!(catalog.lookup(&written.target).await.expect("an answer"), Some(written));
    assert_eq!(catalog.totals(&"r".parse().expect("a name")).await.expect("totals").artifacts, 50_000);
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_is_no_catalog_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("catalog.db");
    std::fs::write(&path, "this is a letter, not a database. ".repeat(100)).expect("a file");
    let error = SqliteCatalog::open(&path).await.err().expect("no catalog");
    assert_eq!(error.kind, CatalogErrorKind::Damaged, "{error:?}");
    let error = SqliteCatalog::open(&folder.path().join("absent/catalog.db")).await.err().expect("no folder");
    assert_eq!(error.kind, CatalogErrorKind::Refused, "{error:?}");
}

/// As a server and a subcommand do.
#[tokio::test(flavor = "multi_thread")]
async fn two_open_one_file() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("catalog.db");
    let (one, other) = tokio::join!(SqliteCatalog::open(&path), SqliteCatalog::open(&path));
    let one: Arc<dyn Catalog> = Arc::new(one.expect("a catalog"));
    publish_from_all(&[one, Arc::new(other.expect("a catalog"))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_start_at_once_on_an_empty_database() {
    let service = Service::postgres();
    let replicas: Vec<_> = (0..4).map(|_| Arc::new(postgres(&service))).collect();
    let starts: Vec<_> =
        replicas.iter().cloned().map(|replica| tokio::spawn(async move { replica.migrate().await })).collect();
    for start in starts {
        start.await.expect("no panic").expect("a database that is up to date");
    }
    let replicas: Vec<Arc<dyn Catalog>> = replicas.into_iter().map(|replica| replica as Arc<dyn Catalog>).collect();
    publish_from_all(&replicas).await;
}

/// Publishes the same targets from each of them at once: each target is won once.
async fn publish_from_all(replicas: &[Arc<dyn Catalog>]) {
    let names: Vec<String> = (0..20).map(|n| format!("{n}.apk")).collect();
    let mut revisions = BTreeSet::new();
    for name in &names {
        let contest: Vec<_> = replicas
            .iter()
            .map(|replica| {
                let (replica, artifact) = (Arc::clone(replica), artifact(name, b"x"));
                tokio::spawn(async move { replica.publish(&artifact, None).await.expect("an answer") })
            })
            .collect();
        let mut won = 0;
        for contestant in contest {
            if let Published::Won(revision) = contestant.await.expect("no panic") {
                won += 1;
                assert!(revisions.insert(revision), "no revision comes twice");
            }
        }
        assert_eq!(won, 1, "{name}");
    }
    for replica in replicas {
        assert!(replica.lookup(&target("7.apk")).await.expect("an answer").is_some(), "all see it");
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_passed_over() {
    let Subject { catalog, snapshots, fragments, tokens, raw: Raw::Sqlite(path, _folder) } = Subject::sqlite().await
    else {
        panic!()
    };
    drop((catalog, snapshots, fragments, tokens));
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("a file");
    db.execute("INSERT INTO _sqlx_migrations VALUES (9999, 'from the future', 0, 1, x'00', 0)").await.expect("a row");
    SqliteCatalog::open(&path).await.expect("migrations only add");
}

#[tokio::test]
async fn no_statement_of_sqlite_scans_a_table() {
    let Subject { catalog: _open, raw: Raw::Sqlite(path, _folder), .. } = Subject::sqlite().await else { panic!() };
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("a file");
    for statement in [sql::LOOKUP, sql::LIST, sql::TOUCH, sql::TOTALS, sql::FORGET_RESTED] {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        for row in sqlx::query(explain).fetch_all(&mut db).await.expect("a plan") {
            let step: String = row.get("detail");
            assert!(step.starts_with("SEARCH"), "{step} in {statement}");
            if statement == sql::LIST {
                assert!(step.contains("((repository,path,query_key)>(?,?,?) AND (repository,path)<(?,?))"), "{step}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_reads_no_row_beyond_it() {
    let Subject { catalog: _open, raw: Raw::Postgres(service), .. } = Subject::postgres().await else { panic!() };
    let mut db = PgConnection::connect(&url(&service)).await.expect("a database");
    db.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan").await.expect("settings");
    let prepare = format!("PREPARE page (TEXT, TEXT, TEXT, TEXT, TEXT, BIGINT) AS {}", sql::LIST);
    db.execute(sqlx::AssertSqlSafe(prepare)).await.expect("a statement");
    let plan =
        sqlx::query("EXPLAIN EXECUTE page ('a', 'b', '', 'a', 'c', 1)").fetch_all(&mut db).await.expect("a plan");
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let condition =
        "Index Cond: ((ROW(repository, path, query_key) >= ROW($1, $2, $3)) AND (ROW(repository, path) < ROW($4, $5)))";
    assert!(plan.iter().any(|step| step.trim() == condition), "{plan:#?}");
    assert!(!plan.iter().any(|step| step.contains("Sort")), "{plan:#?}");
}
