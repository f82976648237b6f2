//! Many uploaders at two replicas, one of which is killed again and again: what was acknowledged is in the index, from the moment
//! on when it was, and nothing else ever is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::asked;
use crate::support::http::{Connection, End, Request};
use crate::support::made::{apk, listed};
use crate::support::remotes::Remote;
use crate::support::services::Backend::Shared;
use crate::support::site::Setup;

const UPLOADERS: u32 = 16;
const PACKAGES: u32 = 2_000;
const FOLDER: &str = "own/edge/x86_64";

/// What was acknowledged, and what is being asked for right now.
#[derive(Default)]
struct Truth {
    /// Acknowledged and not asked to be deleted since: must be listed.
    there: BTreeMap<String, u32>,
    /// Asked for, of which nobody knows yet: may be listed.
    perhaps: BTreeSet<String>,
    /// Acknowledged to be deleted: nobody may get it.
    gone: BTreeSet<String>,
}

type Servers = Arc<Mutex<Vec<SocketAddr>>>;

/// Asks one of the servers until one answers with one of these. A server may be gone at any moment.
async fn until_answered(servers: &Servers, random: &mut SmallRng, request: &Request, right: &[u16]) -> u16 {
    for _ in 0..600 {
        let server = {
            let servers = servers.lock();
            servers[random.random_range(0..servers.len())]
        };
        let asking = async {
            let mut connection = Connection::try_open(server).await?;
            connection.try_send(request).await?;
            let head = connection.try_head(request).await?;
            let (body, end) = connection.rest().await;
            (end == End::Whole).then_some((head.status, body))
        };
        match asking.await {
            Some((status, _)) if right.contains(&status) => return status,
            Some((503, _)) | None => {}
            Some((status, body)) => panic!("{status}: {}", String::from_utf8_lossy(&body)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody answers");
}

async fn uploader(number: u32, servers: Servers, truth: Arc<Mutex<Truth>>) {
    let mut random = SmallRng::seed_from_u64(u64::from(number));
    let mut own: Vec<String> = Vec::new();
    for package in (number..PACKAGES).step_by(UPLOADERS as usize) {
        let name = format!("p{package:04}-1.0-r0.apk");
        let put = asked("PUT", &format!("{FOLDER}/{name}")).body(apk(&format!("p{package:04}"), "1.0-r0", package));
        truth.lock().perhaps.insert(name.clone());
        until_answered(&servers, &mut random, &put, &[200, 201]).await;
        {
            let mut truth = truth.lock();
            truth.perhaps.remove(&name);
            truth.there.insert(name.clone(), package);
        }
        own.push(name);
        if random.random_bool(0.1) {
            let name = own.swap_remove(random.random_range(0..own.len()));
            {
                let mut truth = truth.lock();
                truth.there.remove(&name);
                truth.perhaps.insert(name.clone());
            }
            let delete = asked("DELETE", &format!("{FOLDER}/{name}"));
            // Whoever dies before it answers may have deleted it.
            until_answered(&servers, &mut random, &delete, &[200, 404]).await;
            let mut truth = truth.lock();
            truth.perhaps.remove(&name);
            truth.gone.insert(name);
        }
    }
}

/// Fetches indexes and packages all the time, and compares them with what is known.
async fn reader(servers: Servers, truth: Arc<Mutex<Truth>>, stop: CancellationToken) -> u32 {
    let mut random = SmallRng::seed_from_u64(99);
    let mut rounds = 0;
    while !stop.is_cancelled() {
        let server = {
            let servers = servers.lock();
            servers[random.random_range(0..servers.len())]
        };
        let before = truth.lock().there.clone();
        let Some(mut connection) = Connection::try_open(server).await else { continue };
        let entry = Request::get(format!("/api/{FOLDER}/APKINDEX.tar.gz"));
        if connection.try_send(&entry).await.is_none() {
            continue;
        }
        let Some(head) = connection.try_head(&entry).await else { continue };
        let (body, end) = connection.rest().await;
        if head.status != 200 || end != End::Whole {
            continue;
        }
        let names = listed(&body);
        let unique: BTreeSet<_> = names.iter().cloned().collect();
        assert_eq!(unique.len(), names.len(), "a package is listed twice");
        {
            let truth = truth.lock();
            for name in before.keys() {
                let is_asked_away = !truth.there.contains_key(name);
                assert!(unique.contains(name) || is_asked_away, "{name} was acknowledged and is not listed");
            }
        }
        for _ in 0..3 {
            let Some(name) = names.get(random.random_range(0..names.len().max(1))) else { break };
            let ask = Request::get(format!("/api/{FOLDER}/{name}"));
            if connection.try_send(&ask).await.is_none() {
                break;
            }
            let Some(head) = connection.try_head(&ask).await else { break };
            let (body, end) = connection.rest().await;
            if end != End::Whole {
                break;
            }
            let number: u32 = name[1..5].parse().expect("a number");
            assert_eq!(head.status, 200, "{name} is listed: {}", String::from_utf8_lossy(&body));
            assert_eq!(body, apk(&format!("p{number:04}"), "1.0-r0", number), "{name}");
        }
        rounds += 1;
    }
    rounds
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_however_often_a_replica_dies() {
    let own = Remote::local("own", "alpine");
    let mut site = Setup::new(Shared).await.remote(own).environment("RUST_LOG", "info").start().await;
    let mut other = site.replica().await;
    let servers: Servers = Arc::new(Mutex::new(vec![site.server.address(), other.address()]));
    let truth = Arc::new(Mutex::new(Truth::default()));
    let stop = CancellationToken::new();
    let reading = tokio::spawn(reader(Arc::clone(&servers), Arc::clone(&truth), stop.clone()));
    let uploading: Vec<_> =
        (0..UPLOADERS).map(|number| tokio::spawn(uploader(number, Arc::clone(&servers), Arc::clone(&truth)))).collect();
    let mut random = SmallRng::seed_from_u64(5);
    let mut deaths = 0;
    while uploading.iter().any(|uploader| !uploader.is_finished()) {
        tokio::time::sleep(Duration::from_millis(random.random_range(500..2_500))).await;
        other.kill_and_start_again().await;
        servers.lock()[1] = other.address();
        deaths += 1;
    }
    for uploader in uploading {
        uploader.await.expect("an uploader");
    }
    stop.cancel();
    let rounds = reading.await.expect("a reader");
    let expected: Vec<String> = truth.lock().there.keys().cloned().collect();
    for server in [&site.server, &other] {
        let mut names = listed(&server.get(&format!("{FOLDER}/APKINDEX.tar.gz")).await.body);
        names.sort();
        assert_eq!(names, expected);
        let gone = truth.lock().gone.clone();
        for name in gone {
            assert_eq!(server.get(&format!("{FOLDER}/{name}")).await.status, 404, "{name} was deleted");
        }
    }
    assert!(deaths >= 3 && rounds >= 10, "{deaths} deaths, {rounds} rounds");
    let folder = site.server.get(&format!("{FOLDER}/?after=z")).await;
    assert_eq!(folder.status, 404, "nothing sorts after them");
}
