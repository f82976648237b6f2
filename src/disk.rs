//! Waiting for a disk, so many at once.
//!
//! Writing and making durable happen on threads that may block. tokio starts another whenever none is idle, and has work go
//! round among all there are, so that fifty uploads at once would have fifty threads, each with what it ever allocated. A disk does not
//! become faster by that: what writes takes one of [`TURNS`], and keeps it for no longer than the disk takes. Nobody holds a
//! turn while waiting for anybody else.

use tokio::sync::Semaphore;

/// How many write at once.
const TURNS: usize = 12;

static ROOM: Semaphore = Semaphore::const_new(TURNS);

/// Does `work` when it is its turn, on a thread that may block. `None` if it panicked.
pub async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // It is never closed; if it were, work would still be done.
    let turn = ROOM.acquire().await.ok();
    let done = tokio::task::spawn_blocking(move || {
        // Whoever asked may leave; its work still takes its turn.
        let _turn = turn;
        work()
    });
    done.await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn only_so_many_at_once() {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let work = || {
            MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            NOW.fetch_sub(1, Ordering::SeqCst);
        };
        let all = futures_util::future::join_all((0..100).map(|_| in_turn(work))).await;
        assert!(all.iter().all(Option::is_some));
        assert!((2..=TURNS).contains(&MOST.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn who_panics_gives_the_turn_back() {
        for _ in 0..TURNS * 2 {
            assert_eq!(in_turn(|| -> () { panic!("it dies") }).await, None);
        }
        assert_eq!(in_turn(|| 1).await, Some(1));
    }
}
