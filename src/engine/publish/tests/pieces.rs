//! Pieces of lists that are lost, shared or of nothing any more.

use super::*;

#[tokio::test]
async fn lost_pieces_are_made_again() {
    let house = House::new().await;
    for number in 0..40 {
        let path = format!("el9/x86_64/p-{number}-1.noarch.rpm");
        let put = house.package("ours", &path, &format!("content {number}")).await;
        house.publish("ours", &[put]).await.expect("published");
        match number {
            // As a power loss leaves them.
            15 => house.pieces().iter().for_each(|piece| {
                let length = std::fs::metadata(piece).expect("there").len();
                let file = std::fs::File::create(piece).expect("opened");
                file.set_len(length).expect("as long as before");
            }),
            30 => house.pieces().iter().for_each(|piece| std::fs::remove_file(piece).expect("removed")),
            _ => {}
        }
    }
    house.pieces().iter().for_each(|piece| std::fs::remove_file(piece).expect("removed"));
    let text = house.listed("ours").await;
    assert!((0..40).all(|number| text.contains(&format!("content {number}<"))), "{text}");
}

#[tokio::test]
async fn equal_packages_of_two_roots_have_each_their_own_pieces() {
    let house = House::new().await;
    for name in ["ours", "twin"] {
        let put = house.package(name, PACKAGE, "the same").await;
        house.publish(name, &[put]).await.expect("published");
    }
    for name in ["ours", "twin"] {
        assert!(house.listed(name).await.contains(&format!("{name} the same")));
    }
}

#[tokio::test]
async fn pieces_of_no_index_go() {
    const BOUND: u64 = 16 * 4096;
    let house = House::new().await;
    let folder = house.folder.path().join("pieces");
    let chunks = Chunks::open(&folder, BOUND, Arc::clone(&house.catalog) as _).expect("a folder");
    let shape = Shape { lists: 3, compression: Compression::Gzip };
    let (mut listed, mut last) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let path = format!("el9/x86_64/p-{number}-1.noarch.rpm");
        let Change::Put { described, .. } = house.package("ours", &path, "a content").await else {
            panic!("no package")
        };
        listed.push(Listed::of(&described.entry));
        last = chunks.all(&root("ours"), &Sheet::of(listed.clone()), shape, Trust::Usual).await.expect("made");
    }
    let swept = async {
        while std::fs::read_dir(&folder).expect("read").count() > 16 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swept).await.expect("old pieces go");
    let is_there = |chunk: &Arc<chunks::Chunk>| {
        chunk.list(0).is_ok_and(|list| list.packed(&mut Vec::new(), &mut |_| Ok(())).is_ok())
    };
    assert!(last.iter().all(is_there), "what the last index has stays");
}

#[tokio::test]
async fn pieces_of_other_fragments_are_made_again() {
    let house = House::new().await;
    let put = house.package("ours", PACKAGE, "first").await;
    house.publish("ours", &[put]).await.expect("published");
    for piece in house.pieces() {
        // Whole and undamaged, and not what was published.
        let other = vec![b"<package>another</package>\n".to_vec(); 3];
        chunks::write_texts(&piece, &other, Compression::Gzip).expect("written");
    }
    let list = house.listed("ours").await;
    assert!(list.contains("ours first") && !list.contains("another"), "{list}");
}
