//! Lists that clients ask us for.

use super::*;
use crate::snapshots::snapshots;
use crate::support::clients::Dnf;
use crate::support::http::{Connection, Reply};
use crate::support::proxy::Proxy;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::until;
use crate::support::upstream::Upstream;

/// The metalink that a root has with an entry, under the name that tests call the server by.
fn ours(root: &str, entry: &[u8], timestamp: u64) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" xmlns:mm0=\"http://fedorahosted.org/mirrormanager\">\n\
         <files>\n<file name=\"repomd.xml\">\n<mm0:timestamp>{timestamp}</mm0:timestamp>\n<size>{}</size>\n\
         <verification>\n<hash type=\"sha256\">{}</hash>\n</verification>\n<resources>\n\
         <url protocol=\"http\" type=\"http\" preference=\"100\">http://test.invalid/api/{root}{ENTRY}</url>\n\
         </resources>\n</file>\n</files>\n</metalink>\n",
        entry.len(),
        sha256(entry)
    )
}

/// When the server says that a path was last changed, in Unix seconds.
async fn modified(server: &Server, path: &str) -> u64 {
    let head = server.ask(&Request::head(format!("/api/{path}"))).await;
    let date = httpdate::parse_http_date(head.must("last-modified")).expect("a date");
    date.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A site with the repository `listed`, by a metalink with one mirror.
async fn site(index_ttl: &str) -> Site {
    let setup = Setup::new(Laptop).await;
    let mirror = setup.upstream.url(&format!("/{FOLDER}/"));
    setup.upstream.put("/list", metalink(&[&content(2, ENTRY), &content(1, ENTRY)], &[mirror]));
    let remote = listed("metalink", setup.upstream.url("/list")).set("cache.index_ttl", index_ttl);
    setup.remote(remote).start().await
}

/// GET, HEAD and conditions agree about a list.
async fn is_a_representation(site: &Site, path: &str, media_type: &str, expected: &str) {
    let get = site.server.get(path).await;
    get.is(expected.as_bytes());
    assert_eq!(get.must("content-type"), media_type);
    assert_eq!(get.must("etag"), format!("\"{}\"", sha256(expected.as_bytes())));
    assert_eq!(get.must("cache-control"), "no-cache");
    let head: Reply = site.server.ask(&Request::head(format!("/api/{path}"))).await;
    assert_eq!((head.status, head.length()), (200, Some(expected.len() as u64)), "{head:?}");
    assert_eq!(head.must("etag"), get.must("etag"));
    let again = Request::get(format!("/api/{path}")).with("If-None-Match", get.must("etag"));
    site.server.ask(&again).await.has(304);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_with_a_list_has_lists_of_itself() {
    let site = site("1d").await;
    is_a_representation(&site, "listed/mirrorlist", "text/plain", "http://test.invalid/api/listed/\n").await;
    let timestamp = modified(&site.server, &format!("listed/{ENTRY}")).await;
    let expected = ours("listed/", &content(1, ENTRY), timestamp);
    is_a_representation(&site, "listed/metalink", "application/metalink+xml", &expected).await;
    for query in ["repo=some&arch=x86_64&countme=2", "countme=4", "repo=some&arch=x86_64"] {
        site.server.get(&format!("listed/metalink?{query}")).await.is(expected.as_bytes());
        site.server.get(&format!("listed/mirrorlist?{query}")).await.is(b"http://test.invalid/api/listed/\n");
    }
    // Nobody asks mirrors for such files, or more than once for an index: after the first time it was compared with the one
    // that its signature came with.
    snapshots(&site.server, &format!("listed/{ENTRY}"), 1).await;
    let asked = site.upstream.log();
    assert_eq!(asked.of(&format!("/{FOLDER}/{ENTRY}")).len(), 2, "{:#?}", asked.lines());
    assert!(!asked.lines().iter().any(|line| line.contains(&format!("{FOLDER}/m"))), "{:#?}", asked.lines());
}

/// The name in a list is the one that the client used, and https where a trusted proxy says so. Without a name there is no list.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_names_us_as_the_client_does() {
    let setup = Setup::new(Laptop).await.environment("ARTIFACTAPI_TRUSTED_PROXIES", "127.0.0.0/8");
    setup.upstream.put("/list", setup.upstream.url(&format!("/{FOLDER}/")));
    let remote = listed("mirrorlist", setup.upstream.url("/list"));
    let site = setup.remote(remote).start().await;
    let forwarded = |target: &str| Request::get(target).with("X-Forwarded-Proto", "https");
    site.server.ask(&forwarded("/api/listed/mirrorlist")).await.is(b"https://test.invalid/api/listed/\n");
    let list = site.server.ask(&forwarded("/api/listed/metalink")).await;
    let text = String::from_utf8_lossy(&list.has(200).body).into_owned();
    let url = format!(
        "<url protocol=\"https\" type=\"https\" preference=\"100\">https://test.invalid/api/listed/{ENTRY}</url>"
    );
    assert!(text.contains(&url), "{text}");

    let mut nameless = Connection::open(site.server.address()).await;
    nameless.send_bytes(b"GET /api/listed/mirrorlist HTTP/1.0\r\n\r\n").await;
    let problem = nameless.reply(&Request::get("/api/listed/mirrorlist")).await.problem(400);
    assert!(problem.detail.contains("Host"), "{problem:?}");
}

/// A past generation has a list of its own, about itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_the_past() {
    let site = site("0").await;
    site.server.get(&format!("listed/{ENTRY}")).await.is(&content(1, ENTRY));
    let first = snapshots(&site.server, &format!("listed/{ENTRY}"), 1).await[0];
    site.switch_to(2);
    until("the second generation", || async {
        (site.server.get(&format!("listed/{ENTRY}")).await.body == content(2, ENTRY)).then_some(())
    })
    .await;
    let at = format!("listed@{first}/");
    let list = site.server.get(&format!("{at}metalink")).await;
    let text = String::from_utf8(list.has(200).body.clone()).expect("text");
    assert!(text.contains(&sha256(&content(1, ENTRY))), "{text}");
    assert!(text.contains(&format!("http://test.invalid/api/{at}{ENTRY}")), "{text}");
}

