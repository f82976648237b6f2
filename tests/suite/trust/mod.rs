//! With keys configured, an index that none of them signed is never shown, and its root is named until one is.

mod cold;
mod named;

use serde_json::json;

use crate::support::made;
use crate::support::metrics::metric;
use crate::support::process::Signal;
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::signing::ApkKey;
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, keys};
use crate::support::until;
use crate::support::upstream::fault::Fault;

const RPM: &str = "rpm/plain-names/repodata/repomd.xml";
const APK: &str = "alpine/v3.22/main/x86_64/APKINDEX.tar.gz";

/// The public key of that label: the only file whose name holds it and ends so.
pub(crate) fn key(label: &str, end: &str) -> String {
    let files = std::fs::read_dir(keys()).expect("keys").map(|entry| entry.expect("an entry").path());
    let mut found = files.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.contains(label) && name.ends_with(end)
    });
    let path = found.next().unwrap_or_else(|| panic!("no key {label} {end}"));
    path.display().to_string()
}

fn remote(setup: &Setup, name: &str, format: &str, key: &str) -> Remote {
    Remote::new(name, format, setup.upstream.url(&format!("/@{name}/{format}")))
        .set("trusted_keys", json!([key]))
        .set("cache.index_ttl", 0)
        .set("cache.negative_ttl", 0)
}

/// Has upstream show an index of a generation with a signature that nobody trusted made.
async fn spoil_the_signature(site: &Site, format: &str, index: &str, number: u32) {
    if format == "rpm" {
        site.upstream.spoil(&format!("/@it/{index}.asc"), Fault::Corrupt(200));
    } else {
        let (key, right) = (ApkKey::impostor(&site.run), fixture(number, index));
        let wrong = made::sign(&key, made::unsigned(&right), None).await;
        site.upstream.put(&format!("/{index}"), wrong);
    }
}

/// The same with the right signature.
fn mend_the_signature(site: &Site, index: &str, number: u32) {
    site.upstream.heal();
    site.upstream.put(&format!("/{index}"), fixture(number, index));
}

async fn only_what_is_signed(format: &str, index: &str, signature: &str, [trusted, other]: [String; 2]) {
    let setup = Setup::new(Laptop).await;
    let (good, bad) = (remote(&setup, "good", format, &trusted), remote(&setup, "bad", format, &other));
    let site = setup.remote(good).remote(bad).start().await;
    let of = |name: &str| index.replacen(format, name, 1);

    // Nobody that is trusted signed it: not even the first time, when there is nothing else to serve.
    let problem = site.server.get(&of("bad")).await.problem(502);
    assert!(problem.detail.contains("not trusted"), "{problem:?}");
    site.server.get(&of("good")).await.is(&fixture(1, index));
    site.server.get(&signature.replacen(format, "good", 1)).await.is(&fixture(1, signature));

    // The next one is signed, but its signature does not come through whole: the one before stays.
    site.switch_to(2);
    let spoiled = format!("/@good/{signature}");
    site.upstream.spoil(&spoiled, Fault::Corrupt(if format == "rpm" { 200 } else { 60 }));
    for _ in 0..2 {
        site.server.get(&of("good")).await.is(&fixture(1, index));
    }
    assert!(metric(&site.server, "indexes_untrusted_total").await > 0);
    site.upstream.heal();
    until("the next index", || async { (site.server.get(&of("good")).await.body == fixture(2, index)).then_some(()) })
        .await;
    site.server.get(&signature.replacen(format, "good", 1)).await.is(&fixture(2, signature));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpm_index_that_no_trusted_key_signed_is_not_shown() {
    let keys = [key("KEY-fixtures", "fixtures"), key("KEY-untrusted", "untrusted")];
    only_what_is_signed("rpm", RPM, &format!("{RPM}.asc"), keys).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apk_index_that_no_trusted_key_signed_is_not_shown() {
    let keys = [key("fixtures", ".rsa.pub"), key("untrusted", ".rsa.pub")];
    only_what_is_signed("alpine", APK, APK, keys).await;
}

/// Whose signatures count follows the key's file: by itself, and at a signal. What is held stays, and a file that is no key
/// changes nothing.
async fn a_key_file_is_read_again(format: &str, index: &str, [trusted, other]: [String; 2]) {
    let setup = Setup::new(Laptop).await;
    // apk knows keys by their names.
    let file = setup.run.folder("keys").join(std::path::Path::new(&trusted).file_name().expect("a name"));
    let becomes = |content: &[u8]| {
        let new = file.with_extension("new");
        std::fs::write(&new, content).expect("a key");
        std::fs::rename(new, &file).expect("in its place");
    };
    let [trusted, other] = [trusted, other].map(|key| std::fs::read(key).expect("a key"));
    becomes(&other);
    let remote = remote(&setup, "it", format, &file.display().to_string());
    let site = setup.remote(remote).start().await;
    let path = index.replacen(format, "it", 1);
    let problem = site.server.get(&path).await.problem(502);
    assert!(problem.detail.contains("not trusted"), "{problem:?}");

    becomes(&trusted);
    site.server.says(&["configuration in force", "\"generation\":2"]).await;
    site.server.get(&path).await.is(&fixture(1, index));

    becomes(&other);
    site.server.signal(Signal::HUP);
    site.server.says(&["configuration in force", "\"generation\":3"]).await;
    site.switch_to(2);
    let before = metric(&site.server, "indexes_untrusted_total").await;
    until("the next index to be refused", || async {
        site.server.get(&path).await.is(&fixture(1, index));
        (metric(&site.server, "indexes_untrusted_total").await > before).then_some(())
    })
    .await;

    becomes(b"no key");
    site.server.says(&["the old one stays in force", "trusted_keys[0]"]).await;
    site.server.get(&path).await.is(&fixture(1, index));

    becomes(&trusted);
    site.server.says(&["configuration in force", "\"generation\":4"]).await;
    until("the next index", || async { (site.server.get(&path).await.body == fixture(2, index)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openpgp_key_file_is_read_again() {
    a_key_file_is_read_again("rpm", RPM, [key("KEY-fixtures", "fixtures"), key("KEY-untrusted", "untrusted")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apk_key_file_is_read_again() {
    a_key_file_is_read_again("alpine", APK, [key("fixtures", ".rsa.pub"), key("untrusted", ".rsa.pub")]).await;
}
