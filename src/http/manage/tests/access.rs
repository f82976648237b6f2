//! The gate in front of every route.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use super::{ADMINISTRATOR, Answered, Server};
use crate::access::{Grant, Token};
use crate::http::manage::openapi;
use crate::store::catalog::tokens::{Created, NewToken};

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing, and no token is looked at.
    Nothing,
    /// Nothing; it shows what whoever asks may see.
    WhoAsks,
    /// The same, and a wrong token is as good as none.
    Probes,
    /// A grant on the repository.
    Grant(Grant),
}

impl Needs {
    fn takes_wrong_tokens(self) -> bool {
        matches!(self, Self::Nothing | Self::Probes)
    }
}

/// Method, path as documented, path as asked, body, and what it needs. `REPOSITORY` is put in.
const ROUTES: &[(&str, &str, &str, &str, Needs)] = &[
    ("GET", "/api/{repository}/{path}", "/api/REPOSITORY/a.txt", "", Needs::Grant(Grant::Read)),
    ("HEAD", "/api/{repository}/{path}", "/api/REPOSITORY/a.txt", "", Needs::Grant(Grant::Read)),
    ("PUT", "/api/{repository}/{path}", "/api/REPOSITORY/a.txt", "x", Needs::Grant(Grant::Write)),
    ("POST", "/api/{repository}/{path}", "/api/REPOSITORY/a.txt", "x", Needs::Grant(Grant::Write)),
    ("DELETE", "/api/{repository}/{path}", "/api/REPOSITORY/a.txt", "", Needs::Grant(Grant::Delete)),
    ("GET", "/artifacts/{remote}", "/artifacts/REPOSITORY", "", Needs::Grant(Grant::Read)),
    ("GET", "/packages/{repository}", "/packages/REPOSITORY", "", Needs::Grant(Grant::Read)),
    ("GET", "/snapshots/{repository}", "/snapshots/REPOSITORY", "", Needs::Grant(Grant::Read)),
    ("GET", "/snapshots/{repository}/{root}", "/snapshots/REPOSITORY/x", "", Needs::Grant(Grant::Read)),
    ("PUT", "/snapshots/{repository}/{root}", "/snapshots/REPOSITORY/x?tag=t", "", Needs::Grant(Grant::Write)),
    ("DELETE", "/snapshots/{repository}/{root}", "/snapshots/REPOSITORY/x?tag=t", "", Needs::Grant(Grant::Write)),
    (
        "POST",
        "/cache-artifact",
        "/cache-artifact",
        r#"{"remote": "REPOSITORY", "paths": ["a.txt"]}"#,
        Needs::Grant(Grant::Write),
    ),
    ("GET", "/", "/", "", Needs::WhoAsks),
    ("GET", "/config", "/config", "", Needs::WhoAsks),
    ("GET", "/health", "/health?ready", "", Needs::Probes),
    ("GET", "/ready", "/ready", "", Needs::Probes),
    ("GET", "/metrics", "/metrics", "", Needs::Nothing),
    ("GET", "/openapi.json", "/openapi.json", "", Needs::Nothing),
];

impl Server {
    /// A token with these grants.
    async fn token(&self, name: &str, grants: &str) -> Token {
        let token = Token::random().expect("random");
        let new = NewToken {
            name: name.parse().expect("a name"),
            hash: token.hash(),
            grants: grants.parse().expect("grants"),
            created_at: std::time::SystemTime::UNIX_EPOCH,
            expires_at: None,
        };
        assert!(matches!(self.tokens.create(&new).await, Ok(Created::Made(_))));
        token
    }

    pub(super) async fn ask(&self, method: &str, path: &str, body: &str, token: Option<&str>) -> Answered {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }
}

