//! What people put in: what is acknowledged is there for the next client of every replica, and nothing else is.

mod apk;
mod apk_v3;
mod away;
mod commands;
mod files;
mod filling;
mod forms;
mod grouped;
mod hostile;
mod lists;
mod past;
mod rebuilt;
mod rotation;
mod rpm;
mod strangers;
mod terms;
mod together;

use serde_json::Value;

use crate::support::http::{Connection, Reply, Request};
use crate::support::server::{ADMINISTRATOR, Server};

/// A request below `/api/` that may change something.
pub(crate) fn asked(method: &str, path: &str) -> Request {
    Request::new(method, format!("/api/{path}")).with("Authorization", format!("Bearer {ADMINISTRATOR}"))
}

async fn ask(server: &Server, request: &Request) -> Reply {
    Connection::open(server.address()).await.exchange(request).await
}

async fn put(server: &Server, path: &str, body: &[u8]) -> Reply {
    ask(server, &asked("PUT", path).body(body)).await
}

async fn delete(server: &Server, path: &str) -> Reply {
    ask(server, &asked("DELETE", path)).await
}

#[track_caller]
fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).expect("JSON")
}
