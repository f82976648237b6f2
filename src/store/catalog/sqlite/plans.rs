//! What the statements about snapshots read.

use sqlx::{Connection as _, Row as _, SqliteConnection};
use tempfile::TempDir;

use super::SqliteCatalog;
use super::expire::LOOKING;
use super::fragments::SWEEP;
use super::snapshots::FILE_IS;
use super::switch::{CONTRADICTED, EARLIER_DRAFTS, END_PACKAGES, KEEP_AS_PAST, RETIRE};
use crate::store::catalog::fragment_sql::{NAMING, PAST};
use crate::store::catalog::snapshot_sql::{self as sql, named, search};
use crate::store::catalog::snapshots::{Generation, PackageQuery, SnapshotId};

/// Each step of a statement that reads a table without an index; what a statement makes itself has no index.
async fn scans(db: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let steps = steps(db, statement).await;
    let own = ["SCAN pair", "SCAN changed", "SCAN page", "SCAN held", "SCAN moved", "SCAN CONSTANT"];
    let is_scan = |step: &&str| step.starts_with("SCAN") && !own.iter().any(|own| step.starts_with(own));
    steps.lines().filter(is_scan).map(str::to_owned).collect()
}

async fn steps(db: &mut SqliteConnection, statement: &str) -> String {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let steps = sqlx::query(explain).fetch_all(db).await.expect("a plan");
    steps.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
}

#[tokio::test]
async fn statements_follow_the_right_index() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("catalog.db");
    let _open = SqliteCatalog::open(&path).await.expect("a catalog");
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("a file");
    let repository = "alpine".parse().expect("a name");
    let by_name = PackageQuery { name: Some("a".into()), limit: 10, ..PackageQuery::default() };
    let (by_name, _) = search(&repository, &by_name, FILE_IS).expect("a statement");
    let by_file = PackageQuery { file: Some("a".into()), limit: 10, ..PackageQuery::default() };
    let (by_file, _) = search(&repository, &by_file, FILE_IS).expect("a statement");
    let of = named(Generation::Of(SnapshotId(1)));
    let current = named(Generation::Current);
    let any = named(Generation::Any);
    let all = [
        sql::CURRENT,
        sql::BY_ID,
        sql::PUBLISHED_UNTIL,
        sql::TAGGED,
        sql::WITH_ENTRY,
        sql::SNAPSHOTS,
        sql::ROOTS,
        sql::MARKS,
        current,
        of,
        any,
        sql::RENEWALS,
        sql::ADDED,
        sql::DIFF,
        sql::CONTENT,
        sql::GIVE_UP,
        sql::EMPTY_DRAFT,
        sql::DELETE_GONE,
        sql::DELETE_DRAFT,
        sql::UNTAG,
        CONTRADICTED,
        KEEP_AS_PAST,
        END_PACKAGES,
        EARLIER_DRAFTS,
        NAMING,
        PAST[0],
        PAST[1],
        RETIRE,
        &*by_name,
        &*by_file,
    ];
    for statement in all.into_iter().chain(LOOKING) {
        assert_eq!(scans(&mut db, statement).await, [""; 0], "{statement}");
    }
    // Once for all fragments, and not once for each.
    let sweep = steps(&mut db, SWEEP).await;
    assert!(!sweep.contains("CORRELATED"), "{sweep}");
    assert!(sweep.contains("SEARCH p USING INDEX package_"), "{sweep}");
    // Of the rows that are in question, and of no others.
    for (statement, step) in [
        (sql::MARKS, "SEARCH p USING INDEX package_last (root=? AND last=?)"),
        (current, "SEARCH p USING INDEX package_path (repository=? AND path=?)"),
        (of, "SEARCH p USING INDEX package_path (repository=? AND path=?)"),
        (any, "SEARCH p USING INDEX package_path (repository=? AND path=?)"),
        (sql::RENEWALS, "SEARCH p USING INDEX package_first (root=? AND first=? AND rowid>?)"),
        (sql::ADDED, "SEARCH p USING INDEX package_first (root=? AND first=? AND rowid>?)"),
        (sql::RENEWALS, "SEARCH o EXISTS USING INDEX package_name (repository=? AND name=?)"),
        (sql::DIFF, "SEARCH p USING INDEX package_last (root=? AND last>? AND last<?)"),
        (sql::DIFF, "SEARCH p USING INDEX package_first (root=? AND first>? AND first<?)"),
        (sql::DIFF, "SEARCH o USING INDEX package_path (repository=? AND path=?)"),
        (CONTRADICTED, "SEARCH p USING INDEX package_first (root=? AND first=?)"),
        (CONTRADICTED, "SEARCH o USING INDEX package_path (repository=? AND path=?)"),
        (END_PACKAGES, "SEARCH package USING INTEGER PRIMARY KEY (rowid=?)"),
        (LOOKING[2], "SEARCH p USING INDEX package_last (root=? AND last>?)"),
        (LOOKING[3], "SEARCH q USING INDEX past_package_superseded_at (repository=? AND superseded_at<?)"),
        (&*by_name, "SEARCH p USING INDEX package_name (repository=? AND name=?)"),
        (&*by_file, "SEARCH p USING INDEX package_repository (repository=?)"),
    ] {
        let steps = steps(&mut db, statement).await;
        assert!(steps.contains(step), "{step} is not in\n{steps}of {statement}");
        assert!(!steps.contains("TEMP B-TREE FOR ORDER BY") || statement == sql::DIFF, "{steps}of {statement}");
    }
}
