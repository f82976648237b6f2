//! Conditions and quotas, where changes meet each other.

use tokio::sync::Semaphore;

use super::*;

fn nothing_there() -> Condition {
    Condition::that(|current| current.is_none())
}

#[tokio::test]
async fn a_condition_is_about_what_those_before_it_leave() {
    let house = Arc::new(House::new().await);
    let desk = root("ours");
    let lease_on = Target::with_query(desk.repository.clone(), desk.path.clone(), "publish");
    let Entered::Lead(lease) = house.coordinator.enter(&lease_on, LEASE_PATIENCE).await else {
        panic!("somebody leads")
    };
    let first = house.package("ours", PACKAGE, "first").await;
    let second = house.package("ours", PACKAGE, "second").await;
    let third = house.package("ours", PACKAGE, "third").await;
    let is_first = Condition::that(|current| current.is_some_and(|current| current.sha256 == Sha256::of(b"first")));
    let asked = [
        (first, nothing_there()),
        (second, nothing_there()),
        (third, is_first.clone()),
        (remove(PACKAGE), is_first),
        (remove(COMPS), Condition::that(|current| current.is_some())),
    ];
    let mut answers = Vec::new();
    for (change, condition) in asked {
        let (asking, desk) = (Arc::clone(&house), desk.clone());
        answers.push(tokio::spawn(async move {
            asking.publisher.submit(&asking.repository("ours"), desk, None, change, condition).await
        }));
        while house.publisher.waiting.lock().get(&root("ours")).map_or(0, Vec::len) < answers.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    drop(lease);
    let mut became = Vec::new();
    for answer in answers {
        became.push(match answer.await.expect("done") {
            Ok(done) => Some(done.outcome),
            Err(PublishError::Precondition) => None,
            Err(error) => panic!("{error}"),
        });
    }
    assert_eq!(became, [Some(Outcome::Created), None, Some(Outcome::Replaced), None, None]);
    assert_eq!(house.content(PACKAGE).await, Some(Sha256::of(b"third")));
}

#[tokio::test]
async fn a_condition_is_about_what_another_replica_left_that_was_first() {
    let house = Arc::new(House::new().await);
    let (ours, here, other) = (house.repository("ours"), root("ours"), house.another());
    let local = local_of(&ours).expect("a local repository");
    let beside = house.package("ours", "el9/x86_64/a-1-1.noarch.rpm", "beside").await;
    // Not by the one that is asked, which has no piece of it ready: where it makes one, it is held up.
    other.publish(&ours, local, &here, &[beside]).await.expect("published");
    let is = |content: &'static str| {
        Condition::that(move |current| current.is_some_and(|current| current.sha256 == Sha256::of(content.as_bytes())))
    };
    let put = async |content| house.package("ours", PACKAGE, content).await;
    let elsewhere = house.package("ours", "el9/x86_64/z-1-1.noarch.rpm", "elsewhere").await;
    // What is asked, and on which condition; what another replica publishes meanwhile; what becomes of it, and what is there.
    let table = [
        (put("mine").await, nothing_there(), put("first").await, None, "first"),
        (put("mine again").await, is("first"), put("second").await, None, "second"),
        (remove(PACKAGE), is("second"), put("third").await, None, "third"),
        (put("fourth").await, is("third"), elsewhere, Some(Outcome::Replaced), "fourth"),
    ];
    for (change, condition, first, becomes, there) in table {
        let gate = Arc::new(Gate { reached: Semaphore::new(0), open: Semaphore::new(0) });
        *house.faulty.gate.lock() = Some(Arc::clone(&gate));
        let asking = tokio::spawn({
            let (house, ours, here) = (Arc::clone(&house), Arc::clone(&ours), here.clone());
            async move { house.publisher.submit(&ours, here.clone(), Some(here), change, condition).await }
        });
        gate.reached.acquire().await.expect("open").forget();
        let won = other.publish(&ours, local, &here, &[first]).await.expect("published");
        assert!(matches!(won[0].outcome, Outcome::Created | Outcome::Replaced), "{there}: {won:?}");
        gate.open.add_permits(1);
        let became = match asking.await.expect("done") {
            Ok(done) => Some(done.outcome),
            Err(PublishError::Precondition) => None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(became, becomes, "{there}");
        assert_eq!(house.content(PACKAGE).await, Some(Sha256::of(there.as_bytes())));
    }
}

#[tokio::test]
async fn a_condition_goes_with_a_package_from_one_index_of_a_folder_to_the_other() {
    let house = House::new().await;
    let [v2, v3] = ["x86_64/APKINDEX.tar.gz", "x86_64/Packages.adb"].map(|entry| target("apks", entry));
    let apks = house.repository("apks");
    let is = |content: &'static str| {
        Condition::that(move |current| current.is_some_and(|current| current.sha256 == Sha256::of(content.as_bytes())))
    };
    let table = [
        (&v2, "first", nothing_there(), Some(Outcome::Created), "first"),
        (&v3, "second", nothing_there(), None, "first"),
        (&v3, "second", is("other"), None, "first"),
        (&v3, "second", is("first"), Some(Outcome::Replaced), "second"),
        (&v2, "third", is("second"), Some(Outcome::Replaced), "third"),
    ];
    for (root, content, condition, becomes, there) in table {
        let change = house.apk(root, content).await;
        let done = house.publisher.submit(&apks, v2.clone(), Some(root.clone()), change, condition).await;
        let became = match done {
            Ok(done) => Some(done.outcome),
            Err(PublishError::Precondition) => None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(became, becomes, "{content} after {there}");
        let record = house.catalog.lookup(&target("apks", APK)).await.expect("asked").expect("a record");
        assert_eq!(record.sha256, Sha256::of(there.as_bytes()));
    }
}

#[tokio::test]
async fn files_keep_their_conditions_too() {
    let house = House::new().await;
    assert_eq!(house.put("small", "x", "one", nothing_there()).await.expect("put"), Outcome::Created);
    for content in ["one", "two"] {
        let put = house.put("small", "x", content, nothing_there()).await;
        assert!(matches!(put, Err(PublishError::Precondition)), "{put:?}");
    }
    let (repository, target) = (house.repository("small"), target("small", "x"));
    let removed = house.publisher.remove(&repository, &target, nothing_there()).await;
    assert!(matches!(removed, Err(PublishError::Precondition)), "{removed:?}");
}

#[tokio::test]
async fn uploads_see_each_other_within_a_quota() {
    let house = House::new().await;
    let small = house.repository("small");
    let terms = async |path: &str, declared| {
        house.publisher.terms(&small, &target("small", path), declared, Condition::default()).await
    };
    let is_full = |result: Result<(), PublishError>| matches!(result, Err(PublishError::Quota { limit_bytes: 10, .. }));

    let mut first = terms("a", Some(10)).await.expect("room");
    let mut second = terms("b", Some(10)).await.expect("nothing has come yet");
    assert!(terms("b", Some(11)).await.is_err_and(|error| is_full(Err(error))));
    first.take(6).expect("room");
    second.take(4).expect("room");
    assert!(is_full(second.take(1)) && is_full(first.take(1)));
    assert!(terms("c", Some(1)).await.is_err(), "before a byte of it is read");

    // What is given up is free again; what is published stays counted, for whoever began before.
    drop(second);
    let mut third = terms("c", None).await.expect("room");
    let spooled = house.spooled("sixsix").await;
    house.publisher.put(&small, &target("small", "a"), &spooled, first).await.expect("put");
    third.take(4).expect("room");
    assert!(is_full(third.take(1)));
    drop(third);
    assert!(house.publisher.terms(&small, &target("small", "d"), Some(4), Condition::default()).await.is_ok());

    // Only what grows needs room.
    assert_eq!(house.put("small", "b", "four", Condition::default()).await.expect("put"), Outcome::Created);
    assert_eq!(house.put("small", "a", "sixsix", Condition::default()).await.expect("put"), Outcome::Unchanged);
    assert_eq!(house.put("small", "a", "no six", Condition::default()).await.expect("put"), Outcome::Replaced);
    assert!(house.put("small", "a", "seven..", Condition::default()).await.is_err_and(|error| is_full(Err(error))));
    assert_eq!(house.put("small", "a", "five.", Condition::default()).await.expect("put"), Outcome::Replaced);
    assert!(house.publisher.underway.is_at_rest());
}
