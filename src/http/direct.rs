//! Hits in memory, answered on the bare connection.
//!
//! A small hit costs the kernel a few microseconds; a general HTTP stack costs as much again. So a connection begins here:
//! as long as its requests are ordinary GETs for remembered bodies in memory ([`Fast`]), each costs one read, one parse,
//! one look-up and one write. The first request that is anything else goes, with every byte read so far, to hyper, which
//! keeps the connection from then on.
//!
//! Nothing is decided here: what may be answered at all is [`Fast`]'s, and whatever is not plainly a request of the common
//! form is not judged but handed over. It buffers at most [`READ_AHEAD`] bytes of a client, and drops an idle connection
//! after the same time as hyper.

use std::io::IoSlice;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant as Deadline, sleep_until};

use super::fast::{Fast, WireHit};
use super::host;
use super::ordinary;
use super::serve::HEAD_TIMEOUT;

/// The most bytes of requests that are read before they are answered. A longer head is handed over.
const READ_AHEAD: usize = 8 << 10;

/// The most headers of an ordinary request.
const ORDINARY_HEADERS: usize = 32;

/// What became of a connection.
pub(super) enum Left {
    /// It is over.
    Closed,
    /// hyper goes on; these bytes have been read already.
    HandedOver(BytesMut),
}

/// A request as far as it can be told.
#[derive(Debug, PartialEq, Eq)]
enum Seen<'b> {
    /// There is more to come.
    Part,
    /// An ordinary GET of this path and query, whose head has this many bytes.
    Ordinary(&'b str, usize),
    /// Anything else.
    Other,
}

/// Answers hits until something else comes, the client leaves, or the server stops.
pub(super) async fn answer_hits(stream: &mut TcpStream, fast: &Fast, stop: &mut watch::Receiver<bool>) -> Left {
    let mut stopping = pin!(stop.wait_for(|stopping| *stopping));
    let mut idle = pin!(sleep_until(Deadline::now() + HEAD_TIMEOUT));
    let mut read = BytesMut::with_capacity(READ_AHEAD);
    let mut answered_at = None;
    loop {
        let hit = match seen(&read) {
            Seen::Other => return Left::HandedOver(read),
            Seen::Part if read.len() >= READ_AHEAD => return Left::HandedOver(read),
            Seen::Part => None,
            Seen::Ordinary(spelling, length) => match fast.in_memory(spelling) {
                Some(hit) => Some((hit, length)),
                None => return Left::HandedOver(read),
            },
        };
        if let Some((hit, length)) = hit {
            if write(stream, &hit).await.is_err() {
                return Left::Closed;
            }
            hit.count();
            read.advance(length);
            answered_at = Some(Deadline::now());
            continue;
        }
        read.reserve(READ_AHEAD - read.len());
        let more = {
            let mut reading = pin!(stream.read_buf(&mut read));
            std::future::poll_fn(|cx| {
                if let Poll::Ready(more) = reading.as_mut().poll(cx) {
                    return Poll::Ready(More::Read(more));
                }
                if idle.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(More::Idle);
                }
                stopping.as_mut().poll(cx).map(|_| More::Stopping)
            })
            .await
        };
        match more {
            More::Read(Ok(1..)) => {}
            // A connection that ends in the middle of a head is hyper's to judge, and so is one on which we stop.
            More::Read(Ok(0)) | More::Stopping if !read.is_empty() => return Left::HandedOver(read),
            More::Read(_) | More::Stopping => return Left::Closed,
            More::Idle => {
                // The timer is set anew only when it rings: once a minute, not once a request.
                let until = answered_at.take().map(|answered: Deadline| answered + HEAD_TIMEOUT);
                match until.filter(|until| *until > Deadline::now()) {
                    Some(until) => idle.as_mut().reset(until),
                    None => return Left::Closed,
                }
            }
        }
    }
}

enum More {
    Read(std::io::Result<usize>),
    Idle,
    Stopping,
}

/// Looks at what was read.
fn seen(read: &[u8]) -> Seen<'_> {
    if read.is_empty() {
        return Seen::Part;
    }
    let mut headers = [httparse::EMPTY_HEADER; ORDINARY_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(read) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Seen::Part,
        Err(_) => return Seen::Other,
    };
    match (request.method, request.version, request.path) {
        (Some("GET"), Some(1), Some(path))
            if path.starts_with('/')
                && request.headers.iter().all(|header| ordinary::is_ordinary(header.name, header.value))
                && has_one_host(request.headers) =>
        {
            Seen::Ordinary(path, length)
        }
        _ => Seen::Other,
    }
}

