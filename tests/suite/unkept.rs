//! What came and could not be kept is named by nobody.

use std::path::PathBuf;

use crate::snapshots::{shows, snapshots};
use crate::support::bodies::sha256;
use crate::support::services::Backend::Laptop;
use crate::support::site::Setup;
use crate::support::testbed::{fixture, generation};

const FOLDER: &str = "rpm/el9/x86_64/repodata";

/// The name of the list of files in a generation, which holds its digest.
fn filelists(number: u32) -> String {
    let listed = std::fs::read_dir(generation(number).join(FOLDER)).expect("the fixtures");
    let mut names = listed.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.find(|name| name.ends_with("-filelists.xml.gz")).expect("a list of files")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_with_a_member_that_could_not_be_kept_is_not_shown() {
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).start().await;
    let entry = format!("{FOLDER}/repomd.xml");
    site.server.get(&entry).await.is(&fixture(1, &entry));
    let before = snapshots(&site.server, &entry, 1).await;
    let [old, new] = [1, 2].map(|number| format!("{FOLDER}/{}", filelists(number)));
    assert_ne!(old, new);

    // Where the folder of the new member would be there is a file, so that nothing can be written below it.
    let below = new.strip_prefix("rpm/").expect("its repository");
    let folder: PathBuf = site.server.plan.data().join("blobs/rpm").join(&sha256(below.as_bytes())[..16]);
    std::fs::write(&folder, "in the way").expect("written");
    site.switch_to(2);
    for _ in 0..3 {
        site.server.get(&entry).await.is(&fixture(1, &entry));
    }
    site.server.says(&["could not be kept"]).await;
    site.server.get(&old).await.is(&fixture(1, &old));
    // Whoever asks for the member is given it all the same.
    site.server.get(&new).await.is(&fixture(2, &new));
    assert_eq!(snapshots(&site.server, &entry, 1).await, before);

    std::fs::remove_file(&folder).expect("removed");
    shows(&site.server, &entry, 2).await;
    site.server.get(&new).await.is(&fixture(2, &new));
    snapshots(&site.server, &entry, 2).await;
}
