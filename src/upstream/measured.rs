//! Bodies of unknown length for clients that must be told one: waited for, whole, in memory.
//!
//! Few clients are that old, and few bodies (the listings of folders) have no length; but both are a stranger's choice. So
//! each body lies in one buffer, however small the pieces are that it comes in, and all of them together have
//! [`TOGETHER`] bytes. Who finds no room is refused at once and may come again: nobody waits for others' memory. The room is
//! given back when the last byte has left for the client, or the client has.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Answer, Body, UpstreamError, UpstreamErrorKind};

/// The most that all such bodies take, in bytes.
const TOGETHER: usize = 32 << 20;

/// The least by which the room of a body grows, in bytes.
const STEP: usize = 64 << 10;

static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(TOGETHER)));

impl Answer {
    /// The same with its length, whole: what it sends is waited for, up to so many bytes.
    ///
    /// # Errors
    /// When it breaks off, or is longer; [`UpstreamErrorKind::NoRoom`] when too many are waited for.
    pub async fn measured(mut self, most: usize) -> Result<Self, UpstreamError> {
        let whole = gathered(&mut self.body, most, &ROOM).await?;
        Ok(Self { length: Some(whole.len() as u64), body: self.body.made_of(whole), ..self })
    }
}

/// Bytes, and the room that they take.
struct Gathered {
    bytes: Vec<u8>,
    room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Gathered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn gathered(body: &mut Body, most: usize, room: &Arc<Semaphore>) -> Result<Bytes, UpstreamError> {
    let mut gathered: Option<Gathered> = None;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        let (got, has) =
            gathered.as_ref().map_or((0, 0), |gathered| (gathered.bytes.len(), gathered.room.num_permits()));
        let needed = got + piece.len();
        if needed > most {
            let why = format!("a body of unknown length of more than {most} bytes, which this client cannot be given");
            return Err(body.error(UpstreamErrorKind::Unfit(why)));
        }
        if needed > has {
            // Twice as much each time, so that it is not copied for every piece.
            let more = needed.max(has * 2).max(STEP).min(most.max(STEP)) - has;
            let more = u32::try_from(more).ok().and_then(|more| Arc::clone(room).try_acquire_many_owned(more).ok());
            let more = more.ok_or_else(|| body.error(UpstreamErrorKind::NoRoom))?;
            match &mut gathered {
                Some(gathered) => gathered.room.merge(more),
                None => gathered = Some(Gathered { bytes: Vec::new(), room: more }),
            }
        }
        if let Some(Gathered { bytes, room }) = &mut gathered {
            bytes.reserve_exact(room.num_permits() - bytes.len());
            bytes.extend_from_slice(&piece);
        }
    }
    Ok(gathered.map_or_else(Bytes::new, Bytes::from_owner))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn body(pieces: Vec<Bytes>) -> Body {
        let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok));
        Body::new("here".to_owned(), Duration::from_secs(1), Box::pin(pieces))
    }

    fn of(size: usize) -> Body {
        body(vec![Bytes::from(vec![7; size])])
    }

    #[tokio::test]
    async fn the_room_is_shared_and_given_back_with_the_last_byte() {
        let room = Arc::new(Semaphore::new(4 * STEP));
        let first = gathered(&mut of(3 * STEP), 4 * STEP, &room).await.expect("there is room");
        let refused = gathered(&mut of(2 * STEP), 4 * STEP, &room).await.expect_err("there is none");
        assert!(matches!(refused.kind, UpstreamErrorKind::NoRoom), "{refused}");
        let rest = first.slice(STEP..);
        drop(first);
        assert_eq!(room.available_permits(), STEP, "a part is still on its way to the client");
        drop(rest);
        assert_eq!(room.available_permits(), 4 * STEP);
        gathered(&mut of(2 * STEP), 4 * STEP, &room).await.expect("there is room again");
    }

    #[tokio::test]
    async fn small_pieces_lie_in_one_buffer() {
        let room = Arc::new(Semaphore::new(4 * STEP));
        let sent: Vec<u8> = (0..=250).cycle().take(STEP + 10).collect();
        let pieces = sent.chunks(1).map(Bytes::copy_from_slice).collect();
        let whole = gathered(&mut body(pieces), 3 * STEP, &room).await.expect("there is room");
        assert!(whole == sent);
        assert_eq!(room.available_permits(), 2 * STEP);
        let none = gathered(&mut body(Vec::new()), 3 * STEP, &room).await.expect("nothing needs no room");
        assert!(none.is_empty());
    }

    #[tokio::test]
    async fn one_that_is_too_long_is_not_waited_for() {
        let room = Arc::new(Semaphore::new(4 * STEP));
        let refused = gathered(&mut of(10), 9, &room).await.expect_err("too long");
        assert!(matches!(refused.kind, UpstreamErrorKind::Unfit(_)), "{refused}");
        assert_eq!(gathered(&mut of(10), 10, &room).await.expect("just right").len(), 10);
        assert_eq!(room.available_permits(), 4 * STEP);
    }
}