/// Every documented route is in the table, says in the document what it needs, and keeps to it: for nobody, for a token of each
/// grant on this repository, on all and on another, and for a wrong token; where anybody may read, and where not.
#[tokio::test]
async fn every_route_every_grant_and_nobody() {
    let server = Server::start().await;
    server.stage.serving();
    for repository in ["files", "closed"] {
        server.upstream.put(&format!("{repository}/a.txt"), b"hello");
    }
    let mut callers = vec![(None, None)];
    for scope in ["files", "closed", "*", "ours"] {
        for grant in Grant::ALL {
            let name = format!("{}-{grant}", if scope == "*" { "all" } else { scope });
            let token = server.token(&name, &format!("{scope}={grant}")).await;
            callers.push((Some(token.expose().to_owned()), Some((scope, grant))));
        }
    }
    for (method, _, path, body, needs) in ROUTES {
        for repository in ["files", "closed", "ours"] {
            let (path, body) = (path.replace("REPOSITORY", repository), body.replace("REPOSITORY", repository));
            for (token, given) in &callers {
                let answer = server.ask(method, &path, &body, token.as_deref()).await;
                let held = |needed: Grant| {
                    let fits = |scope: &str| scope == "*" || scope == repository;
                    given.is_some_and(|(scope, grant)| fits(scope) && (grant == needed || grant == Grant::Admin))
                };
                let expected = match needs {
                    Needs::Nothing | Needs::WhoAsks | Needs::Probes => None,
                    Needs::Grant(Grant::Read) if repository != "closed" => None,
                    Needs::Grant(needed) if held(*needed) => None,
                    // No token helps there, and who may read it is told so.
                    Needs::Grant(_) if path.starts_with("/api/") && repository == "files" => Some(405),
                    Needs::Grant(_) if path.starts_with("/api/") && repository == "closed" && held(Grant::Read) => {
                        Some(405)
                    }
                    Needs::Grant(_) if token.is_none() => Some(401),
                    Needs::Grant(_) => Some(403),
                };
                let status = answer.status.as_u16();
                let what = format!("{method} {path} with {given:?}: {status} {}", answer.text());
                match expected {
                    Some(expected) => assert_eq!(status, expected, "{what}"),
                    None => assert!(!matches!(status, 401 | 403 | 429 | 500..), "{what}"),
                }
                if status == 401 {
                    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"artifactapi\", Bearer");
                }
            }
            let wrong = Token::random().expect("random");
            let answer = server.ask(method, &path, &body, Some(wrong.expose())).await;
            let status = answer.status.as_u16();
            // In the end there were too many wrong ones.
            let refused = matches!(status, 401 | 429);
            assert_eq!(refused, !needs.takes_wrong_tokens(), "{method} {path}: {status}");
        }
    }
}

/// The document knows every route of the table and no other, and says which need a token.
#[test]
fn the_document_says_who_may() {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).expect("JSON");
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods").iter().filter(|(name, _)| *name != "parameters") {
            let security = &operation["security"];
            let choices = security.as_array().map(Vec::as_slice).unwrap_or_default();
            documented.insert((method.to_uppercase(), path.clone()));
            let row = ROUTES.iter().find(|row| row.0 == method.to_uppercase() && row.1 == path);
            let Some((.., needs)) = row else { panic!("{method} {path} is not in the table") };
            let without = choices.contains(&json!({}));
            let with = [json!({ "bearer": [] }), json!({ "basic": [] })].iter().all(|choice| choices.contains(choice));
            let expected = match needs {
                Needs::Nothing => (false, false),
                Needs::WhoAsks | Needs::Probes | Needs::Grant(Grant::Read) => (true, true),
                Needs::Grant(_) => (false, true),
            };
            assert_eq!((without, with), expected, "{method} {path}: {security}");
            let responses = operation["responses"].as_object().expect("responses");
            let says = responses.contains_key("401") || responses.contains_key("default");
            assert_eq!(says, !needs.takes_wrong_tokens(), "{method} {path}: 401");
        }
    }
    let table: BTreeSet<_> = ROUTES.iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
    assert_eq!(table, documented);
    for scheme in ["bearer", "basic"] {
        assert_eq!(document["components"]["securitySchemes"][scheme]["scheme"], scheme);
    }
}

#[tokio::test]
async fn the_short_way_remembers_nothing_that_is_not_for_everybody() {
    let server = Server::start().await;
    for repository in ["files", "closed"] {
        server.upstream.put(&format!("{repository}/a.txt"), b"hello");
        let path = format!("/api/{repository}/a.txt");
        let request = Request::get(&path).body(()).expect("a request");
        let mut remembered = false;
        // What was just fetched is put in order for a moment.
        for _ in 0..50 {
            let answer = server.ask("GET", &path, "", Some(ADMINISTRATOR)).await;
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "hello"));
            remembered |= server.fast.answer(&request).is_some();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(remembered, repository == "files", "{repository}");
    }
    assert_eq!(server.get("/api/closed/a.txt").await.status, 401);
}

