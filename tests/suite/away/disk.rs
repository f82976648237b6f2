//! A full disk: a data folder on a small file system of its own, which grows later.

use super::{Loaded, MIB, STAGE, is_kept_in_time};
use crate::support::http::End;
use crate::support::process::{clean, run};
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::upstream::fault::Fault;

/// A site whose server has a data folder of so many bytes.
async fn site_with_room(backend: Backend, bytes: usize) -> Site {
    let setup = Setup::new(backend).await;
    let data = setup.run.folder("server-1/data").display().to_string();
    let mount = format!("mount -t tmpfs -o size={bytes} tmpfs {data} && exec \"$@\"");
    let unshare = if rustix::process::getuid().is_root() { "-m" } else { "-rm" };
    let wrapper = ["unshare", unshare, "sh", "-c", &mount, "sh"].map(str::to_owned);
    setup.wrapped_in(wrapper.into()).start().await
}

async fn disk_full(backend: Backend) {
    let mut loaded = Loaded::begin(site_with_room(backend, 12 * MIB).await).await;
    // More than there is room for, known before the first byte: passed through, and the rest goes on.
    let (large, body) = loaded.unheld(30 * MIB);
    let asked = |site: &Site| site.upstream.log().of(&large.replacen("files", "/generic", 1)).len();
    loaded.site.server.get(&large).await.is(&body);
    assert_eq!(asked(&loaded.site), 1, "the answer that there was no room for was not the one that was passed on");
    loaded.site.server.get(&large).await.is(&body);
    assert_eq!(asked(&loaded.site), 2, "it is kept");
    loaded.load.goes_on(STAGE).await;
    // Little by little, until nothing more fits.
    for _ in 0..20 {
        let (path, body) = loaded.unheld(MIB);
        loaded.site.server.get(&path).await.is(&body);
    }
    loaded.misses_stream_through().await;
    loaded.load.goes_on(STAGE).await;

    // Room again: what comes now is kept.
    let data = loaded.site.server.plan.data().display().to_string();
    let mut remount = clean("nsenter");
    let namespaces: &[&str] =
        if rustix::process::getuid().is_root() { &["-m"] } else { &["-U", "-m", "--preserve-credentials"] };
    remount.args(["-t", &loaded.site.server.id().to_string()]).args(namespaces);
    // With source and target said, it keeps to these options: those that the kernel shows of an ordinary user's are in numbers
    // that mean nothing in his namespace.
    remount.args(["mount", "-t", "tmpfs", "-o", "remount,size=2g", "tmpfs", &data]);
    run(remount).await.succeeded();
    is_kept_in_time(&loaded.site.server, &large, &body).await;
    loaded.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_reads_and_pass_through_go_on() {
    disk_full(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_reads_and_pass_through_go_on_over_shared_stores() {
    disk_full(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_the_middle_never_ends_a_file_as_if_it_were_whole() {
    let mut loaded = Loaded::begin(site_with_room(Laptop, 12 * MIB).await).await;
    let (large, body) = loaded.unheld(30 * MIB);
    loaded.site.upstream.spoil(&large.replacen("files", "/generic", 1), Fault::Chunked);
    let reply = loaded.site.server.get(&large).await;
    reply.has(200);
    match reply.end {
        End::Whole => assert!(reply.body == body, "wrong bytes"),
        End::Cut => assert!(body.starts_with(&reply.body), "wrong bytes before the cut"),
    }
    // Who asks again gets it whole: it is known by now that there is no room for it.
    loaded.site.server.get(&large).await.is(&body);
    loaded.load.goes_on(STAGE).await;
    loaded.load.end().await;
}
