//! Threads of their own for work that takes a processor, or much memory for a moment.
//!
//! Threads that are kept for the next piece of work keep what they have allocated, too, so heavy work that goes round among dozens of
//! them costs dozens of times its memory. One that ends takes nothing with it. It costs some ten microseconds, and the work
//! a hundred times that.

use tokio::sync::oneshot;

/// How a thread shares a processor with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Somebody waits for it.
    Usual,
    /// Nobody waits for it who has something older to be served: it takes what others leave, and about a tenth of a core that is
    /// never idle.
    Unhurried,
}

/// How much lower than that of other threads the priority of unhurried ones is, as nice(1) has it: a tenth of their share.
const NICE: i32 = 10;

/// The lowest priority there is.
const LOWEST: i32 = 19;

/// Does it, and gives the result; `None` if the thread could not be had, or died.
pub(super) async fn on_its_own<T: Send + 'static>(pace: Pace, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, done) = oneshot::channel();
    let spawned = std::thread::Builder::new().name("work".to_owned()).spawn(move || {
        if pace == Pace::Unhurried {
            // On Linux this is about the calling thread alone. Without it the work is done all the same.
            let usual = rustix::process::getpriority_process(None).unwrap_or_default();
            let _ = rustix::process::setpriority_process(None, (usual + NICE).min(LOWEST));
        }
        // Whoever asked may have left.
        let _ = sender.send(work());
    });
    spawned.ok()?;
    done.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_thread_itself_is_slowed_down() {
        let priority = || rustix::process::getpriority_process(None).expect("a priority");
        let before = priority();
        assert_eq!(on_its_own(Pace::Unhurried, priority).await, Some((before + NICE).min(LOWEST)));
        assert_eq!(on_its_own(Pace::Usual, priority).await, Some(before));
        assert_eq!(priority(), before);
        assert_eq!(on_its_own(Pace::Usual, || -> () { panic!("it dies") }).await, None);
    }
}
