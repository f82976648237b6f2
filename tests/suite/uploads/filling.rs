//! A disk that fills up in the middle of an upload, because somebody else takes the room: the upload is refused and said to be, nothing
//! of it is left anywhere, and the next one works as soon as there is room.

use std::io::Write as _;
use std::path::PathBuf;

use super::{asked, json, put};
use crate::support::bodies::noise;
use crate::support::http::{Connection, Request};
use crate::support::made::{apk, listed};
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::until;

const MIB: usize = 1 << 20;

/// More than the 16 MiB that are taken at once for what is declared.
const LARGE: usize = 20 * MIB;
const FOLDER: &str = "own/edge/x86_64";

/// A site whose server has a data folder of 48 MiB, which nobody else sees.
async fn site(backend: Backend) -> Site {
    let setup = Setup::new(backend).await;
    let data = setup.run.folder("server-1/data").display().to_string();
    let mount = format!("mount -t tmpfs -o size=48m tmpfs {data} && exec \"$@\"");
    let unshare = if rustix::process::getuid().is_root() { "-m" } else { "-rm" };
    let wrapper = ["unshare", unshare, "sh", "-c", &mount, "sh"].map(str::to_owned);
    let locals = (Remote::local("own", "alpine"), Remote::local("dropbox", "generic"));
    setup.wrapped_in(wrapper.into()).remote(locals.0).remote(locals.1).start().await
}

/// The data folder as the server sees it.
fn data(site: &Site) -> PathBuf {
    let data = site.server.plan.data();
    PathBuf::from(format!("/proc/{}/root{}", site.server.id(), data.display()))
}

/// How much of uploads lies in the spool, in bytes; `None` when there is nothing at all.
fn spooled(site: &Site) -> Option<u64> {
    let entries = std::fs::read_dir(data(site).join("spool")).expect("the spool").map(|entry| entry.expect("an entry"));
    entries.map(|entry| entry.metadata().map_or(0, |about| about.len())).reduce(|one, other| one + other)
}

/// Takes all the room that there is.
fn fill(site: &Site) -> PathBuf {
    let path = data(site).join("somebody-elses");
    let mut file = std::fs::File::create(&path).expect("a file");
    let full = std::iter::repeat_with(|| file.write_all(&[0; 4096])).find_map(Result::err).expect("an end");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    path
}

/// Sends a part, has the disk filled up, and sends the rest. What it is answered.
async fn cut_short(site: &Site, request: &Request, body: &[u8], is_chunked: bool) -> crate::support::http::Reply {
    let framed = |part: &[u8]| match is_chunked {
        true => [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat(),
        false => part.to_vec(),
    };
    let mut connection = Connection::open(site.server.address()).await;
    connection.send(request).await;
    connection.send_bytes(&framed(&body[..MIB])).await;
    until("the first part to be taken", || async { (spooled(site)? >= MIB as u64).then_some(()) }).await;
    let others = fill(site);
    connection.send_bytes(&framed(&body[MIB..])).await;
    let reply = connection.reply(request).await;
    std::fs::remove_file(others).expect("removed");
    reply
}

async fn is_refused_and_leaves_nothing(backend: Backend) {
    let site = site(backend).await;
    let index = format!("{FOLDER}/APKINDEX.tar.gz");
    put(&site.server, &format!("{FOLDER}/one-1.apk"), &apk("one", "1", 1)).await.has(201);
    let before = site.server.get(&index).await.body;
    let body = noise(7, LARGE);
    for (path, is_chunked) in [
        ("dropbox/folder/large".to_owned(), false),
        ("dropbox/folder/large".to_owned(), true),
        (format!("{FOLDER}/large-1.apk"), false),
    ] {
        let request = match is_chunked {
            true => asked("PUT", &path).with("Transfer-Encoding", "chunked"),
            false => asked("PUT", &path).with("Content-Length", body.len().to_string()),
        };
        let problem = cut_short(&site, &request, &body, is_chunked).await.problem(507);
        assert!(problem.detail.contains("no room"), "{problem:?}");
        until("nothing to be left in the spool", || async { spooled(&site).is_none().then_some(()) }).await;
        site.server.get(&path).await.problem(404);
        site.server.get(&index).await.is(&before);
        let repository = path.split('/').next().unwrap_or_default();
        let kept = site.server.ask(&Request::get(format!("/artifacts/{repository}")).by_administrator()).await;
        assert!(!String::from_utf8_lossy(&kept.has(200).body).contains("large"), "{kept:?}");
        // There is room again: the next one is taken, of another name and of the same.
        let small = format!("dropbox/after-{is_chunked}-{repository}");
        put(&site.server, &small, b"small").await.has(201);
        site.server.get(&small).await.is(b"small");
    }
    let reply = put(&site.server, "dropbox/folder/large", &body).await;
    assert_eq!(json(reply.has(201))["result"], "created");
    site.server.get("dropbox/folder/large").await.is(&body);
    put(&site.server, &format!("{FOLDER}/two-1.apk"), &apk("two", "1", 2)).await.has(201);
    let mut names = listed(&site.server.get(&index).await.body);
    names.sort();
    assert_eq!(names, ["one-1.apk", "two-1.apk"]);
}

/// An upload that has its room already may still find none for its record.
#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_without_room_is_a_full_disk() {
    let site = site(Laptop).await;
    let body = noise(8, 3 * MIB);
    let request = asked("PUT", "dropbox/large").with("Content-Length", body.len().to_string());
    let reply = cut_short(&site, &request, &body, false).await;
    let problem = reply.problem(507);
    assert!(problem.detail.contains("no room"), "{problem:?}");
    site.server.get("dropbox/large").await.problem(404);
    put(&site.server, "dropbox/large", &body).await.has(201);
    site.server.get("dropbox/large").await.is(&body);
    until("nothing to be left in the spool", || async { spooled(&site).is_none().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fills_the_disk_leaves_nothing_on_a_laptop() {
    is_refused_and_leaves_nothing(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fills_the_disk_leaves_nothing_over_shared_stores() {
    is_refused_and_leaves_nothing(Shared).await;
}
