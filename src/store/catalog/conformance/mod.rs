//! The contract of [`Catalog`], [`Snapshots`] and [`Tokens`], as one suite that runs on SQLite and on a real PostgreSQL.

mod contents;
mod expiry;
mod faults;
mod fragments;
mod garbage;
mod generations;
mod listing;
mod opening;
mod packages;
mod publishing;
mod records;
mod scale;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{RepoPath, Sha256};
use sqlx::{Connection as _, PgConnection, SqliteConnection, query, query_scalar};
use tempfile::TempDir;

use super::fragments::Fragments;
use super::postgres::{DEFAULT_CONNECTIONS, PostgresCatalog, PostgresSettings};
use super::snapshots::Snapshots;
use super::sqlite::SqliteCatalog;
use super::tokens::Tokens;
use super::{Artifact, Catalog, Published, Revision, Validators};
use crate::store::key::Target;
use crate::store::services::Service;

/// Makes each test of the suite a test of SQLite and one of PostgreSQL.
macro_rules! suite {
    ($($module:ident: $($test:ident)*;)*) => {
        mod sqlite {
            $($(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$module::$test(super::Subject::sqlite().await).await;
            })*)*
        }
        mod postgres {
            $($(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$module::$test(super::Subject::postgres().await).await;
            })*)*
        }
    };
}

suite! {
    records: records_come_back_as_they_were touch_never_moves_backwards uses_add_up totals_follow
        a_query_may_be_longer_than_an_index_entry;
    publishing: only_the_first_publication_of_a_target_wins a_publication_replaces_what_it_says
        one_of_sixteen_wins_each_revision a_removed_record_leaves_no_trace_to_be_confused_with;
    listing: pages_come_in_byte_order prefixes_are_literal;
    garbage: replaced_and_removed_blobs_become_garbage a_taken_blob_cannot_be_named a_deleted_key_rests
        what_is_written_before_word_of_a_deletion_is_deleted_again
        a_blob_named_again_is_no_garbage a_taker_that_died_is_followed the_blob_of_a_lost_publication_is_garbage
        no_blob_is_both_taken_and_named;
    generations: a_snapshot_comes_back_as_it_was_published a_draft_is_invisible only_differences_are_written
        files_become_current_together a_snapshot_that_follows_another_is_lost two_publishers_lose_nothing
        an_abandoned_draft_goes_away snapshots_are_found_by_time_and_tag a_leaving_blob_keeps_a_snapshot_back;
    packages: packages_are_found_page_by_page a_path_is_named_in_its_generation of_many_generations_the_newest_are_told
        snapshots_are_compared newer_builds_of_what_is_held_are_found hostile_text_comes_back;
    contents: records_of_replaced_packages_are_past a_record_without_identity_is_told_by_its_path
        what_is_not_told_apart_stays;
    fragments: fragments_come_back_by_their_marks long_fragments_come_back_group_by_group
        fragments_that_no_package_has_are_swept
        a_record_that_was_kept_as_past_is_found_when_it_is_gone a_past_content_lasts_from_its_last_use
        what_is_retired_goes_with_the_publication_or_not_at_all many_are_retired_at_once;
    expiry: old_snapshots_expire what_is_tagged_stays what_is_purged_is_like_new
        staged_blobs_are_garbage_unless_published
        a_named_blob_is_never_taken the_coldest_go_first;
    scale: sixty_thousand_packages fragments_of_two_large_roots_are_swept;
    tokens: a_token_is_found_by_its_digest a_name_is_given_once a_revoked_token_is_gone tokens_are_listed_by_name
        use_is_noted_and_never_moves_backwards a_damaged_token_allows_nothing;
}

/// A catalog under test, and a way past it.
struct Subject {
    catalog: Arc<dyn Catalog>,
    snapshots: Arc<dyn Snapshots>,
    fragments: Arc<dyn Fragments>,
    tokens: Arc<dyn Tokens>,
    raw: Raw,
}

enum Raw {
    Sqlite(PathBuf, #[allow(dead_code, reason = "kept while the test runs")] TempDir),
    Postgres(Service),
}

impl Subject {
    async fn sqlite() -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("catalog.db");
        let catalog = Arc::new(SqliteCatalog::open(&path).await.expect("a catalog"));
        Self::over(catalog, Raw::Sqlite(path, folder))
    }

    async fn postgres() -> Self {
        let service = Service::postgres();
        let catalog = Arc::new(postgres(&service));
        catalog.migrate().await.expect("an empty database");
        Self::over(catalog, Raw::Postgres(service))
    }

    fn over<C: Catalog + Snapshots + Fragments + Tokens + 'static>(catalog: Arc<C>, raw: Raw) -> Self {
        let (snapshots, fragments, tokens) = (Arc::clone(&catalog), Arc::clone(&catalog), Arc::clone(&catalog));
        Self { catalog, snapshots, fragments, tokens, raw }
    }

    /// A number straight from the database.
    async fn number(&self, sql: &'static str) -> i64 {
        match &self.raw {
            Raw::Sqlite(path, _) => {
                let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("a file");
                query_scalar(sql).fetch_one(&mut db).await.expect("a number")
            }
            Raw::Postgres(service) => {
                let mut db = PgConnection::connect(&url(service)).await.expect("a database");
                query_scalar(sql).fetch_one(&mut db).await.expect("a number")
            }
        }
    }

    /// A statement straight to the database.
    async fn execute(&self, sql: &'static str) {
        match &self.raw {
            Raw::Sqlite(path, _) => {
                let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("a file");
                query(sql).execute(&mut db).await.expect("done");
            }
            Raw::Postgres(service) => {
                let mut db = PgConnection::connect(&url(service)).await.expect("a database");
                query(sql).execute(&mut db).await.expect("done");
            }
        }
    }

    /// Publishes over whatever is there.
    async fn put(&self, artifact: &Artifact) -> Revision {
        let current = self.catalog.lookup(&artifact.target).await.expect("a look-up");
        match self.catalog.publish(artifact, current.map(|current| current.revision)).await.expect("a publication") {
            Published::Won(revision) => revision,
            other => panic!("{other:?}"),
        }
    }
}

fn url(service: &Service) -> String {
    format!("postgres://postgres@127.0.0.1:{}/postgres", service.port)
}

/// A catalog in this PostgreSQL, not yet connected.
fn postgres(service: &Service) -> PostgresCatalog {
    PostgresCatalog::connect(&PostgresSettings {
        host: "127.0.0.1",
        port: service.port,
        user: "postgres",
        password: "",
        database: "postgres",
        connections: DEFAULT_CONNECTIONS,
    })
}

fn target(path: &str) -> Target {
    Target::new("alpine".parse().expect("a name"), RepoPath::new(path).expect("a path"))
}

/// A time that SQL knows too: seconds after the beginning of 2025.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600 + seconds)
}

/// The artifact of these bytes, stored at second 0.
fn artifact(path: &str, content: &[u8]) -> Artifact {
    let (target, sha256) = (target(path), Sha256::of(content));
    Artifact {
        blob: target.later_blob_key(&sha256),
        validators: Validators { etag: Some("\"x\"".to_owned()), last_modified: None },
        ..Artifact::unpublished(target, content.len() as u64, sha256, "application/octet-stream", at(0))
    }
}