/// Whether it says whom it asks, once. Anything else is refused where requests are refused.
fn has_one_host(headers: &[httparse::Header<'_>]) -> bool {
    let mut hosts = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    hosts.next().is_some_and(|host| host::is_plain(host.value)) && hosts.next().is_none()
}

async fn write(stream: &mut TcpStream, hit: &WireHit) -> std::io::Result<()> {
    let date = date();
    let mut tail = [0; 96];
    let tail = tail_of_head(&mut tail, hit.age(), &date);
    let parts: [&[u8]; 3] = [hit.head(), tail, hit.body()];
    let mut written = 0;
    loop {
        // What is left of each part.
        let mut skip = written;
        let mut left = parts.map(|part| {
            let from = skip.min(part.len());
            skip -= from;
            IoSlice::new(&part[from..])
        });
        let mut left = &mut left[..];
        IoSlice::advance_slices(&mut left, 0);
        if left.is_empty() {
            return Ok(());
        }
        match stream.write_vectored(left).await? {
            0 => return Err(std::io::ErrorKind::WriteZero.into()),
            count => written += count,
        }
    }
}

/// The headers that differ from one answer to the next, and the empty line.
fn tail_of_head<'b>(into: &'b mut [u8; 96], age: u64, date: &str) -> &'b [u8] {
    use std::io::Write as _;
    let mut rest = &mut into[..];
    // 96 bytes are enough for the longest age and a date.
    let _ = write!(rest, "age: {age}\r\ndate: {date}\r\n\r\n");
    let left = rest.len();
    &into[..96 - left]
}

/// The current time as an HTTP date, made once a second.
fn date() -> Arc<str> {
    static DATE: LazyLock<ArcSwap<(Instant, Arc<str>)>> = LazyLock::new(|| ArcSwap::from_pointee(made()));
    fn made() -> (Instant, Arc<str>) {
        (Instant::now(), httpdate::fmt_http_date(SystemTime::now()).into())
    }
    let known = DATE.load();
    if known.0.elapsed() < Duration::from_millis(500) {
        return Arc::clone(&known.1);
    }
    let now = made();
    let date = Arc::clone(&now.1);
    DATE.store(Arc::new(now));
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_requests() {
        let get = |headers: &str| format!("GET /api/r/a%2bb?x=1 HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        for ordinary in ["", "User-Agent: libfetch/2.0\r\nConnection: keep-alive\r\n", "Accept: */*\r\n"] {
            let text = get(ordinary);
            assert_eq!(seen(text.as_bytes()), Seen::Ordinary("/api/r/a%2bb?x=1", text.len()), "{ordinary}");
            let more = format!("{text}GET /");
            assert_eq!(seen(more.as_bytes()), Seen::Ordinary("/api/r/a%2bb?x=1", text.len()), "pipelined");
            for end in 0..text.len() {
                assert_eq!(seen(&text.as_bytes()[..end]), Seen::Part, "{end}");
            }
        }
        for other in [
            "Range: bytes=0-1\r\n",
            "RANGE: bytes=0-1\r\n",
            "If-None-Match: \"x\"\r\n",
            "Cache-Control: no-cache\r\n",
            "Authorization: Basic eA==\r\n",
            "Connection: close\r\n",
            "Connection: keep-alive, Upgrade\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Expect: 100-continue\r\n",
            "Host: h\r\n",
            "host: other\r\n",
        ] {
            assert_eq!(seen(get(other).as_bytes()), Seen::Other, "{other}");
        }
        for other in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "HEAD / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://x/ HTTP/1.1\r\n\r\n",
            "\u{1}\u{2}\r\n\r\n",
            "GET\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
        ] {
            assert_eq!(seen(other.as_bytes()), Seen::Other, "{other:?}");
        }
        let many: String = (0..40).map(|number| format!("X-{number}: x\r\n")).collect();
        assert_eq!(seen(get(&many).as_bytes()), Seen::Other, "more headers than usual");
    }

    #[test]
    fn the_tail_of_a_head() {
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
        let mut into = [0; 96];
        let tail = tail_of_head(&mut into, u64::MAX, &date);
        assert_eq!(tail, format!("age: {}\r\ndate: {date}\r\n\r\n", u64::MAX).as_bytes());
    }
}
