//! An upstream that is known by a list.

use futures_util::future::join_all;

use super::*;
use crate::snapshots::snapshots;
use crate::support::http::End;
use crate::support::process::Signal;
use crate::support::remotes::yaml;
use crate::support::services::Backend::Laptop;
use crate::support::site::Setup;
use crate::support::testbed::generation;
use crate::support::upstream::Upstream;
use crate::support::upstream::fault::Fault;

/// A mirror of `FOLDER` under a tag.
fn mirror(upstream: &Upstream, tag: &str) -> String {
    upstream.url(&format!("/@{tag}/{FOLDER}/"))
}

/// The list is asked for as it stands, once; a generation comes from one mirror, and paths begin where the mirrors do.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_asked_for_once_and_one_mirror_gives_a_generation() {
    let setup = Setup::new(Laptop).await;
    let list = format!(
        "# mirrors\nftp://nowhere.invalid/\n{}\n{}",
        mirror(&setup.upstream, "a"),
        mirror(&setup.upstream, "b")
    );
    setup.upstream.put("/list", list);
    let remote = listed("mirrorlist", setup.upstream.url("/list?repo=some&arch=x86_64"));
    let site = setup.remote(remote).start().await;
    assert_eq!(site.upstream.log().lines(), [""; 0], "a list that nobody needs is not asked for");

    site.server.get(&format!("listed/{ENTRY}")).await.is(&content(1, ENTRY));
    snapshots(&site.server, &format!("listed/{ENTRY}"), 1).await;
    site.server.get(&format!("listed/{HELLO}")).await.is(&content(1, HELLO));
    let asked = site.upstream.log().all();
    assert_eq!(
        counted(&site.server, "upstream_requests").await,
        asked.len().to_string(),
        "the list among them: {asked:#?}"
    );
    assert_eq!(asked[0].target, "/list?repo=some&arch=x86_64");
    let elsewhere: Vec<_> = asked[1..].iter().filter(|seen| !seen.path.starts_with("/@a/rpm/plain-names/")).collect();
    assert!(asked.len() > 5 && elsewhere.is_empty(), "{elsewhere:#?}");
}

/// A mirror that sends damaged packages is asked after the others, and what it had not is had from another.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_sends_damage_goes_behind() {
    let setup = Setup::new(Laptop).await;
    setup.upstream.put("/list", format!("{}\n{}\n", mirror(&setup.upstream, "a"), mirror(&setup.upstream, "b")));
    setup.upstream.spoil(&format!("/@a/{FOLDER}/{HELLO}"), Fault::Corrupt(1_000));
    setup.upstream.spoil(&format!("/@a/{FOLDER}/{DOC}"), Fault::Status(404));
    let remote = listed("mirrorlist", setup.upstream.url("/list"));
    let site = setup.remote(remote).start().await;
    site.server.get(&format!("listed/{ENTRY}")).await.is(&content(1, ENTRY));
    snapshots(&site.server, &format!("listed/{ENTRY}"), 1).await;
    site.upstream.log().clear();

    let (hello, right) = (format!("listed/{HELLO}"), content(1, HELLO));
    let first = site.server.get(&hello).await;
    assert!(first.status == 200 && (first.end == End::Cut || first.body == right), "{first:?}");
    site.server.get(&hello).await.is(&right);
    site.server.get(&format!("listed/{LIBS}")).await.is(&content(1, LIBS));
    site.server.get(&format!("listed/{DOC}")).await.is(&content(1, DOC));
    let expected = [("a", HELLO), ("b", HELLO), ("b", LIBS), ("b", DOC)];
    let expected = expected.map(|(tag, name)| format!("GET /@{tag}/{FOLDER}/{name} 200"));
    assert_eq!(site.upstream.log().lines(), expected);
}

/// A metalink knows which index is right: a mirror with an older one is passed over, and not asked first the next time.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_lags_behind_a_metalink_is_passed_over() {
    let setup = Setup::new(Laptop).await.set("cache.index_ttl", 0);
    let (lagging, good) = (&setup.upstream, Upstream::serving(&generation(2)).await);
    let newest = content(2, ENTRY);
    lagging.put("/metalink", metalink(&[&newest], &[mirror(lagging, "lagging"), mirror(&good, "good")]));
    let remote = listed("metalink", lagging.url("/metalink")).set("cache.index_ttl", 0);
    let site = setup.remote(remote).start().await;
    let at_lagging = format!("/@lagging/{FOLDER}/{ENTRY}");
    site.server.get(&format!("listed/{ENTRY}")).await.is(&newest);
    snapshots(&site.server, &format!("listed/{ENTRY}"), 1).await;
    site.server.get(&format!("listed/{ENTRY}")).await.is(&newest);
    assert_eq!(site.upstream.log().of(&at_lagging).len(), 1);
    assert_eq!(
        site.upstream.log().of("/metalink").len(),
        2,
        "an index that is looked at again has its list looked at, too"
    );
    let others: Vec<_> = site.upstream.log().all().into_iter().filter(|seen| seen.path != at_lagging).collect();
    assert!(others.iter().all(|seen| seen.path == "/metalink"), "the lagging mirror gave something else: {others:#?}");
    assert_eq!(counted(&site.server, "indexes_unlisted").await, "1");
    site.server.says(&["the metalink does not know this mirror's index"]).await;
}

