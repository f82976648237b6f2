//! Lists that were promised: written when their index rests, and replaced when they cannot be.

use super::*;

/// The lists of the current index.
async fn lists(house: &House, name: &str) -> (SnapshotId, Vec<Artifact>) {
    let snapshot = house.catalog.current(&root(name)).await.expect("asked").expect("a snapshot");
    let is_list = |file: &&Artifact| file.target.path.as_str().ends_with(".xml.gz");
    (snapshot.id, snapshot.files.iter().filter(is_list).cloned().collect())
}

/// Has every package contribute something else to its index, and nothing lie ready.
async fn write_differently_from_now_on(house: &House) {
    let database = format!("sqlite://{}", house.folder.path().join("catalog.sqlite").display());
    let mut database = sqlx::SqliteConnection::connect(&database).await.expect("a database");
    let fragments = chunks::packed(&vec![b"<package>differently</package>\n".to_vec(); 3]).expect("packed");
    sqlx::query("UPDATE fragment SET body = $1").bind(fragments).execute(&mut database).await.expect("changed");
    house.pieces().iter().for_each(|piece| std::fs::remove_file(piece).expect("removed"));
}

async fn ask(house: &House, name: &str, list: &Artifact) -> Result<(), PublishError> {
    let repository = house.repository(name);
    let mutability = repository.format.mutability(&list.target.path);
    let found = house.publisher.file_of_a_snapshot(&repository, &list.target, Role::IndexMember, &mutability).await;
    found.map(|found| assert!(matches!(found, Some(Found::Held(_))), "it is written"))
}

async fn are_written(house: &House, lists: &[Artifact]) -> usize {
    let mut written = 0;
    for list in lists {
        written += usize::from(house.blobs.about(&list.blob).await.expect("asked").is_some());
    }
    written
}

#[tokio::test]
async fn an_index_whose_promise_cannot_be_kept_is_published_anew() {
    for name in ["ours", "all"] {
        let house = House::new().await;
        for path in [PACKAGE, "el9/x86_64/q-1-1.noarch.rpm"] {
            let put = house.package("ours", path, path).await;
            house.publish("ours", &[put]).await.expect("published");
        }
        house.publisher.merge(&house.repository("all"), &root("all")).await.expect("merged");
        let (before, promised) = lists(&house, name).await;
        assert_eq!((promised.len(), are_written(&house, &promised).await), (3, 0));
        write_differently_from_now_on(&house).await;

        // Two who ask for two lists at once have it published once or twice, and both are told.
        let (first, second) = tokio::join!(ask(&house, name, &promised[0]), ask(&house, name, &promised[1]));
        for (told, list) in [(first, &promised[0]), (second, &promised[1])] {
            assert!(matches!(&told, Err(PublishError::Superseded(of)) if *of == list.target), "{told:?}");
        }
        let (after, renewed) = lists(&house, name).await;
        assert!(after > before && renewed.len() == 3);
        assert!(renewed.iter().all(|list| !promised.iter().any(|old| old.target == list.target)));
        for list in &renewed {
            ask(&house, name, list).await.expect("a promise that is kept");
        }
        assert_eq!(house.listed(name).await.matches("differently").count(), 2);
        let packages = house.catalog.current(&root(name)).await.expect("asked").expect("a snapshot").packages;
        assert_eq!(packages, 2);

        // Nothing more is published for those who have the old index.
        for list in &promised {
            assert!(matches!(ask(&house, name, list).await, Err(PublishError::Superseded(_))));
        }
        assert_eq!(lists(&house, name).await.0, after, "{name}");
        if let (repository, Kind::Virtual(all)) = (house.repository("all"), &house.repository("all").kind) {
            let standing = house.publisher.standing(&repository, all, &root("all")).await.expect("asked");
            assert_eq!(standing == Standing::Current, name == "all", "it is still merged of the same");
        }
    }
}

async fn wait_until_written(house: &House, lists: &[Artifact]) {
    let all_written = async {
        while are_written(house, lists).await < lists.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_written).await.expect("they are written");
}

#[tokio::test]
async fn a_list_is_written_though_whoever_asked_gave_up() {
    let house = House::new().await;
    let put = house.package("ours", PACKAGE, "first").await;
    house.publish("ours", &[put]).await.expect("published");
    let (_, promised) = lists(&house, "ours").await;
    let others = house.publisher.writing_lists.acquire().await.expect("a turn");
    let root = root("ours");
    let its_turn = async {
        while house.publisher.lists_of.of(&root).try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        asked = ask(&house, "ours", &promised[0]) => panic!("{asked:?} while others have their turn"),
        () = its_turn => {}
    }
    drop(others);
    wait_until_written(&house, &promised[..1]).await;
}

#[tokio::test]
async fn the_lists_of_an_index_that_rests_are_written() {
    let house = House::new().await;
    let put = house.package("ours", PACKAGE, "first").await;
    house.publish("ours", &[put]).await.expect("published");
    let (_, promised) = lists(&house, "ours").await;
    assert_eq!((promised.len(), are_written(&house, &promised).await), (3, 0));
    assert!(house.publisher.resting.awaits(&root("ours")));
    let writing = tokio::spawn(Arc::clone(&house.publisher).write_rested());
    house.publisher.resting.at_once(&root("ours"));
    wait_until_written(&house, &promised).await;
    // Another index replaces them, and is waited for again.
    let put = house.package("ours", PACKAGE, "second").await;
    house.publish("ours", &[put]).await.expect("published");
    assert!(house.publisher.resting.awaits(&root("ours")));
    assert_eq!(are_written(&house, &lists(&house, "ours").await.1).await, 0);
    writing.abort();
}

#[tokio::test]
async fn a_list_is_promised_again_while_the_one_of_before_is_being_deleted() {
    let house = House::new().await;
    let put = house.package("ours", PACKAGE, "first").await;
    house.publish("ours", &[put]).await.expect("published");
    let (_, before) = lists(&house, "ours").await;
    let other = "el9/x86_64/q-1-1.noarch.rpm";
    let put = house.package("ours", other, "second").await;
    house.publish("ours", &[put]).await.expect("published");
    // The first index goes, and with it what was promised.
    let later = now() + Duration::from_secs(3_600);
    house.catalog.expire(&root("ours").repository, later, now()).await.expect("expired");
    let taken = house.catalog.take_garbage(later, 100).await.expect("taken");
    assert!(before.iter().all(|list| taken.contains(&list.blob)), "{taken:?}");

    house.publish("ours", &[remove(other)]).await.expect("published under another key");
    let (_, again) = lists(&house, "ours").await;
    for (list, before) in again.iter().zip(&before) {
        assert!(list.target == before.target && list.blob != before.blob);
        ask(&house, "ours", list).await.expect("a promise that is kept");
    }
}
