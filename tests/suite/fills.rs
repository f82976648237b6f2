//! One upstream transfer for everybody: who comes late, leaves early or reads slowly changes nothing for the others, and
//! a body that breaks is continued only with the rest of the same content.

use crate::support::bodies::{assert_same, noise};
use crate::support::http::{self, Connection, End, Request};
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::upstream::Validators;
use crate::support::upstream::fault::Fault;

const TARGET: &str = "/api/files/big";
const PATH: &str = "/generic/big";
const MIB: usize = 1 << 20;

/// A site whose upstream has `size` bytes at [`PATH`].
async fn site_with(backend: Backend, size: usize) -> (Site, bytes::Bytes) {
    let site = Site::on(backend).await;
    let body = noise(1, size);
    site.upstream.put(PATH, body.clone());
    (site, body)
}

/// A hundred clients of one cold file: all have bytes before upstream has sent the rest, and upstream sends it once.
async fn herd(backend: Backend, fault: Option<Fault>) {
    let (site, body) = site_with(backend, 4 * MIB).await;
    if let Some(fault) = fault {
        site.upstream.spoil(PATH, fault);
    }
    let gate = site.upstream.gate(PATH, MIB as u64);
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut connection = Connection::open(site.server.address()).await;
        let request = Request::get(TARGET);
        connection.send(&request).await;
        clients.push((connection, request));
    }
    let mut following = Vec::new();
    for (mut connection, request) in clients {
        assert_eq!(connection.head(&request).await.status, 200);
        let first = connection.bytes(MIB / 2).await;
        following.push((connection, first));
    }
    gate.open();
    let finish = |(mut connection, mut got): (Connection, Vec<u8>)| async move {
        let (rest, end) = connection.rest().await;
        got.extend(rest);
        (got, end)
    };
    for (got, end) in futures_util::future::join_all(following.into_iter().map(finish)).await {
        assert_eq!(end, End::Whole);
        assert_same(&got, &body, "what a client got");
    }
    let asked = site.upstream.log().of(PATH);
    assert_eq!((asked.len(), asked[0].sent()), (1, body.len() as u64));
    site.upstream.stop().await;
    site.server.get("files/big").await.is(&body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_cost_one_transfer() {
    herd(Laptop, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_cost_one_transfer_of_unknown_length() {
    herd(Laptop, Some(Fault::Chunked)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_cost_one_transfer_over_shared_stores() {
    herd(Shared, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_abort_the_fill() {
    let (site, body) = site_with(Laptop, 4 * MIB).await;
    let gate = site.upstream.gate(PATH, MIB as u64);
    let request = Request::get(TARGET);
    let mut leaving = Connection::open(site.server.address()).await;
    leaving.send(&request).await;
    leaving.head(&request).await;
    leaving.bytes(1_000).await;
    drop(leaving);
    gate.open();
    // Nobody is there; whoever comes follows that fill, or finds it done.
    site.server.get("files/big").await.is(&body);
    assert_eq!(site.upstream.log().lines(), ["GET /generic/big 200"]);
    assert_eq!(site.upstream.log().of(PATH)[0].sent(), body.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_does_not_slow_the_others() {
    let (site, body) = site_with(Laptop, 16 * MIB).await;
    let request = Request::get(TARGET);
    let mut slow = Connection::open_narrow(site.server.address()).await;
    slow.send(&request).await;
    slow.head(&request).await;
    // It takes nothing more until the others have everything.
    for _ in 0..3 {
        site.server.get("files/big").await.is(&body);
    }
    let (got, end) = slow.rest().await;
    assert_eq!(end, End::Whole);
    assert_same(&got, &body, "what the slow client got");
    assert_eq!(site.upstream.log().of(PATH).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_body_is_resumed_where_it_broke() {
    for (validators, fault, times) in [
        (Validators::Both, Fault::Truncated(MIB as u64), 1),
        (Validators::Both, Fault::Reset(MIB as u64), 1),
        (Validators::Both, Fault::Truncated(300_000), 4),
        (Validators::DateOnly, Fault::Truncated(MIB as u64), 1),
    ] {
        let (site, body) = site_with(Laptop, 3 * MIB).await;
        site.upstream.validators(validators);
        site.upstream.spoil_times(PATH, times, fault.clone());
        site.server.get("files/big").await.is(&body);

        let asked = site.upstream.log().of(PATH);
        assert_eq!(asked.len(), times + 1, "{fault:?}");
        let mut sent = asked[0].sent();
        for seen in &asked[1..] {
            let from: u64 = seen
                .header("range")
                .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
                .unwrap_or_else(|| panic!("{fault:?}: no range from where it broke: {seen:?}"));
            if matches!(fault, Fault::Reset(_)) {
                assert!(from <= sent, "{fault:?}");
            } else {
                assert_eq!(from, sent, "{fault:?}");
            }
            let condition = seen.header("if-range").expect("If-Range");
            assert_eq!(condition.starts_with('"'), validators == Validators::Both, "{condition}");
            assert_eq!(seen.status, 206);
            sent = from + seen.sent();
        }
        site.upstream.stop().await;
        site.server.get("files/big").await.is(&body);
    }
}

/// One refused try to resume is not the end of it, and tries are not made at once after each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_try_to_resume_is_one_try() {
    let (site, body) = site_with(Laptop, 3 * MIB).await;
    site.upstream.spoil_times(PATH, 1, Fault::Truncated(MIB as u64));
    let gate = site.upstream.gate(PATH, MIB as u64);
    let request = Request::get(TARGET);
    let mut client = Connection::open(site.server.address()).await;
    client.send(&request).await;
    client.head(&request).await;
    gate.reached().await;
    site.upstream.spoil_times(PATH, 2, Fault::Status(503));
    let began = std::time::Instant::now();
    gate.open();
    let (got, end) = client.rest().await;
    assert_eq!(end, End::Whole);
    assert_same(&got, &body, "what the client got");
    assert!(began.elapsed().as_millis() >= 100 + 200 + 400, "upstream is asked again at once: {:?}", began.elapsed());
    let statuses: Vec<_> = site.upstream.log().of(PATH).iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [200, 503, 503, 206]);
}

/// Whoever broke off is asked again, and only he: another source that is well by itself has nothing to say to that.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_broke_off_may_refuse_once() {
    let setup = Setup::new(Laptop).await;
    let body = noise(1, 3 * MIB);
    setup.upstream.put(PATH, body.clone());
    let (base, mirror) = (format!("/@base{PATH}"), format!("/@mirror{PATH}"));
    let source = |tag: &str| setup.upstream.url(&format!("/@{tag}/generic"));
    let remote = Remote::new("some", "generic", source("base")).set("mirrors", serde_json::json!([source("mirror")]));
    let site = setup.remote(remote).start().await;
    site.upstream.spoil_times(&base, 1, Fault::Truncated(MIB as u64));
    let gate = site.upstream.gate(&base, MIB as u64);
    let request = Request::get("/api/some/big");
    let mut client = Connection::open(site.server.address()).await;
    client.send(&request).await;
    client.head(&request).await;
    gate.reached().await;
    site.upstream.spoil_times(&base, 1, Fault::Status(503));
    gate.open();
    let (got, end) = client.rest().await;
    assert_eq!(end, End::Whole);
    assert_same(&got, &body, "what the client got");
    let statuses: Vec<_> = site.upstream.log().of(&base).iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [200, 503, 206]);
    assert!(site.upstream.log().of(&mirror).is_empty(), "{:?}", site.upstream.log().lines());
}

/// Where no length was declared, only the total says what all the rest is.
#[tokio::test(flavor = "multi_thread")]
async fn a_piece_of_the_rest_is_not_the_rest() {
    let (site, body) = site_with(Laptop, 3 * MIB).await;
    site.upstream.spoil_times(PATH, 1, Fault::ChunkedCut(MIB as u64));
    site.upstream.spoil(PATH, Fault::Short(MIB));
    let reply = site.server.get("files/big").await;
    assert!(
        reply.end == End::Cut && body.starts_with(&reply.body),
        "a part ended as if it were whole: {:?}",
        reply.head
    );
    let statuses = || site.upstream.log().of(PATH).iter().map(|seen| seen.status).collect::<Vec<_>>();
    assert_eq!(statuses(), [200, 206]);
    site.server.get("files/big").await.is(&body);
    assert_eq!(statuses(), [200, 206, 200], "nothing of it was kept");
}

/// Never silent for long, and never done: it does not keep the repository's turn for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_gives_its_turn_to_the_next() {
    let setup = Setup::new(Laptop).await;
    let remote = Remote::new("narrow", "generic", setup.upstream.url("/generic"));
    let site = setup.remote(remote.set("max_parallel", 1).set("idle_timeout", "1s")).start().await;
    let (slow, next) = (noise(1, MIB), noise(2, MIB));
    site.upstream.put(PATH, slow.clone());
    site.upstream.put("/generic/next", next.clone());
    site.upstream.spoil(PATH, Fault::Drip(50));
    let request = Request::get("/api/narrow/big");
    let mut client = Connection::open(site.server.address()).await;
    client.send(&request).await;
    client.head(&request).await;
    // It has the only turn.
    site.server.get("narrow/next").await.is(&next);
    let (got, end) = client.rest().await;
    assert_eq!(end, End::Cut);
    assert!(slow.starts_with(&got), "the client got bytes of something else");
    assert_eq!(site.upstream.log().lines(), ["GET /generic/big 200", "GET /generic/next 200"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_resumed_is_discarded() {
    let at = MIB as u64;
    // Nothing to name the content by; a rest that is refused; a whole in place of the rest; other content by now.
    let cases: [(Validators, &[Fault], bool); 4] = [
        (Validators::None, &[], false),
        (Validators::Both, &[Fault::Status(503)], false),
        (Validators::Both, &[Fault::Deaf], false),
        (Validators::Both, &[], true),
    ];
    for (validators, then, changes) in cases {
        let (site, body) = site_with(Laptop, 3 * MIB).await;
        let other = noise(2, 3 * MIB);
        site.upstream.validators(validators);
        site.upstream.spoil_times(PATH, 1, Fault::Truncated(at));
        let gate = site.upstream.gate(PATH, at);
        let mut client = Connection::open(site.server.address()).await;
        let request = Request::get(TARGET);
        client.send(&request).await;
        client.head(&request).await;
        gate.reached().await;
        for fault in then {
            site.upstream.spoil(PATH, fault.clone());
        }
        if changes {
            site.upstream.put(PATH, other.clone());
        }
        gate.open();
        let (got, end) = client.rest().await;
        assert_eq!(end, End::Cut, "a broken body ended as if it were whole");
        assert!(body.starts_with(&got), "the client got bytes of something else");

        site.upstream.heal();
        let expected = if changes { &other } else { &body };
        site.server.get("files/big").await.is(expected);
        let last = site.upstream.log().of(PATH).pop().expect("a request");
        assert_eq!((last.header("range"), last.status), (None, 200), "nothing of the broken body was kept");
        site.upstream.stop().await;
        site.server.get("files/big").await.is(expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_far_ahead_does_not_wait_for_the_fill() {
    let (site, body) = site_with(Laptop, 30 * MIB).await;
    let gate = site.upstream.gate(PATH, MIB as u64);
    let filling = tokio::spawn({
        let address = site.server.address();
        async move { http::ask(address, &Request::get(TARGET)).await }
    });
    gate.reached().await;
    // Its own upstream answer begins at the range and is shorter than where the gate stands.
    let (first, last) = (25 * MIB, 25 * MIB + 99_999);
    let far = Request::get(TARGET).with("Range", format!("bytes={first}-{last}"));
    let reply = site.server.ask(&far).await;
    reply.is_with(206, &body[first..=last]);
    assert_eq!(reply.must("content-range"), format!("bytes {first}-{last}/{}", body.len()));
    gate.open();
    filling.await.expect("the filling client").is(&body);
    let asked: Vec<_> =
        site.upstream.log().of(PATH).iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(asked, [None, Some(format!("bytes={first}-{last}"))]);
    // What was passed through is not the file; the fill is.
    site.upstream.stop().await;
    site.server.get("files/big").await.is(&body);
}

/// Sources may have different builds under one name: a range is of the one that the fill brings, or is cut out of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_far_ahead_is_of_what_the_fill_brings() {
    let setup = Setup::new(Laptop).await;
    let [ours, theirs, later] = [1, 2, 3].map(|seed| noise(seed, 30 * MIB));
    setup.upstream.put(PATH, ours.clone());
    setup.upstream.put("/other/big", theirs);
    let remote = Remote::new("some", "generic", setup.upstream.url("/generic"))
        .set("mirrors", serde_json::json!([setup.upstream.url("/other")]));
    let site = setup.remote(remote).start().await;
    let gate = site.upstream.gate(PATH, MIB as u64);
    let request = Request::get("/api/some/big");
    let mut filling = Connection::open(site.server.address()).await;
    filling.send(&request).await;
    filling.head(&request).await;
    gate.reached().await;
    // From now on the mirror is the first to be asked.
    site.upstream.put("/other/small", &b"small"[..]);
    site.upstream.spoil("/generic/small", Fault::Status(503));
    site.server.get("some/small").await.is(b"small");

    let (first, last) = (25 * MIB, 25 * MIB + 99_999);
    let far = request.clone().with("Range", format!("bytes={first}-{last}"));
    site.server.ask(&far).await.is_with(206, &ours[first..=last]);
    // Nor is it of what has come to the same place since.
    site.upstream.put(PATH, later);
    let mut waiting = Connection::open(site.server.address()).await;
    waiting.send(&far).await;
    site.upstream.log().reaches(PATH, 3).await;
    gate.open();
    waiting.reply(&far).await.is_with(206, &ours[first..=last]);
    let (got, end) = filling.rest().await;
    assert_eq!(end, End::Whole);
    assert_same(&got, &ours, "what the filling client got");
    assert!(site.upstream.log().of("/other/big").is_empty(), "{:?}", site.upstream.log().lines());
}

/// A client that has the beginning of another content must not be given the end of this one, and only the whole says which it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_far_ahead_of_another_content_is_the_whole() {
    let (site, body) = site_with(Laptop, 30 * MIB).await;
    let gate = site.upstream.gate(PATH, MIB as u64);
    let filling = tokio::spawn({
        let address = site.server.address();
        async move { http::ask(address, &Request::get(TARGET)).await }
    });
    gate.reached().await;
    let far = Request::get(TARGET).with("Range", format!("bytes={}-", 25 * MIB));
    let mut resuming = Vec::new();
    for condition in ["\"of-the-content-before\"", "Sat, 01 Jan 2000 00:00:00 GMT"] {
        let request = far.clone().with("If-Range", condition);
        let mut connection = Connection::open(site.server.address()).await;
        connection.send(&request).await;
        let head = connection.head(&request).await;
        assert_eq!((head.status, head.length()), (200, Some(body.len() as u64)), "{condition}: {head:?}");
        resuming.push(connection);
    }
    site.server.ask(&far.clone().with("If-Match", "\"of-the-content-before\"")).await.problem(412);
    gate.open();
    filling.await.expect("the filling client").is(&body);
    for mut connection in resuming {
        let (got, end) = connection.rest().await;
        assert_eq!(end, End::Whole);
        assert_same(&got, &body, "what a resuming client got");
    }
    assert_eq!(site.upstream.log().lines(), ["GET /generic/big 200"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_nearby_is_cut_out_of_the_fill() {
    let (site, body) = site_with(Laptop, 6 * MIB).await;
    let gate = site.upstream.gate(PATH, MIB as u64);
    let near = Request::get(TARGET).with("Range", format!("bytes=100-199,{}-{}", 3 * MIB, 3 * MIB + 9));
    let mut client = Connection::open(site.server.address()).await;
    client.send(&near).await;
    assert_eq!(client.head(&near).await.status, 206);
    // The first part is there already.
    let first = client.bytes(250).await;
    assert!(first.windows(100).any(|window| window == &body[100..200]), "the first part waits for the second");
    let head = site.server.ask(&Request::head(TARGET)).await;
    assert_eq!(head.length(), Some(body.len() as u64));
    gate.open();
    let (rest, end) = client.rest().await;
    assert_eq!(end, End::Whole);
    assert!(rest.windows(10).any(|window| window == &body[3 * MIB..3 * MIB + 10]));
    assert_eq!(site.upstream.log().lines(), ["GET /generic/big 200"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_of_different_files_do_not_wait_for_each_other() {
    let (site, body) = site_with(Laptop, 2 * MIB).await;
    let gate = site.upstream.gate(PATH, 0);
    let mut waiting = Connection::open(site.server.address()).await;
    let request = Request::get(TARGET);
    waiting.send(&request).await;
    gate.reached().await;
    for number in 0..50 {
        let other = noise(100 + number, 50_000);
        site.upstream.put(&format!("/generic/other-{number}"), other.clone());
        site.server.get(&format!("files/other-{number}")).await.is(&other);
    }
    gate.open();
    waiting.reply(&request).await.is(&body);
}