/// Alternates are right, too: what is held stays, and an index that is an alternate is taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_index_that_the_metalink_knows_is_right() {
    let setup = Setup::new(Laptop).await;
    let (older, newest) = (content(1, ENTRY), content(2, ENTRY));
    setup.upstream.put("/metalink", metalink(&[&newest, &older], &[mirror(&setup.upstream, "a")]));
    let remote = listed("metalink", setup.upstream.url("/metalink"));
    let site = setup.remote(remote).start().await;
    site.server.get(&format!("listed/{ENTRY}")).await.is(&older);
    assert_eq!(counted(&site.server, "indexes_unlisted").await, "0");
}

/// If no mirror has what the list knows, the list may be behind: it is read again, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_metalink_that_is_behind_is_read_again() {
    let setup = Setup::new(Laptop).await;
    let mirrors = [mirror(&setup.upstream, "a")];
    let (right, other) = (content(1, ENTRY), content(2, ENTRY));
    setup.upstream.put("/behind", metalink(&[&other], &mirrors));
    setup.upstream.put("/metalink", metalink(&[&right], &mirrors));
    setup.upstream.spoil_times("/metalink", 1, Fault::Redirect(302, "/behind".to_owned()));
    let remotes = [
        listed("metalink", setup.upstream.url("/metalink")),
        Remote::listed("wrong", "metalink", setup.upstream.url("/behind")),
    ];
    let [remote, wrong] = remotes;
    let site = setup.remote(remote).remote(wrong).start().await;

    let problem = site.server.get(&format!("wrong/{ENTRY}")).await.problem(502);
    assert!(problem.detail.contains("an index that the metalink does not know"), "{problem:?}");
    let entry = format!("/@a/{FOLDER}/{ENTRY}");
    let round = ["GET /behind 200".to_owned(), format!("GET {entry} 200")];
    assert_eq!(site.upstream.log().lines(), [&round[..], &round[..]].concat());

    site.upstream.log().clear();
    site.server.get(&format!("listed/{ENTRY}")).await.is(&right);
    let lines = site.upstream.log().lines();
    let expected = [
        "GET /metalink 302".to_owned(),
        "GET /behind 200".to_owned(),
        format!("GET {entry} 200"),
        "GET /metalink 200".to_owned(),
        format!("GET {entry} 200"),
    ];
    assert_eq!(lines[..5], expected);
}

/// What is held and unknown to the metalink is not confirmed by a mirror that has just that; it is served for want of better.
#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_mirror_does_not_confirm_what_is_held() {
    let setup = Setup::new(Laptop).await;
    let mirrors = [mirror(&setup.upstream, "a")];
    let (older, newest) = (content(1, ENTRY), content(2, ENTRY));
    setup.upstream.put("/metalink", metalink(&[&older], &mirrors));
    let remote = listed("metalink", setup.upstream.url("/metalink")).set("cache.index_ttl", 0);
    let site = setup.remote(remote).start().await;
    site.server.get(&format!("listed/{ENTRY}")).await.is(&older);
    snapshots(&site.server, &format!("listed/{ENTRY}"), 1).await;

    site.upstream.put("/metalink", metalink(&[&newest], &mirrors));
    site.upstream.log().clear();
    let stale = site.server.get(&format!("listed/{ENTRY}")).await;
    assert!(stale.is(&older).must("cache-status").contains("stale"), "{stale:?}");
    let entry = format!("GET /@a/{FOLDER}/{ENTRY} 200");
    let round = ["GET /metalink 200".to_owned(), entry];
    assert_eq!(site.upstream.log().lines(), [&round[..], &round[..]].concat());
}

