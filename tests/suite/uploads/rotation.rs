//! One signing key takes over from another without a client noticing (docs/operations.md): first the old one signs, then both, then
//! the new one alone. Who trusts the old one installs until the end of the second step, who trusts the new one from its beginning on.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::put;
use crate::support::clients::{Apk, Dnf, Zypper};
use crate::support::http::Reply;
use crate::support::keys;
use crate::support::process::{clean, run};
use crate::support::remotes::{Remote, yaml};
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, generation, tool};

/// Its secret and its public half.
type Pair = (PathBuf, PathBuf);

/// Has these keys sign from now on, and these be served that signed before.
async fn rotate(site: &Site, own: &Remote, step: u32, signing: &[&Pair], retired: &[&Pair]) {
    let signing: Vec<_> = signing.iter().map(|(secret, _)| secret).collect();
    let retired: Vec<_> = retired.iter().map(|(_, public)| public).collect();
    let own = own.clone().set("signing_keys", json!(signing)).set("retired_keys", json!(retired));
    site.server.plan.configure(&yaml(&[own]));
    site.server.says(&["configuration in force", &format!("\"generation\":{step}")]).await;
}

/// What a key is served as at the top of the repository.
async fn served(site: &Site, (_, public): &Pair) -> Reply {
    site.server.get(&format!("own/{}", public.file_name().expect("a name").to_string_lossy())).await
}

/// Both public halves are served as they are.
async fn both_are_served(site: &Site, old: &Pair, new: &Pair) {
    for pair in [old, new] {
        served(site, pair).await.is(&std::fs::read(&pair.1).expect("a key"));
    }
}

const RPMS: &str = "own/el9/x86_64/Packages";

/// Publishes the index anew, by one more package.
async fn publish_rpm(site: &Site, name: &str) {
    put(&site.server, &format!("{RPMS}/{name}"), &fixture(1, &format!("rpm/el9/x86_64/Packages/{name}")))
        .await
        .has(201);
}

/// How many signatures `repomd.xml.asc` is made of, by what gpg makes of it.
async fn signatures_of_rpm(site: &Site) -> usize {
    let asc = site.run.path("asc");
    std::fs::write(&asc, site.server.get("own/el9/x86_64/repodata/repomd.xml.asc").await.has(200).body.clone())
        .expect("written");
    let mut command = clean(tool("GPG"));
    command.arg("--homedir").arg(site.run.folder("gpg")).args(["--batch", "--list-packets"]).arg(asc);
    run(command).await.succeeded().matches(":signature packet:").count()
}

/// Whether a dnf that trusts this key alone for the index installs.
async fn dnf_installs(site: &Site, name: &str, key: &Path) -> bool {
    let url = format!("http://{}/api/own/el9/x86_64", site.server.address());
    let dnf = Dnf::trusting(&site.run, name, &url, key);
    let done = dnf.run(&["install", "big"]).await;
    if !done.status.success() {
        assert!(done.output.contains("repomd.xml"), "refused for another reason: {}", done.output);
        return false;
    }
    dnf.installed("big").await == "big-1.0-1.el9.x86_64"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_rpm_takes_over() {
    let setup = Setup::new(Laptop).await;
    let old = keys::rpm_of(&setup, "old", "Old <old@example.org>").await;
    let new = keys::rpm_of(&setup, "new", "New <new@example.org>").await;
    let own = Remote::local("own", "rpm").set("root_depth", 2);
    let site = setup.only("none").remote(own.clone().set("signing_keys", json!([old.0]))).start().await;
    publish_rpm(&site, "b/big-1.0-1.el9.x86_64.rpm").await;
    assert_eq!(signatures_of_rpm(&site).await, 1);
    assert!(dnf_installs(&site, "old-1", &old.1).await);
    assert!(!dnf_installs(&site, "new-1", &new.1).await);
    served(&site, &new).await.problem(404);

    rotate(&site, &own, 2, &[&old, &new], &[]).await;
    publish_rpm(&site, "h/hello-libs-1.0-1.el9.x86_64.rpm").await;
    assert_eq!(signatures_of_rpm(&site).await, 2);
    for (name, key) in [("old-2", &old), ("new-2", &new)] {
        assert!(dnf_installs(&site, name, &key.1).await, "{name}");
    }
    let url = format!("http://{}/api/own/el9/x86_64", site.server.address());
    let zypper = Zypper::trusting(&site.run, "zypper", &url, &old.1);
    zypper.run(&["install", "big"]).await.succeeded();
    assert_eq!(zypper.installed("big").await, "big-1.0-1.el9.x86_64");
    both_are_served(&site, &old, &new).await;

    rotate(&site, &own, 3, &[&new], &[&old]).await;
    publish_rpm(&site, "h/hello-1.0-1.el9.x86_64.rpm").await;
    assert_eq!(signatures_of_rpm(&site).await, 1);
    assert!(!dnf_installs(&site, "old-3", &old.1).await);
    assert!(dnf_installs(&site, "new-3", &new.1).await);
    both_are_served(&site, &old, &new).await;
    site.server.get("own/el9/x86_64/repodata/repomd.xml.key").await.is(&std::fs::read(&new.1).expect("a key"));
}

const APKS: &str = "own/v3.22/main/x86_64";

async fn publish_apk(site: &Site, name: &str) {
    put(&site.server, &format!("{APKS}/{name}"), &fixture(1, &format!("alpine/v3.22/main/x86_64/{name}")))
        .await
        .has(201);
}

/// The names of the keys that signed `APKINDEX.tar.gz`: its first member holds a file for each.
async fn signatures_of_apk(site: &Site) -> Vec<String> {
    let index = site.server.get(&format!("{APKS}/APKINDEX.tar.gz")).await;
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::bufread::GzDecoder::new(&index.has(200).body[..]), &mut tar)
        .expect("whole");
    let text = String::from_utf8_lossy(&tar).into_owned();
    let name = |rest: &str| rest.split('\0').next().unwrap_or_default().to_owned();
    text.split(".SIGN.RSA256.").skip(1).map(name).collect()
}

