//! What this replica has to say to the others, in order.
//!
//! Events and releases pass through one queue of [`QUEUE`] places and one task, so nobody waits for Redis and a follower
//! that is woken has heard what was announced before. What cannot be said is dropped, and remembered: once Redis is there
//! again the others are told that they missed something. They are also told at the start, on behalf of a process before
//! this one that may have died with things unsaid.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::RedisError;
use tokio::sync::mpsc;

use super::lease::Held;
use super::link::Link;
use super::message;
use crate::store::coordinator::Event;

/// How many messages wait for Redis at most.
pub(super) const QUEUE: usize = 4096;

/// How many messages go out at once.
const BATCH: usize = 128;

/// What events are said on.
pub(super) const EVENTS: &str = "artifactapi:events";

/// Something to be said.
pub(super) enum Outgoing {
    /// To all other replicas.
    Event(Event),
    /// That a lease has ended.
    Release(Held),
}

/// Says what comes out of `queue` until nothing more can come. `unsaid` is set by who found the queue full.
pub(super) async fn speak(
    link: Arc<Link>,
    instance: String,
    mut queue: mpsc::Receiver<Outgoing>,
    unsaid: Arc<AtomicBool>,
) {
    let mut changes = link.watch();
    changes.mark_changed();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            _ = changes.changed() => {}
        }
        let events = batch.iter().any(|outgoing| matches!(outgoing, Outgoing::Event(_)));
        let Some(mut line) = link.line() else {
            unsaid.fetch_or(events, Ordering::Relaxed);
            batch.clear();
            continue;
        };
        let owing = unsaid.swap(false, Ordering::Relaxed);
        let mut pipe = redis::pipe();
        let missed = owing.then_some(Outgoing::Event(Event::Missed));
        for outgoing in missed.into_iter().chain(batch.drain(..)) {
            match outgoing {
                Outgoing::Release(held) => drop(pipe.add_command(held.release())),
                Outgoing::Event(event) => match message::write(&instance, &event) {
                    Ok(message) => drop(pipe.cmd("PUBLISH").arg(EVENTS).arg(message)),
                    Err(_) => unsaid.store(true, Ordering::Relaxed),
                },
            }
        }
        if pipe.is_empty() {
            continue;
        }
        let said: Result<(), RedisError> = pipe.ignore().query_async(&mut line.connection).await;
        if let Err(error) = said {
            unsaid.fetch_or(owing || events, Ordering::Relaxed);
            link.failed(&line, &error);
        }
    }
}
