//! Packages that an index of another depth of roots lists, or none does.

use super::*;

/// The root of the whole repository.
fn above() -> Target {
    target("ours", "repodata/repomd.xml")
}

impl House {
    /// Uploads a package when the configuration says that the index is this one.
    async fn put_package(&self, root: &Target, content: &str) -> Result<Outcome, PublishError> {
        let put = self.package("ours", PACKAGE, content).await;
        if let Change::Put { described, .. } = &put {
            let packed =
                chunks::packed(&vec![format!("<package>{content}</package>\n").into_bytes(); 3]).expect("packed");
            let fragment = (PackageMark::of(&described.entry), packed);
            self.catalog.put_fragments(root, &[fragment], now()).await.expect("kept");
        }
        let (desk, root) = (root.clone(), Some(root.clone()));
        let done = self.publisher.submit(&self.repository("ours"), desk, root, put, Condition::default()).await;
        done.map(|done| done.outcome)
    }

    async fn listing(&self) -> Vec<Target> {
        let path = RepoPath::new(PACKAGE).expect("a path");
        let named = self.catalog.named(&root("ours").repository, &path, Generation::Current).await.expect("asked");
        named.into_iter().map(|named| named.root).collect()
    }
}

#[tokio::test]
async fn what_an_index_of_another_depth_lists_is_not_overwritten() {
    let house = House::new().await;
    house.repositories.replace(configured_with(house.folder.path(), 0, false));
    assert_eq!(house.put_package(&above(), "first").await.expect("put"), Outcome::Created);
    house.repositories.replace(configured_with(house.folder.path(), 2, false));
    assert_eq!(house.put_package(&root("ours"), "second").await.expect("put"), Outcome::Conflict);
    assert_eq!(house.content(PACKAGE).await, Some(Sha256::of(b"first")));
    assert_eq!(house.listing().await, [above()]);

    // Two that say the same contradict nobody.
    assert_eq!(house.put_package(&root("ours"), "first").await.expect("put"), Outcome::Created);
    assert_eq!(house.listing().await.len(), 2);

    house.repositories.replace(configured_with(house.folder.path(), 2, true));
    assert_eq!(house.put_package(&root("ours"), "second").await.expect("put"), Outcome::Replaced);
    assert_eq!(house.content(PACKAGE).await, Some(Sha256::of(b"second")));
    assert_eq!(house.listing().await, [root("ours")], "who would contradict it lets it go");
}

#[tokio::test]
async fn what_is_taken_is_refused_before_it_is_written() {
    let house = House::new().await;
    house.put_package(&above(), "first").await.expect("put");
    house.carry("a").await.expect("carried");
    house.repositories.replace(configured(house.folder.path(), false));
    assert_eq!(house.carry("b").await.expect("asked"), Outcome::Conflict);
    let refused = target("ours", COMPS).later_blob_key(&Sha256::of(groups("b").as_bytes()));
    assert!(house.blobs.about(&refused).await.expect("asked").is_none());
    assert_eq!(house.carry("a").await.expect("asked"), Outcome::Unchanged);
}

#[tokio::test]
async fn what_no_index_lists_can_be_removed() {
    let house = House::new().await;
    house.put_package(&root("ours"), "listed").await.expect("put");
    for path in ["el9/x86_64/q-1-1.noarch.rpm", COMPS] {
        let Change::Put { record, .. } = house.package("ours", path, "unlisted").await else { panic!("no package") };
        house.catalog.publish(&record, None).await.expect("published");
        let no = Condition::that(|_| false);
        let refused = house.publisher.remove(&house.repository("ours"), &target("ours", path), no).await;
        assert!(matches!(refused, Err(PublishError::Precondition)), "{refused:?}");
        assert_eq!(house.remove("ours", path).await.expect("removed"), Outcome::Removed, "{path}");
        assert_eq!(house.content(path).await, None);
        assert_eq!(house.remove("ours", path).await.expect("asked"), Outcome::Absent);
    }
    assert_eq!(house.content(PACKAGE).await, Some(Sha256::of(b"listed")));
}
