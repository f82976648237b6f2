//! A remote member whose metadata is not what clients can read, or is called what nobody foresaw: the other members do not suffer for it.

use serde_json::json;

use super::put;
use crate::support::bodies::sha256;
use crate::support::clients::{Apk, Dnf};
use crate::support::keys;
use crate::support::made::{apk, index_text};
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::upstream::Upstream;

const ENTRY: &str = "all/el9/x86_64/repodata/repomd.xml";

fn package(name: &str, summary: &str) -> String {
    format!(
        "<package type=\"rpm\"><name>{name}</name><arch>noarch</arch><version epoch=\"0\" ver=\"1\" rel=\"1\"/>\
         <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum><summary>{summary}</summary><description/>\
         <size package=\"1\" installed=\"1\" archive=\"1\"/><location href=\"Packages/{name}-1-1.noarch.rpm\"/></package>",
        sha256(name.as_bytes())
    )
}

fn groups(id: &str, name: &str, packages: &[&str]) -> String {
    let packages = packages.iter().map(|name| format!("<packagereq type=\"mandatory\">{name}</packagereq>"));
    format!(
        "<?xml version=\"1.0\"?><comps><group><id>{id}</id><name>{name}</name><uservisible>true</uservisible>\
         <packagelist>{}</packagelist></group></comps>",
        packages.collect::<String>()
    )
}

/// An rpm repository as somebody wrote it, at `/odd`.
fn write(upstream: &Upstream, packages: &str, groups_name: &str, groups: &str) {
    let primary = format!(
        "<?xml version=\"1.0\"?><metadata xmlns=\"http://linux.duke.edu/metadata/common\" packages=\"2\">{packages}</metadata>"
    );
    let data = |kind: &str, name: &str, body: &str| {
        format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><location href=\"repodata/{name}\"/>\
             <timestamp>1735689600</timestamp><size>{}</size></data>",
            sha256(body.as_bytes()),
            body.len()
        )
    };
    let entry = format!(
        "<?xml version=\"1.0\"?><repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1735689600</revision>{}{}</repomd>",
        data("primary", "primary.xml", &primary),
        data("group", groups_name, groups)
    );
    for (name, body) in [("repomd.xml", &*entry), ("primary.xml", &primary), (groups_name, groups)] {
        upstream.put(&format!("/odd/el9/x86_64/repodata/{name}"), body.as_bytes().to_vec());
    }
}