/// Who was told the digest of an index is given that index, although another is current by then; who asks for a list then is
/// told of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_metalink_promised_is_given() {
    let site = site("0").await;
    site.server.get(&format!("listed/{ENTRY}")).await.is(&content(1, ENTRY));
    snapshots(&site.server, &format!("listed/{ENTRY}"), 1).await;
    let agent = |request: Request| request.with("User-Agent", "told");
    let mut client = Connection::open(site.server.address()).await;
    let told = client.exchange(&agent(Request::get("/api/listed/metalink"))).await;
    assert!(String::from_utf8_lossy(&told.has(200).body).contains(&sha256(&content(1, ENTRY))));

    site.switch_to(2);
    until("the second generation for others", || async {
        (site.server.get(&format!("listed/{ENTRY}")).await.body == content(2, ENTRY)).then_some(())
    })
    .await;
    for below in [ENTRY, "repodata/repomd.xml.asc", "repodata/primary.xml.gz"] {
        client.exchange(&agent(Request::get(format!("/api/listed/{below}")))).await.is(&content(1, below));
    }
    let told = client.exchange(&agent(Request::get("/api/listed/metalink"))).await;
    assert!(String::from_utf8_lossy(&told.has(200).body).contains(&sha256(&content(2, ENTRY))));
    for below in [ENTRY, "repodata/repomd.xml.asc", "repodata/primary.xml.gz"] {
        client.exchange(&agent(Request::get(format!("/api/listed/{below}")))).await.is(&content(2, below));
    }
}

/// Through a virtual repository, a list names the virtual one.
#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_repository_names_itself() {
    let setup = Setup::new(Laptop).await;
    let mirror = setup.upstream.url(&format!("/{FOLDER}/"));
    setup.upstream.put("/list", format!("{mirror}\n"));
    let remote = listed("mirrorlist", setup.upstream.url("/list"));
    let all = Remote::virtual_of("all", "rpm", &["rpm", "listed"]);
    let site = setup.remote(remote).remote(all).start().await;
    site.server.get("all/mirrorlist").await.is(b"http://test.invalid/api/all/\n");
    let entry = site.server.get(&format!("all/{ENTRY}")).await.has(200).body.clone();
    let timestamp = modified(&site.server, &format!("all/{ENTRY}")).await;
    let expected = ours("all/", &entry, timestamp);
    site.server.get("all/metalink").await.is(expected.as_bytes());
}

