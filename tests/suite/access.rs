//! Who may do what, from outside: tokens as people make them, clients as they send them, replicas that agree.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::clients::{Apk, Dnf, Zypper, curl};
use crate::support::http::{Reply, Request};
use crate::support::remotes::Remote;
use crate::support::server::{ADMINISTRATOR, Plan, Server};
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

/// A site with repositories that only those may read who have a token: `closed`, a remote, and `mine`, a local one.
async fn with_closed(backend: Backend) -> Setup {
    let setup = Setup::new(backend).await;
    let closed = Remote::new("closed", "generic", setup.upstream.url("/generic")).set("anonymous_read", false);
    let mine = Remote::local("mine", "generic").set("anonymous_read", false).set("overwrite", true);
    setup.remote(closed).remote(mine)
}

/// What `artifactapi token new` prints.
async fn new_token(plan: &Plan, name: &str, grants: &[&str]) -> String {
    let grants: Vec<&str> = grants.iter().flat_map(|grant| ["--grant", grant]).collect();
    let printed = plan.run(&[&["token", "new", name], &grants[..]].concat()).await.succeeded();
    let token = printed.trim_end();
    assert!(token.starts_with("aa_") && token.len() == 51, "{printed}");
    token.to_owned()
}

fn with(request: Request, token: Option<&str>) -> Request {
    match token {
        Some(token) => request.with("Authorization", format!("Bearer {token}")),
        None => request,
    }
}

async fn get(server: &Server, path: &str, token: Option<&str>) -> Reply {
    server.ask(&with(Request::get(path), token)).await
}

