//! A PostgreSQL that is away, hangs, dies and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{artifact, postgres, target};
use crate::store::catalog::postgres::{CALL_TIMEOUT, PostgresCatalog, PostgresSettings};
use crate::store::catalog::{Catalog, CatalogErrorKind, Published};
use crate::store::circuit::RETRY_AFTER;
use crate::store::services::Service;

/// What a machine that is busy with other tests may add.
const SLACK: Duration = Duration::from_millis(800);

/// The call fails as unavailable, within this time.
async fn unavailable_within(limit: Duration, catalog: &PostgresCatalog) {
    let start = Instant::now();
    let error = catalog.lookup(&target("a")).await.expect_err("the database is away");
    assert_eq!(error.kind, CatalogErrorKind::Unavailable, "{error:?}");
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

/// The catalog answers again, without being made anew.
async fn recovers(catalog: &PostgresCatalog) {
    let start = Instant::now();
    while let Err(error) = catalog.lookup(&target("a")).await {
        assert_eq!(error.kind, CatalogErrorKind::Unavailable, "{error:?}");
        assert!(start.elapsed() < CALL_TIMEOUT + RETRY_AFTER + SLACK, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_is_made_while_the_database_is_away() {
    let mut service = Service::postgres();
    service.kill();
    let catalog = postgres(&service);
    unavailable_within(SLACK, &catalog).await;
    let error = catalog.migrate().await.expect_err("it is away");
    assert_eq!(error.kind, CatalogErrorKind::Unavailable, "{error:?}");
    service.restart();
    recovers(&catalog).await;
    catalog.publish(&artifact("a", b"1"), None).await.expect("a database brought up to date by its first call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_keeps_what_was_acknowledged() {
    let mut service = Service::postgres();
    let catalog = Arc::new(postgres(&service));
    catalog.migrate().await.expect("an empty database");
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let catalog = Arc::clone(&catalog);
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    let artifact = artifact(&format!("{publisher}/{n}"), b"x");
                    match catalog.publish(&artifact, None).await {
                        Ok(Published::Won(_)) => acknowledged.push(artifact.target),
                        Ok(other) => panic!("{other:?}"),
                        Err(error) => {
                            assert_eq!(error.kind, CatalogErrorKind::Unavailable, "{error:?}");
                            break;
                        }
                    }
                }
                acknowledged
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    service.kill();
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.expect("no panic"));
    }
    assert!(acknowledged.len() > 8, "there was work going on");
    unavailable_within(SLACK, &catalog).await;
    service.restart();
    recovers(&catalog).await;
    for target in &acknowledged {
        assert!(catalog.lookup(target).await.expect("an answer").is_some(), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_nobody_looked_is_not_noticed() {
    let mut service = Service::postgres();
    let catalog = postgres(&service);
    catalog.ping().await.expect("it is there");
    service.kill();
    service.restart();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    catalog.lookup(&target("a")).await.expect("a new connection instead of the dead one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_database_is_unavailable_in_time() {
    let service = Service::postgres();
    let catalog = Arc::new(postgres(&service));
    catalog.publish(&artifact("a", b"1"), None).await.expect("it is there");
    service.hang();
    // More callers than connections: those who wait for a connection do not wait longer than the others.
    let callers: Vec<_> = (0..40)
        .map(|_| {
            let catalog = Arc::clone(&catalog);
            tokio::spawn(async move { unavailable_within(CALL_TIMEOUT + SLACK, &catalog).await })
        })
        .collect();
    for caller in callers {
        caller.await.expect("unavailable in time");
    }
    unavailable_within(Duration::from_millis(100), &catalog).await;
    service.go_on();
    recovers(&catalog).await;
    assert!(catalog.lookup(&target("a")).await.expect("an answer").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_does_no_harm() {
    let service = Service::postgres();
    let catalog = postgres(&service);
    let record = artifact("a", b"1");
    catalog.publish(&record, None).await.expect("it is there");
    for n in 0..200 {
        // Cut short at some point between taking the connection and reading the answer.
        let _ = tokio::time::timeout(Duration::from_micros(n * 10), catalog.lookup(&target("b"))).await;
        assert!(catalog.lookup(&record.target).await.expect("an answer").is_some(), "not somebody else's answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_must_act_on_a_missing_database() {
    let service = Service::postgres();
    let settings = PostgresSettings {
        host: "127.0.0.1",
        port: service.port,
        user: "postgres",
        password: "swordfish",
        database: "absent",
        connections: 2,
    };
    let error = PostgresCatalog::connect(&settings).ping().await.expect_err("no such database");
    assert_eq!(error.kind, CatalogErrorKind::Refused, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("swordfish"));
}