/// Where an upstream has such a file, it is read, and what clients get is ours.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_list_is_not_passed_on() {
    let site = Site::on(Laptop).await;
    let up = &site.upstream;
    let elsewhere = ["http://elsewhere.invalid/some/".to_owned()];
    let theirs = metalink(&[&content(1, ENTRY)], &elsewhere);
    up.put(&format!("/{FOLDER}/metalink"), theirs.clone());
    up.put(&format!("/{FOLDER}/{ENTRY}.metalink"), theirs.clone());
    up.put("/rpm/lists/el9.mirrorlist", format!("{}\n{}", elsewhere[0], up.url("/rpm/el9/x86_64/")));
    up.put("/rpm/elsewhere/metalink", theirs.clone());
    let image = "<metalink><files><file name=\"boot.iso\"><resources/></file></files></metalink>";
    up.put("/rpm/isos/boot.iso.metalink", image);
    up.put("/rpm/page/mirrorlist", "[{\"url\": \"http://elsewhere.invalid/\"}]");
    up.put("/generic/metalink", theirs.clone());

    let server = &site.server;
    let entry = server.get(&format!("{FOLDER}/{ENTRY}")).await;
    entry.is(&content(1, ENTRY));
    server.holds(&format!("{FOLDER}/{ENTRY}")).await;
    let timestamp = modified(server, &format!("{FOLDER}/{ENTRY}")).await;
    let expected = ours(&format!("{FOLDER}/"), &content(1, ENTRY), timestamp);
    is_a_representation(&site, &format!("{FOLDER}/metalink"), "application/metalink+xml", &expected).await;
    server.get(&format!("{FOLDER}/metalink?countme=1")).await.is(expected.as_bytes());
    server.get(&format!("{FOLDER}/{ENTRY}.metalink")).await.is(expected.as_bytes());
    assert_eq!(up.log().of(&format!("/{FOLDER}/metalink")).len(), 1, "{:#?}", up.log().lines());

    let list = b"http://test.invalid/api/rpm/el9/x86_64/\n";
    server.get("rpm/lists/el9.mirrorlist").await.is(list);
    let problem = server.get("rpm/elsewhere/metalink").await.problem(404);
    assert!(problem.detail.contains("does not lie in this repository"), "{problem:?}");
    server.get("rpm/zst/metalink").await.problem(404);
    server.get("rpm/page/mirrorlist").await.problem(502);
    // What is about something else, and what is no list here, is as it is.
    server.get("rpm/isos/boot.iso.metalink").await.is(image.as_bytes());
    server.get("files/metalink").await.is(theirs.as_bytes());
}

/// dnf by a list: everything it asks for, it asks us for, and nobody but us asks the mirrors.
async fn dnf_installs(key: &str) {
    let setup = Setup::new(Laptop).await;
    let mirror = setup.upstream.url("/rpm/el9/x86_64/");
    let entry = fixture(1, &format!("rpm/el9/x86_64/{ENTRY}"));
    let dead = Upstream::serving(&setup.run.folder("nothing")).await;
    dead.stop().await;
    setup.upstream.put("/list", metalink(&[&entry], &[dead.url("/"), mirror]));
    let remote = listed("metalink", setup.upstream.url("/list"));
    let site = setup.remote(remote).start().await;
    let recorder = Proxy::to(site.server.address()).await;
    let list = format!("http://{}/api/listed/{}", recorder.address(), key);
    for phase in ["cold", "without-upstream"] {
        recorder.clear();
        let dnf = Dnf::by(&site.run, phase, key, &list);
        dnf.run(&["install", "hello"]).await.succeeded();
        assert_eq!(dnf.installed("hello").await, "hello-1.0-1.el9.x86_64");
        let sent: Vec<String> = recorder.requests().iter().map(|seen| seen.path.clone()).collect();
        for path in [key, ENTRY, HELLO] {
            assert!(sent.contains(&format!("/api/listed/{path}")), "{path} is not among {sent:#?}");
        }
        if phase == "cold" {
            let ours = |seen: &crate::support::upstream::Seen| {
                seen.header("user-agent").is_some_and(|agent| agent.starts_with("artifactapi/"))
            };
            assert!(site.upstream.log().all().iter().all(ours), "{:#?}", site.upstream.log().all());
            assert_eq!(site.upstream.log().of("/list").len(), 1);
            site.upstream.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dnf_installs_by_a_metalink() {
    dnf_installs("metalink").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dnf_installs_by_a_mirrorlist() {
    dnf_installs("mirrorlist").await;
}
