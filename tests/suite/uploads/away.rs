//! Uploads while something that they stand on is away: an honest answer, nothing half-written, and the next one works.

use super::{ask, asked, json, put};
use crate::support::made::{apk, listed};
use crate::support::remotes::Remote;
use crate::support::services::Backend::{Laptop, Shared};
use crate::support::site::Setup;
use crate::support::until;

const FOLDER: &str = "own/edge/x86_64";

fn file(name: &str) -> String {
    format!("{FOLDER}/{name}-1.0-r0.apk")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_s3_and_without_postgresql_nothing_is_taken() {
    let own = Remote::local("own", "alpine");
    let mut site = Setup::new(Shared).await.remote(own).start().await;
    put(&site.server, &file("one"), &apk("one", "1.0-r0", 1)).await.has(201);
    for store in ["S3", "PostgreSQL"] {
        let services = site.services.as_mut().expect("services");
        match store {
            "S3" => services.weed.kill().await,
            _ => services.postgres.kill().await,
        }
        let problem = put(&site.server, &file("two"), &apk("two", "1.0-r0", 2)).await.problem(503);
        assert!(problem.detail.contains("nothing was kept"), "{problem:?}");
        let services = site.services.as_mut().expect("services");
        match store {
            "S3" => services.weed.start_again().await,
            _ => services.postgres.start_again().await,
        }
        until("the index, without what was refused", || async {
            let index = site.server.get(&format!("{FOLDER}/APKINDEX.tar.gz")).await;
            (index.status == 200 && listed(&index.body) == ["one-1.0-r0.apk"]).then_some(())
        })
        .await;
        site.server.get(&file("two")).await.problem(404);
    }
    until("room for uploads", || async {
        (put(&site.server, &file("two"), &apk("two", "1.0-r0", 2)).await.status == 201).then_some(())
    })
    .await;
    let mut names = listed(&site.server.get(&format!("{FOLDER}/APKINDEX.tar.gz")).await.body);
    names.sort();
    assert_eq!(names, ["one-1.0-r0.apk", "two-1.0-r0.apk"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_nothing_and_says_so() {
    let setup = Setup::new(Laptop).await;
    let data = setup.run.folder("server-1/data").display().to_string();
    let mount = format!("mount -t tmpfs -o size=12m tmpfs {data} && exec \"$@\"");
    let unshare = if rustix::process::getuid().is_root() { "-m" } else { "-rm" };
    let wrapper = ["unshare", unshare, "sh", "-c", &mount, "sh"].map(str::to_owned);
    let locals = (Remote::local("own", "alpine"), Remote::local("dropbox", "generic"));
    let site = setup.wrapped_in(wrapper.into()).remote(locals.0).remote(locals.1).start().await;
    put(&site.server, &file("one"), &apk("one", "1.0-r0", 1)).await.has(201);
    let large = asked("PUT", "dropbox/large").with("Content-Length", (30 << 20).to_string());
    let problem = ask(&site.server, &large.with("Expect", "100-continue")).await.problem(507);
    assert!(problem.detail.contains("no room"), "{problem:?}");
    site.server.get("dropbox/large").await.problem(404);
    // What fits is taken, and what there was is there.
    let reply = put(&site.server, "dropbox/small", b"small").await;
    reply.has(201);
    assert_eq!(json(&reply)["result"], "created");
    site.server.get(&file("one")).await.is(&apk("one", "1.0-r0", 1));
}
