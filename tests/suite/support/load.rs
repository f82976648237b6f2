//! A light load: a few clients that ask for known files again and again and compare every byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::http::{self, End, Request};
use super::within;

/// How many clients there are.
const CLIENTS: usize = 4;

/// How long a client rests between two requests.
const REST: Duration = Duration::from_millis(5);

/// What the clients were given so far.
#[derive(Debug, Clone, Default)]
struct Tally {
    right: u64,
    /// Anything but the whole of the right bytes, by what it was.
    other: BTreeMap<String, u64>,
}

/// The clients. They go away when this is dropped.
pub(crate) struct Load {
    stop: CancellationToken,
    clients: Vec<JoinHandle<()>>,
    tally: Arc<watch::Sender<Tally>>,
}

impl Load {
    /// Asks a server for these files, by their paths below `/api`.
    pub(crate) fn on(address: SocketAddr, files: &BTreeMap<String, Bytes>) -> Self {
        let (stop, tally) = (CancellationToken::new(), Arc::new(watch::Sender::default()));
        let files: Arc<[_]> = files.iter().map(|(path, body)| (path.clone(), body.clone())).collect();
        let clients = (0..CLIENTS).map(|first| {
            let (stop, tally, files) = (stop.clone(), Arc::clone(&tally), Arc::clone(&files));
            let asking = async move {
                for (path, body) in files.iter().cycle().skip(first) {
                    let got = ask(address, path, body).await;
                    tally.send_modify(|tally: &mut Tally| match got {
                        Ok(()) => tally.right += 1,
                        Err(what) => *tally.other.entry(what).or_default() += 1,
                    });
                    tokio::time::sleep(REST).await;
                }
            };
            tokio::spawn(async move {
                stop.run_until_cancelled(asking).await;
            })
        });
        Self { clients: clients.collect(), stop, tally }
    }

    /// Waits until the clients have been given so many more right answers, and fails if they were given anything else.
    #[track_caller]
    pub(crate) fn goes_on(&self, count: u64) -> impl Future<Output = ()> + use<> {
        let caller = std::panic::Location::caller();
        let mut tally = self.tally.subscribe();
        async move {
            let enough = tally.borrow().right + count;
            let seen = tally.wait_for(|tally| tally.right >= enough || !tally.other.is_empty());
            let seen =
                within(format!("{count} right answers ({caller})"), seen).await.expect("the sender is ours").clone();
            assert!(seen.other.is_empty(), "{caller}: {:?}", seen.other);
        }
    }

    /// Ends it, and fails if a client was ever given anything but right bytes.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        for client in self.clients.drain(..) {
            client.await.expect("a client");
        }
        let tally = self.tally.borrow().clone();
        assert!(tally.other.is_empty() && tally.right > 0, "{tally:?}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn ask(address: SocketAddr, path: &str, expected: &[u8]) -> Result<(), String> {
    let reply = http::try_ask(address, &Request::get(format!("/api/{path}"))).await;
    let reply = reply.ok_or_else(|| format!("{path}: no answer"))?;
    if reply.status != 200 {
        return Err(format!("{path}: {} {}", reply.status, String::from_utf8_lossy(&reply.body)));
    }
    match reply.end {
        End::Cut => Err(format!("{path}: cut after {} bytes", reply.body.len())),
        End::Whole if reply.body != expected => Err(format!("{path}: wrong bytes")),
        End::Whole => Ok(()),
    }
}