/// Without a list, and without an older one, nothing can be had. With an older one everything can. Its server alone is told
/// the password.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_list_is_better_than_none() {
    let setup = Setup::new(Laptop).await;
    let lists = Upstream::serving(&setup.run.folder("nothing")).await;
    lists.put("/list", format!("{}\n", mirror(&setup.upstream, "a")));
    lists.stop().await;
    let remote = listed("mirrorlist", lists.url("/list")).set("token", "secret-word").set("cache.index_ttl", 0);
    let site = setup.remote(remote).start().await;

    let problem = site.server.get(&format!("listed/{HELLO}")).await.problem(502);
    assert!(problem.detail.contains("gave no list of mirrors"), "{problem:?}");
    assert!(problem.detail.contains(&lists.address().to_string()), "{problem:?}");
    site.server.get(&format!("listed/{ENTRY}")).await.problem(502);
    lists.start().await;
    site.server.get(&format!("listed/{ENTRY}")).await.is(&content(1, ENTRY));
    snapshots(&site.server, &format!("listed/{ENTRY}"), 1).await;
    assert!(lists.log().all().iter().all(|seen| seen.header("authorization") == Some("Bearer secret-word")));

    // A page in its place is as bad as nothing at all.
    lists.put("/list", "<html><body>We are moving.</body></html>");
    site.server.get(&format!("listed/{ENTRY}")).await.is(&content(1, ENTRY));
    site.server.says(&["the list of mirrors stays as it was", "malformed"]).await;
    lists.stop().await;
    let confirmed = site.server.get(&format!("listed/{ENTRY}")).await;
    assert!(confirmed.is(&content(1, ENTRY)).must("cache-status").contains("fwd-status=304"), "{confirmed:?}");
    site.server.get(&format!("listed/{HELLO}")).await.is(&content(1, HELLO));
    let told = |seen: &crate::support::upstream::Seen| seen.header("authorization").is_some();
    assert!(!site.upstream.log().all().iter().any(told), "a mirror was told the password");
}

/// However many need a list, it is asked for once; who has an old one does not wait for the one who asks for a new one.
#[tokio::test(flavor = "multi_thread")]
async fn one_asks_for_a_list_and_nobody_waits_who_has_one() {
    let setup = Setup::new(Laptop).await;
    setup.upstream.put("/list", format!("{}\n", mirror(&setup.upstream, "a")));
    let remote = listed("mirrorlist", setup.upstream.url("/list")).set("cache.index_ttl", 0);
    let site = setup.remote(remote).start().await;
    let entry = format!("listed/{ENTRY}");
    let cold = [HELLO, DOC].map(|name| (format!("listed/{name}"), content(1, name)));
    let replies = join_all(cold.iter().map(|(path, _)| site.server.get(path))).await;
    for (reply, (_, right)) in replies.iter().zip(&cold) {
        reply.is(right);
    }
    assert_eq!(site.upstream.log().of("/list").len(), 1);
    site.server.get(&entry).await.is(&content(1, ENTRY));
    snapshots(&site.server, &entry, 1).await;

    let gate = site.upstream.gate("/list", 0);
    let meanwhile = async {
        gate.reached().await;
        site.server.get(&format!("listed/{LIBS}")).await.is(&content(1, LIBS));
        gate.open();
    };
    let (index, ()) = tokio::join!(site.server.get(&entry), meanwhile);
    index.is(&content(1, ENTRY));
}

/// Another list, by another reading of the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn another_list_takes_effect_with_the_configuration() {
    let setup = Setup::new(Laptop).await;
    setup.upstream.put("/one", format!("{}\n", mirror(&setup.upstream, "a")));
    setup.upstream.put("/two", format!("{}\n", mirror(&setup.upstream, "b")));
    let remote = listed("mirrorlist", setup.upstream.url("/one"));
    let site = setup.remote(remote.clone()).start().await;
    site.server.get(&format!("listed/{HELLO}")).await.is(&content(1, HELLO));
    let described = remote.clone().set("description", "The same list");
    let other = remote.set("mirrorlist", site.upstream.url("/two"));
    for (remote, word) in [(described, "\"generation\":2"), (other, "\"generation\":3")] {
        site.server.plan.configure(&yaml(&[remote]));
        site.server.signal(Signal::HUP);
        site.server.says(&["configuration in force", word]).await;
        let name = if word.ends_with('2') { DOC } else { LIBS };
        site.server.get(&format!("listed/{name}")).await.is(&content(1, name));
    }
    let expected = [
        "GET /one 200".to_owned(),
        format!("GET /@a/{FOLDER}/{HELLO} 200"),
        format!("GET /@a/{FOLDER}/{DOC} 200"),
        "GET /two 200".to_owned(),
        format!("GET /@b/{FOLDER}/{LIBS} 200"),
    ];
    assert_eq!(site.upstream.log().lines(), expected);
}