/// `all` is made of the local `own`, which has packages and groups, and the remote `odd`; a dnf that knows it.
async fn site(packages: &str, groups_name: &str, theirs: &str) -> (Site, Dnf) {
    let setup = Setup::new(Laptop).await;
    let (secret, public) = keys::for_rpm(&setup).await;
    write(&setup.upstream, packages, groups_name, theirs);
    let odd = Remote::new("odd", "rpm", setup.upstream.url("/odd"));
    let own = Remote::local("own", "rpm").set("root_depth", 2);
    let all = Remote::virtual_of("all", "rpm", &["own", "odd"]).set("signing_keys", json!([secret]));
    let site = setup.remote(odd).remote(own).remote(all).start().await;
    for name in ["h/hello-1.0-1.el9.x86_64.rpm", "h/hello-libs-1.0-1.el9.x86_64.rpm"] {
        let body = fixture(1, &format!("rpm/el9/x86_64/Packages/{name}"));
        put(&site.server, &format!("own/el9/x86_64/Packages/{name}"), &body).await.has(201);
    }
    let ours = groups("core", "Ours", &["hello"]);
    put(&site.server, "own/el9/x86_64/repodata/comps.xml", ours.as_bytes()).await.has(201);
    let url = format!("http://{}/api/all/el9/x86_64", site.server.address());
    let dnf = Dnf::trusting(&site.run, "dnf", &url, &public);
    (site, dnf)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_client_can_read_is_left_out() {
    let packages = [package("good", "Good"), package("bad", "\u{1}")].concat();
    let (site, dnf) = site(&packages, "comps.xml", &groups("theirs", "\u{1}", &["good"])).await;
    dnf.run(&["install", "hello"]).await.succeeded();
    assert_eq!(dnf.installed("hello").await, "hello-1.0-1.el9.x86_64");
    let listed = dnf.run(&["repoquery", "--qf", "%{name}\n", "good", "bad"]).await.succeeded();
    assert!(listed.lines().any(|line| line == "good") && !listed.lines().any(|line| line == "bad"), "{listed}");
    let groups = dnf.run(&["group", "list", "-v"]).await.succeeded();
    assert!(groups.contains("Ours (core)") && !groups.contains("theirs"), "{groups}");
    for path in ["el9/x86_64/Packages/bad-1-1.noarch.rpm", "odd/el9/x86_64/repodata/comps.xml"] {
        site.server.says(&["left out of a merged index", path]).await;
    }
    // The next merge is none the worse for it.
    let another = groups_of_two();
    put(&site.server, "own/el9/x86_64/repodata/comps.xml", another.as_bytes()).await.has(409);
    put(&site.server, "own/el9/x86_64/repodata/comps-more.xml", another.as_bytes()).await.has(201);
    site.server.get(ENTRY).await.has(200);
}

fn groups_of_two() -> String {
    groups("more", "More", &["hello", "hello-libs"])
}

/// Two members have a group of one id, one of them in a file that is called as CentOS 7 calls it.
#[tokio::test(flavor = "multi_thread")]
async fn groups_of_one_id_are_one_with_the_packages_of_both() {
    let theirs = groups("core", "Theirs", &["good", "hello"]);
    let name = format!("{}-c7-x86_64-comps.xml", sha256(theirs.as_bytes()));
    let (site, dnf) = site(&package("good", "Good"), &name, &theirs).await;
    let entry = String::from_utf8(site.server.get(ENTRY).await.body).expect("text");
    assert_eq!(entry.matches("<data type=\"group\">").count(), 1, "{entry}");
    let told = dnf.run(&["group", "info", "core"]).await.succeeded();
    let has = |name: &str| told.lines().any(|line| line.trim().trim_start_matches(['+', '-', '=']).trim() == name);
    assert!(told.contains("Ours") && !told.contains("Theirs"), "{told}");
    assert!(has("hello") && has("good"), "{told}");
}

/// A file whose name says nothing is what the index says, and is carried under a name that does.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_says_what_a_file_is() {
    let (site, dnf) = site(&package("good", "Good"), "groups.xml", &groups("theirs", "Theirs", &["good"])).await;
    let groups = dnf.run(&["group", "list", "-v"]).await.succeeded();
    assert!(groups.contains("Ours (core)") && groups.contains("Theirs (theirs)"), "{groups}");
    let alone = Remote::virtual_of("all", "rpm", &["odd"]);
    let mut site = site;
    site.server.stop().await;
    let odd = Remote::new("odd", "rpm", site.upstream.url("/odd"));
    site.server.plan.configure(&crate::support::remotes::yaml(&[odd, alone]));
    site.server.start_again().await;
    let entry = String::from_utf8(site.server.get(ENTRY).await.body).expect("text");
    assert!(entry.contains("<data type=\"group\">") && entry.contains("-comps.xml\""), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_apk_cannot_read_is_left_out() {
    let setup = Setup::new(Laptop).await;
    let stanza = |name: &str, depends: usize| {
        format!(
            "C:Q1{}\nP:{name}\nV:1\nA:x86_64\nS:1\nI:1\nT:x\nU:x\nL:x\nD:{}\n\n",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "d ".repeat(depends)
        )
    };
    let text = stanza("good", 10) + &stanza("bad", 70_000);
    let folder = setup.run.folder("odd");
    std::fs::write(folder.join("DESCRIPTION"), "by hand").expect("written");
    std::fs::write(folder.join("APKINDEX"), &text).expect("written");
    let mut command = std::process::Command::new("tar");
    command
        .arg("-czf")
        .arg(folder.join("index"))
        .args(["--format=ustar", "-C"])
        .arg(&folder)
        .args(["DESCRIPTION", "APKINDEX"]);
    assert!(command.status().expect("tar runs").success());
    setup.upstream.put("/odd-apk/x86_64/APKINDEX.tar.gz", std::fs::read(folder.join("index")).expect("an index"));
    let odd = Remote::new("odd", "alpine", setup.upstream.url("/odd-apk"));
    let all = Remote::virtual_of("all", "alpine", &["own", "odd"]);
    let site = setup.remote(odd).remote(Remote::local("own", "alpine")).remote(all).start().await;
    put(&site.server, "own/x86_64/ours-1.apk", &apk("ours", "1", 1)).await.has(201);
    let index = site.server.get("all/x86_64/APKINDEX.tar.gz").await;
    index.has(200);
    let text = index_text(&index.body);
    assert!(text.contains("P:ours\n") && text.contains("P:good\n") && !text.contains("P:bad\n"), "{}", text.len());
    let lines = [format!("http://{}/api/all", site.server.address())];
    let mut client = Apk::with(&site.run, "apk", &lines, site.run.folder("no-keys"));
    client.run(&["add", "--allow-untrusted", "ours"]).await.succeeded();
}