#[tokio::test]
async fn what_is_not_for_everybody_is_kept_private() {
    let server = Server::start().await;
    for (repository, control, vary) in
        [("files", "public, max-age=300", ""), ("closed", "private, max-age=300", "authorization")]
    {
        server.upstream.put(&format!("{repository}/a.txt"), b"hello");
        for method in ["GET", "GET", "HEAD"] {
            let answer = server.ask(method, &format!("/api/{repository}/a.txt"), "", Some(ADMINISTRATOR)).await;
            assert_eq!(
                (answer.header("cache-control"), answer.header("vary")),
                (control, vary),
                "{method} {repository}"
            );
        }
    }
    assert_eq!(server.get("/api/closed/a.txt").await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn lists_show_what_whoever_asks_may_see() {
    let server = Server::start().await;
    let reader = server.token("reader", "closed=read").await;
    let writer = server.token("writer", "closed=write").await;
    for (token, sees, sees_tokens) in [
        (None, false, false),
        (Some(writer.expose()), false, false),
        (Some(reader.expose()), true, false),
        (Some(ADMINISTRATOR), true, true),
    ] {
        let overview = server.ask("GET", "/", "", token).await;
        assert_eq!(overview.text().contains("closed"), sees, "{}", overview.text());
        assert!(overview.header("vary").contains("authorization"));
        let configuration = server.ask("GET", "/config", "", token).await;
        let shown = configuration.json();
        assert_eq!(shown["remotes"].get("closed").is_some(), sees, "{shown}");
        assert!(shown["remotes"].get("files").is_some());
        assert_eq!(shown.get("access").is_some(), sees_tokens, "{shown}");
    }
}

#[tokio::test]
async fn tokens_are_taken_as_clients_send_them() {
    use base64::Engine as _;
    let server = Server::start().await;
    server.upstream.put("closed/a.txt", b"hello");
    let token = server.token("ci", "closed=read").await;
    let basic = |pair: String| format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair));
    for (value, status) in [
        (format!("Bearer {}", token.expose()), 200),
        (basic(format!("anybody:{}", token.expose())), 200),
        (basic(format!(":{}", token.expose())), 200),
        (basic(format!("{}:", token.expose())), 200),
        (basic("user:password".to_owned()), 401),
        (basic(":".to_owned()), 401),
        ("Digest username=x".to_owned(), 401),
        (format!("Bearer {}", &token.expose()[..40]), 401),
    ] {
        let request = Request::builder().method(Method::GET).uri("/api/closed/a.txt").header("authorization", &value);
        let answer = server.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, status, "{value}: {}", answer.text());
        assert!(!answer.text().contains(&token.expose()[4..20]), "a token is not repeated: {}", answer.text());
    }
}

#[tokio::test]
async fn who_is_wrong_too_often_waits_and_who_was_right_does_not() {
    let server = Server::start().await;
    server.upstream.put("closed/a.txt", b"hello");
    let (known, new) = (server.token("known", "closed=read").await, server.token("new", "closed=read").await);
    let ask = async |token: &str| server.ask("GET", "/api/closed/a.txt", "", Some(token)).await;
    assert_eq!(ask(known.expose()).await.status, 200);
    let mut statuses = Vec::new();
    for _ in 0..25 {
        statuses.push(ask(Token::random().expect("random").expose()).await.status.as_u16());
    }
    assert_eq!((statuses[0], statuses[19], statuses[24]), (401, 401, 429), "{statuses:?}");
    let waits = ask(new.expose()).await;
    assert_eq!(waits.status, 429);
    assert!(waits.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=10).contains(&seconds)));
    assert_eq!(ask(known.expose()).await.status, 200);
    assert_eq!(server.get("/api/files/none.txt").await.status, 404, "nobody who presents nothing is kept waiting");
}

#[tokio::test]
async fn nobody_is_told_what_is_wrong_with_a_body_he_may_not_send() {
    let server = Server::start().await;
    for body in ["{", "{}", r#"{"remote": "nobody"}"#, r#"{"remote": "closed", "path": "../x"}"#] {
        assert_eq!(server.ask("POST", "/cache-artifact", body, None).await.status, 401, "{body}");
    }
}
