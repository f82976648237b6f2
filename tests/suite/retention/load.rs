//! A budget under load: ten times as many bytes are asked for as may be held, by a law under which some files are asked for far
//! more often than others, while clients read slowly what is long gone. What is shown:
//!
//! - **The budget holds.** Between two looks at it there may be more by what was fetched meanwhile; after each look there is not.
//! - **The disk holds what is accounted for**: what is held, and for the grace of readers what was evicted
//!   (`docs/operations.md`); what was evicted and fetched again lies there once.
//! - **Nothing that is being read disappears**: the slow ones get every byte.
//! - **What is used stays**: hits are as many as those of an exact cache of that size that drops the least recently used, or more.
//!   One in twenty may be missing, for a look makes a twentieth of the budget free beyond what must be.

#![allow(clippy::print_stdout, reason = "how many hits there were is worth reading")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::{MIB, held, held_bytes};
use crate::support::bodies::{assert_same, noise};
use crate::support::http::{Connection, End, Request};
use crate::support::metrics::metric;
use crate::support::services::Backend::Laptop;
use crate::support::site::Setup;
use crate::support::until;

const BUDGET: usize = 100 * MIB;

/// Files of a MiB, and how many are asked for, in so many waves.
const FILES: usize = 400;
const REQUESTS: usize = 1_000;
const WAVES: usize = 4;

/// Clients that ask at once.
const CLIENTS: usize = 4;

/// Clients that read slowly, and the size of the files they read: more than fits between them and the server.
const SLOW: usize = 4;
const SLOW_SIZE: usize = 8 * MIB;

/// Which files are asked for, in order: number `n` about `1/n` as often as the first.
fn sequence() -> Vec<usize> {
    let mut random = SmallRng::seed_from_u64(20_260_201);
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let weights: Vec<f64> = (1..=FILES).map(|rank| 1.0 / rank as f64).collect();
    let sum: f64 = weights.iter().sum();
    let one = |_| {
        let mut left = random.random_range(0.0..sum);
        weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        })
    };
    (0..REQUESTS).map(one).map(|file| file.unwrap_or(FILES - 1)).collect()
}

/// The hits of an exact cache that holds so many files and drops the least recently used.
fn hits_of_an_exact_cache(sequence: &[usize], room: usize) -> usize {
    let (mut cached, mut hits) = (VecDeque::new(), 0);
    for file in sequence {
        match cached.iter().position(|known| known == file) {
            Some(at) => {
                cached.remove(at);
                hits += 1;
            }
            None if cached.len() == room => drop(cached.pop_front()),
            None => {}
        }
        cached.push_back(*file);
    }
    hits
}

/// How many bytes lie in files below a folder.
fn on_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(known) if known.is_dir() => on_disk(&entry.path()),
        Ok(known) => known.len(),
        // Written and moved into its place meanwhile.
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_under_load_and_what_is_used_stays() {
    let site = Setup::new(Laptop).await.set("cache.max_bytes", "100MiB").start().await;
    // Each file is a part of the same bytes that begins elsewhere, so that no two are alike and memory holds them once.
    let all = noise(1, MIB + FILES * 4_096);
    let body = |file: usize| all.slice(file * 4_096..file * 4_096 + MIB);
    for file in 0..FILES {
        site.upstream.put(&format!("/generic/{file}"), body(file));
    }
    let mut readers = Vec::new();
    for number in 0..SLOW {
        let (path, body) = (format!("slow-{number}"), noise(100 + number as u64, SLOW_SIZE));
        site.upstream.put(&format!("/generic/{path}"), body.clone());
        site.server.get(&format!("files/{path}")).await.is(&body);
        site.server.holds(&format!("files/{path}")).await;
        let request = Request::get(format!("/api/files/{path}"));
        let mut connection = Connection::open_narrow(site.server.address()).await;
        connection.send(&request).await;
        assert_eq!(connection.head(&request).await.status, 200);
        let got = connection.bytes(1_000).await;
        readers.push((connection, got, body));
    }

    let sequence = sequence();
    let (mut most, mut asked) = (0, 0);
    for wave in sequence.chunks(REQUESTS.div_ceil(WAVES)) {
        let next = AtomicUsize::new(0);
        join_all((0..CLIENTS).map(|_| async {
            while let Some(file) = wave.get(next.fetch_add(1, Ordering::Relaxed)) {
                site.server.get(&format!("files/{file}")).await.is(&body(*file));
            }
        }))
        .await;
        asked += wave.len();
        most = most.max(held_bytes(&site.server).await);
        for (connection, got, _) in &mut readers {
            got.extend(connection.bytes(50_000).await);
        }
        until("the budget to hold", || async { (held_bytes(&site.server).await <= BUDGET as u64).then_some(()) }).await;
    }

    // What the slow ones read is gone for everybody else, and theirs to the last byte.
    let listed = held(&site.server, "files").await;
    for (number, (mut connection, mut got, body)) in readers.into_iter().enumerate() {
        assert!(!listed.contains(&format!("\"slow-{number}\"")), "the file of slow reader {number} is still held");
        let (rest, end) = connection.rest().await;
        got.extend(rest);
        assert_eq!(end, End::Whole, "slow reader {number}");
        assert_same(&got, &body, &format!("what slow reader {number} got"));
    }

    let (held, evicted) = (held_bytes(&site.server).await, metric(&site.server, "evicted_bytes_total").await);
    let disk = on_disk(&site.server.plan.data().join("blobs"));
    let fetched: Vec<_> = (0..FILES).map(|file| site.upstream.log().of(&format!("/generic/{file}")).len()).collect();
    let distinct = fetched.iter().filter(|times| **times > 0).count();
    let once = (distinct * MIB + SLOW * SLOW_SIZE) as u64;
    assert!(
        (held..=once).contains(&disk),
        "{disk} bytes on the disk: {held} are held, {once} were fetched at least once"
    );
    assert!(evicted > 2 * BUDGET as u64, "{evicted} evicted: that was no load");

    let misses: usize = fetched.iter().sum();
    let (hits, exact) = (asked - misses, hits_of_an_exact_cache(&sequence, BUDGET / MIB));
    println!(
        "{asked} MiB through {} MiB: {hits} hits, an exact cache has {exact}; at most {} MiB held, {} MiB evicted, {} MiB on disk",
        BUDGET / MIB,
        most >> 20,
        evicted >> 20,
        disk >> 20
    );
    assert!(hits * 20 >= exact * 19, "{hits} hits, where an exact cache has {exact}");
}