/// Every route against every grant and nobody, on a repository that anybody may read and one that not.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_every_grant_and_nobody() {
    let site = with_closed(Laptop).await.start().await;
    let server = &site.server;
    const GRANTS: [&str; 4] = ["read", "write", "delete", "admin"];
    let mut callers = vec![(String::from("nobody"), None, "")];
    for grant in GRANTS {
        for scope in ["closed", "*", "rpm"] {
            let name = format!("{}-{grant}", scope.replace('*', "all"));
            let grants = format!("{scope}={grant}");
            // What is granted on the one closed repository is granted on the other.
            let other = grants.replace("closed", "mine");
            let token = new_token(&server.plan, &name, &[&grants, &other]).await;
            // On another repository a grant is worth nothing here.
            callers.push((grants, Some(token), if scope == "rpm" { "" } else { grant }));
        }
    }
    callers.push(("the administrator".to_owned(), Some(ADMINISTRATOR.to_owned()), "admin"));
    let routes = [
        ("GET", "/api/closed/10k.bin", "read"),
        ("HEAD", "/api/closed/10k.bin", "read"),
        ("GET", "/api/closed/no-such-file", "read"),
        ("GET", "/artifacts/closed", "read"),
        ("GET", "/packages/closed", "read"),
        ("GET", "/snapshots/closed", "read"),
        ("GET", "/snapshots/closed/x", "read"),
        ("PUT", "/snapshots/closed/x?tag=t", "write"),
        ("DELETE", "/snapshots/closed/x?tag=t", "write"),
        ("POST", "/cache-artifact", "write"),
        ("PUT", "/api/mine/a.txt", "write"),
        ("GET", "/api/mine/a.txt", "read"),
        ("HEAD", "/api/mine/a.txt", "read"),
        ("GET", "/api/mine/", "read"),
        ("DELETE", "/api/mine/a.txt", "delete"),
        ("POST", "/api/mine/", "write"),
        ("GET", "/api/files/10k.bin", ""),
        ("HEAD", "/api/files/10k.bin", ""),
        ("GET", "/artifacts/files", ""),
        ("GET", "/packages/files", ""),
        ("GET", "/snapshots/files", ""),
        ("GET", "/", ""),
        ("GET", "/config", ""),
        ("GET", "/health", ""),
        ("GET", "/ready", ""),
        ("GET", "/metrics", ""),
        ("GET", "/openapi.json", ""),
    ];
    // Twice: what is held is answered another way than what is not.
    for _ in 0..2 {
        for (method, path, needed) in routes {
            for (who, token, grant) in &callers {
                let mut request = with(Request::new(method, path), token.as_deref());
                if method == "PUT" && path.starts_with("/api/") {
                    request = request.body(*b"hello");
                }
                if path == "/cache-artifact" {
                    request = request.json(&json!({ "remote": "closed", "paths": ["10k.bin"] }));
                }
                let reply = server.ask(&request).await;
                let what = format!("{method} {path} by {who}: {reply:?}");
                match (needed, token) {
                    _ if needed.is_empty() || *grant == needed || *grant == "admin" => {
                        assert!(!matches!(reply.status, 401 | 403 | 429), "{what}");
                    }
                    (_, None) => {
                        assert_eq!(reply.status, 401, "{what}");
                        assert_eq!(reply.must("www-authenticate"), "Basic realm=\"artifactapi\", Bearer");
                    }
                    (_, Some(_)) => assert_eq!(reply.status, 403, "{what}"),
                }
                let is_read = method == "GET" || method == "HEAD";
                if is_read && path.starts_with("/api/") && !path.contains("files") && reply.status == 200 {
                    assert!(reply.must("cache-control").starts_with("private"), "{what}");
                    assert!(reply.must("vary").contains("authorization"), "{what}");
                }
            }
        }
    }
    get(server, "/api/closed/10k.bin", Some(ADMINISTRATOR)).await.is(&fixture(1, "generic/10k.bin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_is_refused_by_every_replica_within_a_second() {
    let mut site = with_closed(Shared).await.start().await;
    let other = site.replica().await;
    let body = fixture(1, "generic/10k.bin");
    for round in 0..3 {
        let name = format!("ci-{round}");
        let token = new_token(&site.server.plan, &name, &["closed=read"]).await;
        for server in [&site.server, &other] {
            for _ in 0..3 {
                get(server, "/api/closed/10k.bin", Some(&token)).await.is(&body);
            }
        }
        if round == 2 {
            // Without Redis nobody is told.
            site.services.as_mut().expect("services").redis.kill().await;
        }
        let revoked = other.plan.run(&["token", "revoke", &name]).await.succeeded();
        assert!(revoked.contains("is revoked"), "{revoked}");
        let at = Instant::now();
        for server in [&site.server, &other] {
            until("the token to be refused", || async {
                (get(server, "/api/closed/10k.bin", Some(&token)).await.status == 401).then_some(())
            })
            .await;
        }
        assert!(at.elapsed().as_millis() < 1_000, "it took {:?}", at.elapsed());
    }
    other.plan.run(&["token", "revoke", "ci-0"]).await.failed_with("there is no token ci-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_listed_and_used() {
    let site = with_closed(Laptop).await.start().await;
    let plan = &site.server.plan;
    let token = new_token(plan, "ci", &["closed=read,write", "*=read"]).await;
    get(&site.server, "/api/closed/10k.bin", Some(&token)).await.has(200);
    until("the use to be noted", || async {
        let listed = plan.run(&["token", "list"]).await.succeeded();
        assert!(
            listed.starts_with("ci\t*=read closed=read,write\tmade 20") && listed.contains("never expires"),
            "{listed}"
        );
        assert!(!listed.contains(&token[..8]), "{listed}");
        listed.contains("last used 20").then_some(())
    })
    .await;
    for (arguments, why) in [
        (&["token", "new", "ci", "--grant", "*=read"][..], "there is a token ci already"),
        (&["token", "new", "x", "--grant", "nowhere=read"], "there is no repository \"nowhere\""),
        (&["token", "new", "x", "--grant", "closed=erase"], "\"erase\" is not a grant"),
        (&["token", "new", "x"], "--grant"),
        (&["token", "new", "a b", "--grant", "*=read"], "a token's name has"),
    ] {
        plan.run(arguments).await.failed_with(why);
    }
    let arguments = ["token", "new", "brief", "--grant", "closed=read", "--expires", "1s"];
    let brief = plan.run(&arguments).await.succeeded();
    let problem = until("it to expire", || async {
        let reply = get(&site.server, "/api/closed/10k.bin", Some(brief.trim_end())).await;
        (reply.status == 401).then(|| reply.problem(401))
    })
    .await;
    assert!(problem.detail.contains("has expired"), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_makes_a_token_for_the_administrator() {
    let setup = with_closed(Laptop).await.environment("ARTIFACTAPI_ADMIN_TOKEN", "");
    let mut site = setup.start().await;
    let file = site.server.plan.data().join("admin-token");
    let line = site.server.says(&["one for the administrator was made", "admin-token"]).await;
    let token = std::fs::read_to_string(&file).expect("its file");
    assert!(!line.contains(&token[..8]));
    assert_eq!(std::fs::metadata(&file).expect("its file").permissions().mode() & 0o777, 0o600);
    for _ in 0..2 {
        let tag = with(Request::new("PUT", "/snapshots/closed/x?tag=t"), Some(token.trim_end()));
        site.server.ask(&tag).await.problem(404);
        site.server.stop().await;
        site.server.start_again().await;
    }
    assert_eq!(std::fs::read_to_string(&file).expect("its file"), token, "it is made once");
    let lines = site.server.lines().all();
    assert!(!lines.iter().any(|line| line.contains("was made")), "{lines:?}");
    site.server.plan.run(&["token", "revoke", "admin"]).await.succeeded();
    until("it to be refused", || async {
        (get(&site.server, "/api/closed/10k.bin", Some(token.trim_end())).await.status == 401).then_some(())
    })
    .await;
}

/// Two that start at once on an empty database make one token between them.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_make_one_token() {
    let mut site = Site::on(Shared).await;
    site.server.stop().await;
    let plans = [site.plan(), site.plan(), site.plan()].map(|mut plan| {
        plan.set("ARTIFACTAPI_ADMIN_TOKEN", "");
        plan
    });
    let [a, b, c] = plans;
    let (a, b, c) = tokio::join!(Server::start(a), Server::start(b), Server::start(c));
    let servers = [&a, &b, &c];
    let tokens: Vec<String> = servers
        .iter()
        .filter_map(|server| std::fs::read_to_string(server.plan.data().join("admin-token")).ok())
        .collect();
    let [token] = &tokens[..] else { panic!("{} tokens", tokens.len()) };
    for server in servers {
        let configuration = get(server, "/config", Some(token.trim_end())).await;
        let configuration: Value = serde_json::from_slice(&configuration.has(200).body).expect("JSON");
        assert!(configuration.get("access").is_some(), "the administrator's, everywhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_catalog_is_away_operators_tokens_work_and_others_may_read_for_a_while() {
    const OPERATORS: &str = "planted-token-of-a-job";
    let access =
        json!({ "tokens": [{ "name": "job", "token_env": "JOB", "grants": { "closed": ["read", "write"] } }] });
    let setup = with_closed(Shared).await.access(access).environment("JOB", OPERATORS);
    let mut site = setup.start().await;
    let body = fixture(1, "generic/10k.bin");
    let known = new_token(&site.server.plan, "known", &["*=admin"]).await;
    let unused = new_token(&site.server.plan, "unused", &["*=admin"]).await;
    for token in [OPERATORS, &known] {
        get(&site.server, "/api/closed/10k.bin", Some(token)).await.is(&body);
        site.server.ask(&with(Request::new("DELETE", "/snapshots/closed/x?tag=t"), Some(token))).await.problem(404);
    }
    site.server.get("files/10k.bin").await.is(&body);
    site.server.holds("files/10k.bin").await;
    until("the closed file to be kept", || async {
        let reply = get(&site.server, "/api/closed/10k.bin", Some(&known)).await;
        (reply.must("x-artifact-source") == "cache").then_some(())
    })
    .await;
    site.services.as_mut().expect("services").postgres.kill().await;

    for token in [OPERATORS, ADMINISTRATOR, &known] {
        get(&site.server, "/api/closed/10k.bin", Some(token)).await.is(&body);
    }
    let problem = get(&site.server, "/api/closed/10k.bin", Some(&unused)).await.problem(503);
    assert!(problem.detail.contains("whether the token still stands"), "{problem:?}");
    // Where anybody may read, a token that nobody can check locks nobody out.
    get(&site.server, "/api/files/10k.bin", Some(&unused)).await.is(&body);
    let batch = json!({ "remote": "closed", "paths": ["10k.bin"] });
    let cache = |token: &str| with(Request::new("POST", "/cache-artifact"), Some(token)).json(&batch);
    site.server.ask(&cache(OPERATORS)).await.has(200);
    for token in [&known, &unused] {
        // What the catalog said half a second ago is still good.
        let reply = until("changes to be refused", || async {
            let reply = site.server.ask(&cache(token)).await;
            (reply.status != 200).then_some(reply)
        })
        .await;
        reply.problem(503);
    }
    get(&site.server, "/api/closed/10k.bin", None).await.problem(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn package_managers_present_tokens() {
    let setup = Setup::new(Laptop).await.set("anonymous_read", false);
    let site = setup.start().await;
    let token = new_token(&site.server.plan, "clients", &["*=read"]).await;
    let base = format!("http://ci:{token}@{}/api", site.server.address());
    let nobody = format!("http://{}/api", site.server.address());

    let into = site.run.path("10k.bin");
    curl(&format!("{base}/files/10k.bin"), &into, &[]).await.succeeded();
    assert_eq!(std::fs::read(&into).expect("the file"), fixture(1, "generic/10k.bin"));
    curl(&format!("{nobody}/files/10k.bin"), &into, &["-u", &format!("ci:{token}")]).await.succeeded();
    curl(&format!("{nobody}/files/10k.bin"), &into, &[]).await.failed_with("401");

    let mut apk = Apk::new(&site.run, "apk", &format!("{base}/alpine"));
    apk.run(&["add", "extra"]).await.succeeded();
    assert!(apk.installed("extra").is_some());

    let dnf = Dnf::new(&site.run, "dnf", &format!("{base}/rpm/el9/x86_64"));
    dnf.run(&["install", "hello"]).await.succeeded();
    Dnf::new(&site.run, "nobody", &format!("{nobody}/rpm/el9/x86_64"))
        .run(&["install", "hello"])
        .await
        .failed_with("Cannot download repomd.xml");

    let zypper = Zypper::new(&site.run, "zypper", &format!("{base}/rpm/suse-like"));
    zypper.run(&["refresh"]).await.succeeded();
    zypper.run(&["install", "--no-recommends", "hello"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_the_audit() {
    let site = with_closed(Laptop).await.start().await;
    let token = new_token(&site.server.plan, "ci", &["closed=write"]).await;
    let batch = json!({ "remote": "closed", "paths": ["10k.bin"], "path": "/" });
    let ask = |batch: Value| with(Request::new("POST", "/cache-artifact"), Some(&token)).json(&batch);
    site.server.ask(&ask(batch)).await.has(200);
    let problem =
        site.server.ask(&with(Request::new("PUT", "/snapshots/closed/x?tag=t"), Some(&token))).await.problem(404);
    let refused = site.server.ask(&ask(json!({ "remote": "files", "paths": ["10k.bin"] }))).await.problem(403);
    for (words, request_id) in [
        (&["\"what\":\"cache\"", "\"outcome\":\"done\"", "\"repository\":\"closed\"", "\"path\":\"/\""][..], None),
        (&["\"what\":\"tag\"", "\"outcome\":\"failed\"", "\"status\":404", "\"path\":\"x\""], Some(problem.request_id)),
        (
            &["\"what\":\"POST\"", "\"outcome\":\"refused\"", "\"status\":403", "\"repository\":\"files\""],
            Some(refused.request_id),
        ),
    ] {
        let always = ["artifactapi::audit", "\"who\":\"ci\"", "\"token\":\"catalog:1\"", "\"from\":\"127.0.0.1\""];
        let line = site.server.says(&[&always, words].concat()).await;
        assert!(request_id.is_none_or(|id| line.contains(&format!("\"request_id\":\"{id}\""))), "{line}");
    }
}

/// A line for each file that was put in or deleted, whatever it was put in by; of a form that came to nothing, one for its folder.
#[tokio::test(flavor = "multi_thread")]
async fn what_people_put_in_is_in_the_audit() {
    let mut site = with_closed(Laptop).await.start().await;
    let token = new_token(&site.server.plan, "ci", &["mine=write", "mine=delete"]).await;
    let ask = |method: &str, path: &str| with(Request::new(method, path), Some(&token));
    let form = |names: &[&str]| {
        let part = |name: &&str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\nx\r\n")
        };
        let body = names.iter().map(part).collect::<String>() + "--b--\r\n";
        ask("POST", "/api/mine/folder").with("Content-Type", "multipart/form-data; boundary=b").body(body)
    };
    site.server.ask(&ask("PUT", "/api/mine/one").body(*b"x")).await.has(201);
    site.server.ask(&ask("PUT", "/api/mine/two").with("X-Checksum-Sha256", "0".repeat(64)).body(*b"x")).await.has(422);
    site.server.ask(&form(&["a", "b"])).await.has(201);
    site.server.ask(&form(&["c", "../d"])).await.has(400);
    site.server.ask(&ask("DELETE", "/api/mine/one")).await.has(200);
    site.server.ask(&ask("DELETE", "/api/mine/one")).await.has(404);
    let expected = [
        ("upload", "one", "done", None),
        ("upload", "two", "failed", Some(422)),
        ("upload", "folder/a", "done", None),
        ("upload", "folder/b", "done", None),
        ("upload", "folder", "failed", Some(400)),
        ("delete", "one", "done", None),
        ("delete", "one", "failed", Some(404)),
    ];
    for (what, path, outcome, status) in expected {
        let words = [
            "artifactapi::audit".to_owned(),
            "\"who\":\"ci\"".to_owned(),
            "\"repository\":\"mine\"".to_owned(),
            format!("\"what\":\"{what}\""),
            format!("\"path\":\"{path}\""),
            format!("\"outcome\":\"{outcome}\""),
            status.map_or(String::new(), |status: u16| format!("\"status\":{status}")),
        ];
        site.server.says(&words.each_ref().map(String::as_str)).await;
    }
    site.server.stop().await;
    let lines = site.server.lines().all();
    assert_eq!(lines.iter().filter(|line| line.contains("artifactapi::audit")).count(), expected.len(), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_in_a_log_an_answer_or_an_error() {
    const OPERATORS: &str = "planted-token-of-a-job";
    let access = json!({ "tokens": [{ "name": "job", "token_env": "JOB", "grants": { "*": ["read"] } }] });
    let setup = with_closed(Laptop).await.access(access).environment("JOB", OPERATORS);
    let mut site = setup.environment("RUST_LOG", "trace").start().await;
    let right = new_token(&site.server.plan, "ci", &["closed=read"]).await;
    let wrong = format!("{}x", &right[..right.len() - 1]);
    let basic = BASE64_STANDARD.encode(format!("ci:{right}"));
    let mut answers = Vec::new();
    for token in [&*right, &*wrong, OPERATORS, ADMINISTRATOR, "planted-token-of-nobody"] {
        for (method, path) in [
            ("GET", "/api/closed/10k.bin"),
            ("GET", "/api/closed/../x"),
            ("PUT", "/snapshots/closed/x?tag=t"),
            ("GET", "/config"),
            ("GET", "/metrics"),
            ("GET", "/ready"),
            ("GET", "/"),
        ] {
            answers.push(site.server.ask(&with(Request::new(method, path), Some(token))).await);
        }
    }
    let request = Request::get("/api/closed/10k.bin").with("Authorization", format!("Basic {basic}"));
    answers.push(site.server.ask(&request).await);
    answers.push(get(&site.server, &format!("http://ci:{right}@test.invalid/api/closed/10k.bin"), None).await);
    let said = site.server.plan.run(&["token", "revoke", &right]).await.output;
    let listed = site.server.plan.run(&["token", "list"]).await.succeeded();
    site.server.stop().await;
    assert!(!listed.contains(&right), "{listed}");
    assert!(said.contains("a token's name"), "{said}");
    let log = site.server.lines().all();
    assert!(log.iter().any(|line| line.contains("\"TRACE\"")), "the log is at its most talkative");
    assert!(log.iter().any(|line| line.contains("a token was refused")), "failures are logged");
    for secret in [&*right, &wrong, &right[4..30], OPERATORS, ADMINISTRATOR, "planted-token-of-nobody", &basic] {
        if let Some(line) = log.iter().find(|line| line.contains(secret)) {
            panic!("{secret} is in the log: {line}");
        }
        for reply in &answers {
            let text = format!("{:?} {}", reply.head, String::from_utf8_lossy(&reply.body));
            assert!(!text.contains(secret), "{secret} is in an answer: {text}");
        }
    }
}
