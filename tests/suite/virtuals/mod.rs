//! Several repositories under one name.

mod apk;
mod away;
mod files;
mod flawed;
mod nested;
mod rpm;

use serde_json::Value;

use crate::support::http::{Connection, Reply, Request};
use crate::support::server::{ADMINISTRATOR, Server};

async fn change(server: &Server, method: &str, path: &str, body: &[u8]) -> Reply {
    change_as(ADMINISTRATOR, server, method, path, body).await
}

async fn change_as(token: &str, server: &Server, method: &str, path: &str, body: &[u8]) -> Reply {
    let request = Request::new(method, format!("/api/{path}")).with("Authorization", format!("Bearer {token}"));
    Connection::open(server.address()).await.exchange(&request.body(body)).await
}

async fn put(server: &Server, path: &str, body: &[u8]) -> Reply {
    change(server, "PUT", path, body).await
}

#[track_caller]
fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).expect("JSON")
}
