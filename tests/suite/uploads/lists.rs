//! Lists of several chunks, in either compression, are what the real programs take them for: dnf and zypper install from them, and
//! createrepo_c goes on with them where we left off.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::put;
use crate::support::clients::{Dnf, Zypper};
use crate::support::keys;
use crate::support::process::{clean, run};
use crate::support::remotes::Remote;
use crate::support::rpms::{list_of, many};
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, tool};

const ROOT: &str = "own/el9/x86_64";
const KINDS: [&str; 3] = ["primary", "filelists", "other"];

/// Enough for several chunks, which are of 64 packages on average; beside them are two that are signed.
const MANY: u32 = 250;
const SIGNED: [&str; 2] = ["hello-1.0-1.el9.x86_64.rpm", "hello-libs-1.0-1.el9.x86_64.rpm"];
const ALL: usize = MANY as usize + SIGNED.len();

/// A local repository with all of them, in a compression; the packages by their file names, and the key of its index.
async fn site(compression: &str) -> (Site, BTreeMap<String, Vec<u8>>, PathBuf) {
    let setup = Setup::new(Laptop).await;
    let (secret, public) = keys::for_rpm(&setup).await;
    let mut packages: BTreeMap<_, _> = many(&setup.run, MANY).await.into_iter().collect();
    packages.extend(SIGNED.map(|name| (name.to_owned(), fixture(1, &format!("rpm/el9/x86_64/Packages/h/{name}")))));
    let own = Remote::local("own", "rpm").set("root_depth", 2).set("compression", compression);
    let site = setup.remote(own.set("signing_keys", json!([secret]))).start().await;
    let server = &site.server;
    let uploads = packages.iter().map(|(name, body)| async move {
        put(server, &format!("{ROOT}/Packages/{name}"), body).await.has(201);
    });
    futures_util::future::join_all(uploads).await;
    (site, packages, public)
}

/// The entry, and each list by its name below the root.
async fn index(site: &Site) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let entry = site.server.get(&format!("{ROOT}/repodata/repomd.xml")).await;
    let mut lists = Vec::new();
    for kind in KINDS {
        let path = list_of(&entry.has(200).body, kind);
        let list = site.server.get(&format!("{ROOT}/{path}")).await;
        lists.push((path, list.has(200).body.clone()));
    }
    (entry.body, lists)
}

/// How often some bytes are there.
fn count(text: &[u8], of: &[u8]) -> usize {
    text.windows(of.len()).filter(|window| *window == of).count()
}

async fn are_installed_from(site: &Site, public: &std::path::Path) {
    let url = format!("http://{}/api/{ROOT}", site.server.address());
    let dnf = Dnf::trusting(&site.run, "dnf", &url, public);
    dnf.run(&["install", "hello"]).await.succeeded();
    assert_eq!(dnf.installed("hello").await, "hello-1.0-1.el9.x86_64");
    let names = dnf.run(&["repoquery", "--qf", "%{name}"]).await.succeeded();
    assert_eq!(names.lines().filter(|line| line.starts_with("many")).count(), MANY as usize);
    let owner = dnf.run(&["repoquery", "--qf", "%{name}", "--file", "/usr/share/many/123"]).await.succeeded();
    assert_eq!(owner.trim(), "many123");
    let zypper = Zypper::trusting(&site.run, "zypper", &url, public);
    zypper.run(&["install", "hello"]).await.succeeded();
    assert_eq!(zypper.installed("hello").await, "hello-1.0-1.el9.x86_64");
    let found = zypper.run(&["search", "--repo", "t", "many"]).await.succeeded();
    assert_eq!(found.lines().filter(|line| line.contains("| many")).count(), MANY as usize, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_zstd_are_installed_from() {
    let (site, _, public) = site("zstd").await;
    for (name, list) in index(&site).await.1 {
        assert!(name.ends_with(".xml.zst"), "{name}");
        let frames = count(&list, &[0x28, 0xb5, 0x2f, 0xfd]);
        assert!(frames >= 4, "{name}: {frames} frames");
    }
    are_installed_from(&site, &public).await;
}

/// What Python reads with createrepo_c's own parsers: how many packages each list has. It fails when they only warn.
const READ: &str = "
import sys, createrepo_c as cr
def fail(kind, text): raise SystemExit(f'{kind}: {text}')
repomd = cr.Repomd(sys.argv[1] + '/repodata/repomd.xml')
for record in repomd.records:
    found = []
    def package(pkgid, name, arch): return cr.Package()
    parse = getattr(cr, 'xml_parse_' + record.type)
    more = [True] if record.type == 'primary' else []
    parse(sys.argv[1] + '/' + record.location_href, package, lambda read: found.append(read.name), fail, *more)
    print(record.type, len(found))
";

/// A tree with our packages and our index is one that createrepo_c wrote: it need not read a single package again.
#[tokio::test(flavor = "multi_thread")]
async fn createrepo_c_goes_on_with_lists_in_gzip() {
    let (site, packages, public) = site("gzip").await;
    let tree = site.run.folder("tree");
    for folder in ["Packages", "repodata"] {
        std::fs::create_dir(tree.join(folder)).expect("a folder");
    }
    for (name, body) in &packages {
        std::fs::write(tree.join("Packages").join(name), body).expect("written");
    }
    let (entry, lists) = index(&site).await;
    std::fs::write(tree.join("repodata/repomd.xml"), entry).expect("written");
    for (name, list) in &lists {
        assert!(name.ends_with(".xml.gz"), "{name}");
        // Each piece but the last ends where nothing is left over: at an empty block.
        let pieces = count(list, &[0, 0, 0xff, 0xff]);
        assert!(pieces >= 4, "{name}: {pieces} pieces");
        std::fs::write(tree.join(name), list).expect("written");
    }
    let mut reading = clean(tool("PYTHON"));
    reading.args(["-c", READ]).arg(&tree);
    let read = run(reading).await.succeeded();
    let mut counted: Vec<&str> = read.lines().collect();
    counted.sort_unstable();
    assert_eq!(counted, ["filelists", "other", "primary"].map(|kind| format!("{kind} {ALL}")));

    let again = site.run.path("read-again");
    let mut command = clean(tool("CREATEREPO_C"));
    command.args(["--quiet", "--update", "--skip-stat", "--no-database", "--read-pkgs-list"]).arg(&again).arg(&tree);
    let said = run(command).await.succeeded();
    assert!(!said.to_lowercase().contains("warning"), "{said}");
    assert_eq!(std::fs::read_to_string(&again).expect("a list"), "", "packages were read again");
    let theirs = std::fs::read(tree.join("repodata/repomd.xml")).expect("an entry");
    let primary = std::fs::read(tree.join(list_of(&theirs, "primary"))).expect("a list");
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::bufread::MultiGzDecoder::new(&primary[..]), &mut text).expect("text");
    assert_eq!(count(&text, b"<package type=\"rpm\">"), ALL);
    assert_eq!(count(&text, format!("packages=\"{ALL}\"").as_bytes()), 1);
    are_installed_from(&site, &public).await;
}
