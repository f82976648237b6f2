//! What is refused, and what is said about it: paths that cannot be read, things that do not exist, methods that no token helps with.

use axum::body::Body;
use axum::http::Request;

use super::{ADMINISTRATOR, Answered, Server};

impl Answered {
    /// Fails unless it is a problem document with this status, a request id, and these words.
    #[track_caller]
    fn says(&self, status: u16, words: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        assert!(!self.header("x-request-id").is_empty());
        assert!(
            self.json()["detail"].as_str().expect("a detail").contains(words),
            "{words:?} is not in {}",
            self.text()
        );
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_a_problem() {
    let server = Server::start().await;
    for path in ["/artifacts/%FF", "/packages/%FF", "/snapshots/%FF", "/snapshots/rpms/%FF", "/snapshots/%FF/x"] {
        server.get(path).await.says(400, "Invalid UTF-8");
    }
    for method in ["PUT", "DELETE"] {
        server.ask(method, "/snapshots/%FF/x?tag=t", "", Some(ADMINISTRATOR)).await.says(400, "Invalid UTF-8");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_an_empty_list() {
    let server = Server::start().await;
    server.get("/snapshots/files").await.says(404, "without indexes");
    server.get("/packages/files?name=x").await.says(404, "GET /artifacts/files lists its files");
    for query in ["", "?before=7"] {
        server.get(&format!("/snapshots/rpms/9/BaseOS{query}")).await.says(404, "has no snapshot yet");
    }
    // These are there, and have nothing yet.
    for path in ["/snapshots/rpms", "/packages/rpms?name=x", "/artifacts/files"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn nobody_is_sent_for_a_token_that_would_not_help() {
    let server = Server::start().await;
    for method in ["PUT", "POST", "DELETE"] {
        for path in ["/api/files/a.txt", "/api/rpms/el9/a.rpm"] {
            let answer = server.ask(method, path, "x", None).await;
            answer.says(405, "takes no uploads");
            assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
        }
        server.ask(method, "/api/ours/a.txt", "x", None).await.says(401, "needs a token");
        // Nobody learns of a repository that they may not read what it is.
        server.ask(method, "/api/closed/a.txt", "x", None).await.says(401, "needs a token");
    }
    server.ask("POST", "/api/files/", "x", None).await.says(405, "takes no uploads");
}

#[tokio::test]
async fn options_are_those_of_the_repository() {
    let server = Server::start().await;
    let all = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
    for (path, token, allowed) in [
        ("/api/files/a.txt", None, "GET, HEAD, OPTIONS"),
        ("/api/files/", None, "GET, HEAD, OPTIONS"),
        ("/api/ours/a.txt", None, all),
        ("/api/closed/a.txt", None, all),
        ("/api/closed/a.txt", Some(ADMINISTRATOR), "GET, HEAD, OPTIONS"),
        ("*", None, all),
    ] {
        let answer = server.ask("OPTIONS", path, "", token).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, allowed), "{path}");
        assert_eq!(answer.text(), "");
    }
    server.ask("OPTIONS", "/api/nobody/a", "", None).await.says(404, "no repository");
    server.ask("OPTIONS", "/nowhere", "", None).await.says(404, "There is nothing at");
}

#[tokio::test]
async fn the_url_of_a_repository_leads_on() {
    let server = Server::start().await;
    for path in ["/api/files/", "/api/files"] {
        server.get(path).await.says(400, "GET /artifacts/files lists what is held.");
    }
    let other = server.get("/api/files/a//b").await;
    assert_eq!(other.status, 400);
    assert!(!other.text().contains("/artifacts/"), "{}", other.text());
}

#[tokio::test]
async fn what_is_no_form_is_told_how_to_send_one() {
    let server = Server::start().await;
    for (media_type, status, words) in [
        (Some("application/x-www-form-urlencoded"), 415, "curl -F file=@FILE"),
        (None, 415, "PUT the file"),
        (Some("multipart/form-data"), 400, "boundary"),
        (Some("Multipart/Form-Data"), 400, "boundary"),
    ] {
        let mut request = super::as_administrator(Request::post("/api/ours/d/"));
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        server.send(request.body(Body::from("hello")).expect("a request")).await.says(status, words);
    }
}
