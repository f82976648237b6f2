//! Bytes that the store has lost, or damaged, and that come again.

use super::*;

impl House {
    /// The record of a path, if the store has its bytes.
    async fn has(&self, target: &Target) -> bool {
        let record = self.catalog.lookup(target).await.expect("asked").expect("a record");
        let about = self.blobs.about(&record.blob).await;
        about.is_ok_and(|about| about.is_some_and(|about| about.sha256 == record.sha256))
    }
}

#[tokio::test]
async fn what_was_lost_is_written_when_it_comes_again() {
    let house = House::new().await;
    house.put("small", "README", "one", Condition::default()).await.expect("put");
    let put = house.package("ours", PACKAGE, "first").await;
    house.publish("ours", &[put]).await.expect("published");
    for is_damaged in [false, true] {
        for target in [target("small", "README"), target("ours", PACKAGE)] {
            let record = house.catalog.lookup(&target).await.expect("asked").expect("a record");
            match is_damaged {
                true => {
                    std::fs::write(house.folder.path().join("blobs").join(record.blob.as_str()), "o").expect("written")
                }
                false => house.blobs.delete(&[record.blob]).await.expect("deleted"),
            }
            assert!(!house.has(&target).await);
        }
        let outcome = house.put("small", "README", "one", Condition::default()).await.expect("put");
        let again = house.package("ours", PACKAGE, "first").await;
        let outcomes = house.publish("ours", &[again]).await.expect("published");
        assert_eq!((outcome, &*outcomes), (Outcome::Unchanged, &[Outcome::Unchanged][..]));
        for target in [target("small", "README"), target("ours", PACKAGE)] {
            assert!(house.has(&target).await, "{target}, damaged: {is_damaged}");
        }
    }
}
