//! Clients that check what they are given against each other, as librepo does: of each thing it is known which bytes it must have.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::Seen;
use super::upstream::PACKAGES;
use crate::support::bodies::sha256;
use crate::support::http::{Connection, End, Request};

/// One client: rounds until it is stopped.
pub(super) async fn client(
    number: u8,
    servers: Vec<SocketAddr>,
    below: &'static str,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    let mut random = SmallRng::seed_from_u64(u64::from(number));
    let local = Ipv4Addr::new(127, 0, 2, number + 1);
    let agent = format!("client/{number}");
    while !stop.is_cancelled() {
        let server = servers[random.random_range(0..servers.len())];
        let mut connection = Connection::open_from(local, server).await;
        let mut get = async |name: &str, random: &mut SmallRng| -> Option<Vec<u8>> {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1_000))).await;
            if random.random_bool(0.3) {
                connection = Connection::open_from(local, server).await;
            }
            let ask = Request::get(format!("{below}/{name}")).with("User-Agent", agent.clone());
            connection.send(&ask).await;
            let Some(head) = connection.try_head(&ask).await else {
                connection = Connection::open_from(local, server).await;
                seen.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            let (body, end) = connection.rest().await;
            if head.status == 200 && end == End::Whole {
                return Some(body);
            }
            if end == End::Cut {
                connection = Connection::open_from(local, server).await;
            }
            seen.refused.fetch_add(1, Ordering::Relaxed);
            None
        };
        let Some(entry) = get("repodata/repomd.xml", &mut random).await else { continue };
        seen.right.fetch_add(1, Ordering::Relaxed);
        let digest = sha256(&entry);
        let text = String::from_utf8(entry).expect("text");
        let said = |kind: &str| {
            let rest = text.split_once(&format!("<data type=\"{kind}\"><checksum type=\"sha256\">")).expect("a kind").1;
            rest[..64].to_owned()
        };
        if let Some(signature) = get("repodata/repomd.xml.asc", &mut random).await {
            match String::from_utf8_lossy(&signature).contains(&digest) {
                true => drop(seen.right.fetch_add(1, Ordering::Relaxed)),
                false => seen.contradiction(format!("the signature of another index than {digest}")),
            }
        }
        if let Some(group) = get("repodata/comps.xml", &mut random).await {
            match sha256(&group) == said("group") {
                true => drop(seen.right.fetch_add(1, Ordering::Relaxed)),
                false => seen.contradiction("comps.xml of another index".to_owned()),
            }
        }
        let Some(primary) = get("repodata/primary.xml", &mut random).await else { continue };
        if sha256(&primary) != said("primary") {
            seen.contradiction("primary.xml of another index".to_owned());
            continue;
        }
        seen.right.fetch_add(1, Ordering::Relaxed);
        let primary = String::from_utf8(primary).expect("text");
        for _ in 0..2 {
            let package = random.random_range(0..PACKAGES);
            let rest = primary.split_once(&format!("<name>p{package}</name>")).expect("a package").1;
            let digest = &rest.split_once("pkgid=\"YES\">").expect("a checksum").1[..64];
            if let Some(body) = get(&format!("p{package}-1-1.x86_64.rpm"), &mut random).await {
                match sha256(&body) == digest {
                    true => drop(seen.right.fetch_add(1, Ordering::Relaxed)),
                    false => seen.contradiction(format!("p{package} is not what its index says")),
                }
            }
        }
    }
}