/// Whether an apk that trusts this key, and those of packages, installs.
async fn apk_installs(site: &Site, name: &str, (_, public): &Pair) -> bool {
    let trusted = site.run.folder(&format!("{name}-trusted"));
    let packagers = std::fs::read_dir(generation(1).join("alpine/keys")).expect("keys");
    for key in packagers.map(|entry| entry.expect("a key").path()).chain([public.clone()]) {
        std::fs::copy(&key, trusted.join(key.file_name().expect("a name"))).expect("copied");
    }
    let lines = [format!("http://{}/api/own/v3.22/main", site.server.address())];
    let mut apk = Apk::with(&site.run, name, &lines, trusted);
    let done = apk.run(&["add", "big"]).await;
    if !done.status.success() {
        assert!(done.output.contains("UNTRUSTED"), "refused for another reason: {}", done.output);
        return false;
    }
    apk.installed("big").as_deref() == Some("1.0-r0")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_apk_takes_over() {
    let setup = Setup::new(Laptop).await;
    let old = keys::apk_of(&setup, "old", "old@example.org").await;
    let new = keys::apk_of(&setup, "new", "new@example.org").await;
    let own = Remote::local("own", "alpine");
    let site = setup.only("none").remote(own.clone().set("signing_keys", json!([old.0]))).start().await;
    publish_apk(&site, "big-1.0-r0.apk").await;
    assert_eq!(signatures_of_apk(&site).await, ["old@example.org.rsa.pub"]);
    assert!(apk_installs(&site, "old-1", &old).await);
    assert!(!apk_installs(&site, "new-1", &new).await);
    served(&site, &new).await.problem(404);

    rotate(&site, &own, 2, &[&old, &new], &[]).await;
    publish_apk(&site, "hello-1.0-r0.apk").await;
    assert_eq!(signatures_of_apk(&site).await, ["old@example.org.rsa.pub", "new@example.org.rsa.pub"]);
    for (name, key) in [("old-2", &old), ("new-2", &new)] {
        assert!(apk_installs(&site, name, key).await, "{name}");
    }
    both_are_served(&site, &old, &new).await;

    rotate(&site, &own, 3, &[&new], &[&old]).await;
    publish_apk(&site, "rebuilt-1.0-r0.apk").await;
    assert_eq!(signatures_of_apk(&site).await, ["new@example.org.rsa.pub"]);
    assert!(!apk_installs(&site, "old-3", &old).await);
    assert!(apk_installs(&site, "new-3", &new).await);
    both_are_served(&site, &old, &new).await;
}
