//! Accepting connections, and letting go of them gracefully.
//!
//! HTTP/1.1 (and 1.0) only: that is what package managers and the proxies in front of us speak. Each limit that a
//! stranger could lean on has a name here. On shutdown, connections that are idle close at once, responses that are
//! under way may finish within the grace time, and then the rest is cut; or at once, when whoever stops us insists.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use bytes::BytesMut;
use futures_util::future::{BoxFuture, Either, FutureExt as _, Ready, TryFutureExt as _, ready};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::body::ServedBody;
use super::client::ConnectionNumber;
use super::direct::{Left, answer_hits};
use super::fast::Fast;
use super::heard::Heard;
use super::host;
use super::linger::Course;
use super::refused::Refusals;

/// The most connections served at once; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 16_384;

/// How long a client may take to send the head of a request, and how long it may idle between two.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest head of a request, in bytes. A Range header with 1,024 ranges needs 20 KiB.
pub const MAX_HEAD: usize = 64 << 10;

/// The most headers of a request.
pub const MAX_HEADERS: usize = 100;

/// A connection asks for the next frame of a body when it has less than this left to write, in bytes. hyper reads heads into
/// a buffer of the same limit.
const WRITE_BUFFER: usize = MAX_HEAD;

/// A client that takes no byte for this long is cut off.
const USER_TIMEOUT: Duration = Duration::from_secs(120);

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How many connections are open now.
#[must_use]
pub fn open_connections() -> usize {
    OPEN.load(Ordering::Relaxed)
}

/// One connection, counted.
struct Counted;

impl Counted {
    fn one() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens on an address, with room for bursts.
///
/// # Errors
/// When the address is in use or not ours.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4_096)?;
    TcpListener::from_std(socket.into())
}

/// What those are granted whose answers are under way when the server stops.
#[derive(Debug, Clone)]
pub struct Grace {
    /// So much time,
    pub longest: Duration,
    /// and no more once this is cancelled.
    pub cut: CancellationToken,
}

/// Serves until `stop` resolves, then drains for as long as `grace` says.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    fast: Arc<Fast>,
    grace: Grace,
    stop: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    serve_within(room, listener, router, fast, grace, stop).await;
}

/// The next connection, once there is room for one more, with its place.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((permit, stream, peer))
}

async fn serve_within(
    room: Arc<Semaphore>,
    listener: TcpListener,
    router: Router,
    fast: Arc<Fast>,
    grace: Grace,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    let graceful = GracefulShutdown::new();
    let (stop_hits, _) = watch::channel(false);
    loop {
        // Whoever stops us is heard while there is no room, too.
        let accepted = tokio::select! {
            accepted = next(&listener, &room) => accepted,
            () = &mut stop => break,
        };
        let (permit, mut stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: those that close make room.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        tune(&stream);
        let (fast, course) = (Arc::clone(&fast), Arc::default());
        let service = Answers { router: router.clone(), fast, peer, connection: ConnectionNumber::next(), course };
        let watcher = graceful.watcher();
        let mut stopping = stop_hits.subscribe();
        let counted = Counted::one();
        tokio::spawn(async move {
            let left = answer_hits(&mut stream, &service.fast, &mut stopping).await;
            if let Left::HandedOver(ahead) = left {
                hand_over(stream, ahead, service, watcher).await;
            }
            drop((permit, counted));
        });
    }
    drop(listener);
    stop_hits.send_replace(true);
    tracing::info!(grace_seconds = grace.longest.as_secs(), "draining connections");
    tokio::select! {
        drained = tokio::time::timeout(grace.longest, graceful.shutdown()) => if drained.is_err() {
            tracing::warn!("cutting connections that did not finish in time");
        },
        () = grace.cut.cancelled() => tracing::warn!("told to stop once more: cutting connections that have not finished"),
    }
}

/// Lets hyper go on with a connection of which `ahead` has been read.
async fn hand_over(stream: TcpStream, ahead: BytesMut, service: Answers, watcher: Watcher) {
    let peer = service.peer;
    let io = Refusals::over(TokioIo::new(stream), ahead, Arc::clone(&service.course));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .max_buf_size(WRITE_BUFFER)
        .serve_connection(io, service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// What answers the requests of one connection.
struct Answers {
    router: Router,
    fast: Arc<Fast>,
    peer: SocketAddr,
    connection: ConnectionNumber,
    course: Arc<Course>,
}

impl Service<Request<Incoming>> for Answers {
    type Response = Response<ServedBody>;
    type Error = Infallible;
    // A hit is answered on the spot. Only what takes the long way pays for a future of its size.
    type Future =
        Either<Ready<Result<Self::Response, Infallible>>, BoxFuture<'static, Result<Self::Response, Infallible>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.course.take();
        let stays = request.version() == Version::HTTP_11 && !says_close(request.headers());
        // Whoever lets go of the body tells the course whether it was read; so it goes before the answer says that it stays.
        let mut request = request.map(|body| Heard::new(body, Arc::clone(&self.course)));
        if let Err(problem) = host::check(request.version(), request.headers()) {
            drop(request);
            return Either::Left(ready(Ok(said_to_stay(
                problem.into_early_response().map(ServedBody::Other),
                stays,
                &self.course,
            ))));
        }
        if let Some(response) = self.fast.answer(&request) {
            drop(request);
            return Either::Left(ready(Ok(said_to_stay(response, stays, &self.course))));
        }
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(self.connection);
        let course = Arc::clone(&self.course);
        let answer = self.router.clone().oneshot(request.map(Body::new));
        Either::Right(
            answer.map_ok(move |response| said_to_stay(response.map(ServedBody::Other), stays, &course)).boxed(),
        )
    }
}

/// apk's libfetch keeps a connection only if it is told to (FORMATS 1.6). One whose request nobody read to its end is closed.
fn said_to_stay(mut response: Response<ServedBody>, stays: bool, course: &Course) -> Response<ServedBody> {
    if course.is_left_unread() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else if stays {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    response
}

fn says_close(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"))
}

fn tune(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
    // A socket that cannot be tuned still works.
    let _ = stream.set_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::{LiveRepositories, Source};
    use crate::engine::pins::Pins;

    fn nothing_remembered() -> Arc<Fast> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("remotes.yaml");
        std::fs::write(&file, "remotes: {}\n").expect("written");
        let source = Source::find(Some(&file), folder.path(), artifactapi_formats::FORMATS, Arc::new(|_: &str| None));
        let repositories = LiveRepositories::new(source.and_then(|source| source.load()).expect("repositories"));
        Arc::new(Fast::new(Arc::new(repositories), Arc::new(Pins::default())))
    }

    #[tokio::test]
    async fn whoever_stops_it_is_heard_when_there_is_no_room() {
        let listener = listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let room = Arc::new(Semaphore::new(1));
        let grace = Grace { longest: Duration::from_millis(100), cut: CancellationToken::new() };
        let serving = tokio::spawn(serve_within(room, listener, Router::new(), nothing_remembered(), grace, stopped));
        let mut only = TcpStream::connect(address).await.expect("a connection");
        only.write_all(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        assert!(only.read_u8().await.is_ok(), "it is served, and there is no room for another");
        tokio::task::yield_now().await;
        stop.send(()).expect("it waits");
        tokio::time::timeout(Duration::from_secs(20), serving).await.expect("it stops").expect("no panic");
    }
}
