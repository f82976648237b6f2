//! Packages for dnf and zypper: uploaded, and installable by the next client, with all signatures checked.

use std::path::PathBuf;

use serde_json::json;

use super::{delete, json, put};
use crate::support::clients::{Dnf, Zypper};
use crate::support::keys;
use crate::support::process::{clean, run};
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, tool};

const FOLDER: &str = "own/el9/x86_64/Packages";

/// A site with a local repository `own` that is signed by a key which was just made, and its public half.
pub(super) async fn site(backend: Backend) -> (Site, PathBuf) {
    let setup = Setup::new(backend).await;
    let (secret, public) = keys::for_rpm(&setup).await;
    let own = Remote::local("own", "rpm").set("root_depth", 2).set("signing_keys", json!([secret]));
    (setup.remote(own).start().await, public)
}

/// A package of the fixtures.
fn package(name: &str) -> Vec<u8> {
    fixture(1, &format!("rpm/el9/x86_64/Packages/{name}"))
}

async fn what_was_uploaded_is_installed(backend: Backend) {
    let (mut site, public) = site(backend).await;
    for name in ["h/hello-1.0-1.el9.x86_64.rpm", "h/hello-libs-1.0-1.el9.x86_64.rpm", "b/big-1.0-1.el9.x86_64.rpm"] {
        let reply = put(&site.server, &format!("{FOLDER}/{name}"), &package(name)).await;
        reply.has(201);
        assert!(json(&reply)["snapshot"].as_i64().is_some(), "{}", json(&reply));
    }

    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&site.server);
    let url = format!("http://{}/api/own/el9/x86_64", server.address());
    server.get("own/el9/x86_64/repodata/repomd.xml.key").await.is(&std::fs::read(&public).expect("a key"));
    let dnf = Dnf::trusting(&site.run, "dnf", &url, &public);
    dnf.run(&["install", "hello", "big"]).await.succeeded();
    assert_eq!(dnf.installed("hello").await, "hello-1.0-1.el9.x86_64");
    assert_eq!(dnf.installed("big").await, "big-1.0-1.el9.x86_64");
    let zypper = Zypper::trusting(&site.run, "zypper", &url, &public);
    zypper.run(&["install", "hello"]).await.succeeded();
    assert_eq!(zypper.installed("hello").await, "hello-1.0-1.el9.x86_64");

    delete(&site.server, &format!("{FOLDER}/b/big-1.0-1.el9.x86_64.rpm")).await.has(200);
    server.get(&format!("{FOLDER}/b/big-1.0-1.el9.x86_64.rpm")).await.problem(404);
    let late = Dnf::trusting(&site.run, "late", &url, &public);
    let refused = late.run(&["install", "big"]).await;
    assert!(!refused.status.success(), "{}", refused.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_installed_on_a_laptop() {
    what_was_uploaded_is_installed(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_installed_over_shared_stores() {
    what_was_uploaded_is_installed(Shared).await;
}

/// Whoever was given an index a moment ago still finds the lists it names, whoever asked for them before.
#[tokio::test(flavor = "multi_thread")]
async fn lists_of_an_earlier_index_are_still_there() {
    let (site, _) = site(Laptop).await;
    let names = ["h/hello-1.0-1.el9.x86_64.rpm", "h/hello-libs-1.0-1.el9.x86_64.rpm", "b/big-1.0-1.el9.x86_64.rpm"];
    let mut given = Vec::new();
    for name in names {
        put(&site.server, &format!("{FOLDER}/{name}"), &package(name)).await.has(201);
        let entry = site.server.get("own/el9/x86_64/repodata/repomd.xml").await;
        let text = String::from_utf8(entry.body).expect("text");
        let hrefs: Vec<String> = text
            .split("<location href=\"")
            .skip(1)
            .map(|rest| rest[..rest.find('"').expect("an end")].to_owned())
            .collect();
        assert_eq!(hrefs.len(), 3, "{text}");
        given.push(hrefs);
    }
    for hrefs in given.iter().rev() {
        for href in hrefs {
            let list = site.server.get(&format!("own/el9/x86_64/{href}")).await;
            list.has(200);
            let name = href.rsplit('/').next().expect("a name");
            assert_eq!(crate::support::bodies::sha256(&list.body), name[..64], "{href}");
            // And again, now that it is written.
            site.server.get(&format!("own/el9/x86_64/{href}")).await.is(&list.body);
        }
    }
    site.server.get(&format!("own/el9/x86_64/repodata/{}-primary.xml.gz", "0".repeat(64))).await.problem(404);
}

/// A package whose file list is more than ten megabytes long: paths of three and a half thousand bytes.
async fn with_a_long_list(site: &Site) -> Vec<u8> {
    let top = site.run.folder("rpmbuild");
    let below = format!("/opt/{}", vec!["d".repeat(250); 14].join("/"));
    let spec = format!(
        "Name: wide\nVersion: 1.0\nRelease: 1\nSummary: Long paths\nLicense: MIT\nBuildArch: noarch\n%description\nLong.\n\
         %install\nmkdir -p %{{buildroot}}{below}\ncd %{{buildroot}}{below}\nfor n in $(seq 3000); do ln -s /nowhere $n; done\n\
         %files\n{below}\n"
    );
    std::fs::write(top.join("wide.spec"), spec).expect("written");
    let mut command = clean(tool("RPMBUILD"));
    command.args(["--quiet", "--nodeps", "-bb", "--define"]).arg(format!("_topdir {}", top.display()));
    command
        .args(["--define", "_build_id_links none", "--define", "__os_install_post %{nil}"])
        .arg(top.join("wide.spec"));
    run(command).await.succeeded();
    std::fs::read(top.join("RPMS/noarch/wide-1.0-1.noarch.rpm")).expect("a package")
}

/// An index that does not say the digest of a long list's text is a good one all the same.
#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_read_by_everybody() {
    let (site, public) = site(Laptop).await;
    put(&site.server, &format!("{FOLDER}/wide-1.0-1.noarch.rpm"), &with_a_long_list(&site).await).await.has(201);
    for name in ["h/hello-1.0-1.el9.x86_64.rpm", "h/hello-libs-1.0-1.el9.x86_64.rpm"] {
        put(&site.server, &format!("{FOLDER}/{name}"), &package(name)).await.has(201);
    }
    let entry = site.server.get("own/el9/x86_64/repodata/repomd.xml").await;
    let entry = String::from_utf8(entry.body).expect("text");
    let counts = ["<open-checksum", "<open-size", "<data "].map(|what| entry.matches(what).count());
    assert_eq!(counts, [2, 3, 3], "{entry}");
    let url = format!("http://{}/api/own/el9/x86_64", site.server.address());
    let dnf = Dnf::trusting(&site.run, "dnf", &url, &public);
    let files = dnf.run(&["repoquery", "--list", "wide"]).await.succeeded();
    assert_eq!(files.lines().filter(|line| line.starts_with("/opt/")).count(), 3_000 + 1);
    let zypper = Zypper::trusting(&site.run, "zypper", &url, &public);
    zypper.run(&["install", "hello"]).await.succeeded();
    assert_eq!(zypper.installed("hello").await, "hello-1.0-1.el9.x86_64");
}

/// What repomd.xml says of one kind of file: its digest, its length, and both of what is compressed in it.
fn said_of(repomd: &[u8], kind: &str) -> [String; 4] {
    let text = String::from_utf8_lossy(repomd).into_owned();
    let (_, rest) = text.split_once(&format!("<data type=\"{kind}\"")).unwrap_or_else(|| panic!("no {kind}: {text}"));
    let (data, _) = rest.split_once("</data>").expect("an end");
    ["checksum", "size", "open-checksum", "open-size"].map(|name| {
        let (_, rest) = data.split_once(&format!("<{name}")).unwrap_or_else(|| panic!("no {name}: {data}"));
        let (value, _) = rest.split_once('<').expect("an end");
        value.split_once('>').expect("a value").1.trim().to_owned()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compressed_in_carried_files_is_said_as_modifyrepo_c_says_it() {
    let (site, _) = site(Laptop).await;
    let tree = site.run.folder("tree");
    let mut command = clean(tool("CREATEREPO_C"));
    command.arg("--quiet").arg(&tree);
    run(command).await.succeeded();
    let files = [
        (
            "modules",
            "modules.yaml",
            "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: a\n...\n".to_owned(),
        ),
        (
            "updateinfo",
            "updateinfo.xml",
            format!("<?xml version=\"1.0\"?>\n<updates>{}</updates>\n", " ".repeat(100_000)),
        ),
    ];
    for (kind, name, text) in &files {
        let plain = site.run.file(name, text);
        let mut command = clean(tool("MODIFYREPO_C"));
        command
            .args(["--simple-md-filenames", "--mdtype", kind, "--compress-type", "gz"])
            .arg(&plain)
            .arg(tree.join("repodata"));
        run(command).await.succeeded();
        let compressed = std::fs::read(tree.join(format!("repodata/{name}.gz"))).expect("a compressed file");
        put(&site.server, &format!("own/el9/x86_64/repodata/{name}.gz"), &compressed).await.has(201);
    }
    let ours = site.server.get("own/el9/x86_64/repodata/repomd.xml").await.body;
    let theirs = std::fs::read(tree.join("repodata/repomd.xml")).expect("a repomd.xml");
    for (kind, ..) in files {
        assert_eq!(said_of(&ours, kind), said_of(&theirs, kind), "{kind}");
    }
}

/// What is carried in an index goes to every client as it is: what they would give up on is not taken, and spoils nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_could_not_read_is_not_carried() {
    let (site, public) = site(Laptop).await;
    let name = "h/hello-1.0-1.el9.x86_64.rpm";
    put(&site.server, &format!("{FOLDER}/{name}"), &package(name)).await.has(201);
    let (beside, big) = (format!("{FOLDER}/b/big-1.0-1.el9.x86_64.rpm"), package("b/big-1.0-1.el9.x86_64.rpm"));
    let page = b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>";
    let refused: [(&str, &[u8], &str); 7] = [
        ("modules.yaml", b"EVILKEY", "modules.yaml"),
        ("comps.xml", page, "<comps>"),
        ("updateinfo.xml", page, "<updates>"),
        ("updateinfo.xml.gz", b"<updates/>", "gzip"),
        ("productid", page, "PEM"),
        ("comps.xml", b"<comps>\x01</comps>", "cannot hold"),
        ("comps%EF%BF%BF.xml", b"<comps/>", "no index can hold"),
    ];
    for (name, body, why) in refused {
        let path = format!("own/el9/x86_64/repodata/{name}");
        // Beside a package, for they are published together.
        let (problem, taken) = tokio::join!(put(&site.server, &path, body), put(&site.server, &beside, &big),);
        let problem = problem.problem(422);
        assert!(problem.detail.contains(why), "{problem:?}");
        assert!(matches!(taken.status, 200 | 201), "{taken:?}");
        site.server.get(&path).await.problem(404);
    }
    let odd = format!("{FOLDER}/%EF%BF%BF/hello-1.0-1.el9.x86_64.rpm");
    put(&site.server, &odd, &package(name)).await.problem(422);

    let url = format!("http://{}/api/own/el9/x86_64", site.server.address());
    let dnf = Dnf::trusting(&site.run, "dnf", &url, &public);
    dnf.run(&["install", "big"]).await.succeeded();
    let groups = b"<?xml version=\"1.0\"?>\n<comps/>\n";
    put(&site.server, "own/el9/x86_64/repodata/comps.xml", groups).await.has(201);
    site.server.get("own/el9/x86_64/repodata/comps.xml").await.is(groups);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_package_is_refused() {
    let (site, _) = site(Laptop).await;
    let right = package("h/hello-1.0-1.el9.x86_64.rpm");
    let half = &right[..right.len() / 2];
    let mut damaged = right.clone();
    let middle = damaged.len() - 40;
    damaged[middle] ^= 1;
    let refused: [(&str, &[u8], u16); 9] = [
        ("el9/x86_64/Packages/hello-1.0-1.el9.x86_64.rpm", half, 422),
        ("el9/x86_64/Packages/hello-1.0-1.el9.x86_64.rpm", &damaged, 422),
        ("el9/x86_64/Packages/hello-1.0-1.el9.x86_64.rpm", b"<html>", 422),
        ("el9/x86_64/Packages/other-1.0-1.el9.x86_64.rpm", &right, 422),
        ("hello-1.0-1.el9.x86_64.rpm", &right, 422),
        ("el9/x86_64/repodata/repomd.xml", &right, 400),
        ("el9/x86_64/repodata/primary.xml.gz", &right, 400),
        ("el9/repodata/comps.xml", b"<comps/>", 422),
        ("repodata/comps.xml", b"<comps/>", 422),
    ];
    for (path, body, status) in refused {
        let problem = put(&site.server, &format!("own/{path}"), body).await.problem(status);
        assert!(!problem.detail.is_empty(), "{problem:?}");
        site.server.get(&format!("own/{path}")).await.problem(404);
    }
    for root in ["el9", ""] {
        site.server.get(&format!("own/{root}/repodata/repomd.xml").replace("//", "/")).await.problem(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_that_clients_fetch_cannot_be_replaced() {
    let (site, public) = site(Laptop).await;
    let key = std::fs::read(&public).expect("a key");
    let name = format!("own/{}", public.file_name().expect("a name").to_string_lossy());
    site.server.get(&name).await.is(&key);
    put(&site.server, &name, b"another").await.problem(409);
    delete(&site.server, &name).await.problem(409);
    site.server.get(&name).await.is(&key);
}
