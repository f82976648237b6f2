//! Closing a connection whose client still sends.
//!
//! Whoever is refused before the end of what they send (not allowed, too large, no room) is answered at once, and the connection ends
//! with that: what is still on its way belongs to the refused request. Closed then and there it would be reset, and a reset overtakes
//! the answer: the client would see a broken pipe and not know why. So nothing more is written, what comes is read and
//! forgotten, and the connection is closed when the client has read the answer and closes it, or has used up what [`Linger`]
//! grants.
//!
//! [`Course`] is what the parts of one connection tell each other about it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a refused client may go on sending.
const LONGEST: Duration = Duration::from_secs(30);

/// How long it may send nothing meanwhile, and not close the connection either.
const PAUSE: Duration = Duration::from_secs(5);

/// How much it may go on sending, in bytes. Clients that read no answer before they have sent everything get one for files up to this.
const MOST: u64 = 512 << 20;

/// How far a connection has come.
#[derive(Debug, Default)]
pub(super) struct Course {
    first_taken: AtomicBool,
    left_unread: AtomicBool,
}

impl Course {
    /// A request was taken by whoever answers it.
    pub(super) fn take(&self) {
        self.first_taken.store(true, Ordering::Relaxed);
    }

    /// Whether one was.
    pub(super) fn has_begun(&self) -> bool {
        self.first_taken.load(Ordering::Relaxed)
    }

    /// A request is answered without having been read to its end.
    pub(super) fn leave_unread(&self) {
        self.left_unread.store(true, Ordering::Relaxed);
    }

    /// Whether one is. It is the last of its connection.
    pub(super) fn is_left_unread(&self) -> bool {
        self.left_unread.load(Ordering::Relaxed)
    }
}

/// What a client that still sends is granted.
pub(super) struct Linger {
    began: Instant,
    heard: Instant,
    forgotten: u64,
    timer: Pin<Box<Sleep>>,
}

impl Linger {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, heard: now, forgotten: 0, timer: Box::pin(sleep_until(ends_at(now, now))) }
    }

    /// Reads and forgets until the client is done or has had what it is granted.
    pub(super) fn poll(&mut self, connection: &mut (impl Read + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut forgotten = [0; 8 << 10];
        while self.forgotten < MOST {
            if self.timer.as_mut().poll(cx).is_ready() {
                let end = ends_at(self.began, self.heard);
                if end <= Instant::now() {
                    break;
                }
                self.timer.as_mut().reset(end);
                continue;
            }
            let mut buffer = ReadBuf::new(&mut forgotten);
            ready!(Pin::new(&mut *connection).poll_read(cx, buffer.unfilled()))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.forgotten += buffer.filled().len() as u64;
            self.heard = Instant::now();
        }
        Poll::Ready(Ok(()))
    }
}

/// When a client has had its time that was refused, and last heard of, at these instants.
fn ends_at(began: Instant, heard: Instant) -> Instant {
    (began + LONGEST).min(heard + PAUSE)
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn linger(connection: tokio::io::DuplexStream) -> (Linger, io::Result<()>) {
        let (mut linger, mut connection) = (Linger::begin(), TokioIo::new(connection));
        let over = std::future::poll_fn(|cx| linger.poll(&mut connection, cx)).await;
        (linger, over)
    }

    #[tokio::test]
    async fn it_ends_with_the_client() {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let sending = async {
            client.write_all(&[b'x'; 100_000]).await.expect("sent");
            drop(client);
        };
        let ((linger, over), ()) = tokio::join!(linger(server), sending);
        over.expect("no trouble");
        assert_eq!(linger.forgotten, 100_000);
    }

    #[test]
    fn nobody_is_waited_for_for_ever() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(ends_at(began, began), began + PAUSE);
        assert_eq!(ends_at(began, began + 4 * second), began + 4 * second + PAUSE);
        assert_eq!(ends_at(began, began + 29 * second), began + LONGEST);
    }

    #[tokio::test]
    async fn nobody_is_listened_to_for_ever() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let sending = tokio::spawn(async move { while client.write_all(&[b'x'; 1 << 20]).await.is_ok() {} });
        let (linger, over) = linger(server).await;
        over.expect("no trouble");
        assert!((MOST..MOST + (8 << 10)).contains(&linger.forgotten), "{}", linger.forgotten);
        sending.await.expect("cut");
    }
}
