//! Conditions and quotas, where changes meet each other.

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
