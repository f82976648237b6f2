//! An HTTP/1 client for tests: it sends exactly the bytes it is told to, and what it returns says how the body ended.
//!
//! A client library would hide what these tests are about: a body that was cut, a header written twice, a connection
//! that was kept.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::bodies::assert_same;
use super::server::ADMINISTRATOR;
use super::within;

/// How much is read at once, in bytes.
const READ: usize = 64 << 10;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_hostless: bool,
}

impl Request {
    pub(crate) fn new(method: &str, target: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Vec::new(),
            is_hostless: false,
        }
    }

    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn head(target: impl Into<String>) -> Self {
        Self::new("HEAD", target)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With a body, and its length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.with("Content-Length", length)
    }

    /// The same request by the administrator.
    pub(crate) fn by_administrator(self) -> Self {
        self.with("Authorization", format!("Bearer {ADMINISTRATOR}"))
    }

    /// The same request with a body.
    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.with("Content-Type", "application/json").body(body.to_string())
    }

    /// The same request in HTTP/1.0.
    pub(crate) fn old(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// The same request without the Host header that each has otherwise.
    pub(crate) fn hostless(mut self) -> Self {
        self.is_hostless = true;
        self
    }

    fn text(&self) -> String {
        let host = if self.is_hostless { "" } else { "Host: test.invalid\r\n" };
        let mut text = format!("{} {} {}\r\n{host}", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text + "\r\n"
    }
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As it was announced.
    Whole,
    /// The connection broke before that.
    Cut,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header that must not be there twice.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// The value of a header that must be there once.
    #[track_caller]
    pub(crate) fn must(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length").map(|length| length.parse().expect("a length"))
    }
}

/// A whole answer.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        write!(f, "{:?}, {} bytes, {:?}: {shown:?}", self.head, self.body.len(), self.end)
    }
}

impl std::ops::Deref for Reply {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

/// The fields of a problem+json body.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    pub(crate) title: String,
    status: u16,
    pub(crate) detail: String,
    pub(crate) request_id: String,
}

impl Reply {
    /// Fails unless it is a 200 with these bytes, ended properly.
    #[track_caller]
    pub(crate) fn is(&self, expected: &[u8]) -> &Self {
        self.is_with(200, expected)
    }

    /// Fails unless it has this status and these bytes, ended properly.
    #[track_caller]
    pub(crate) fn is_with(&self, status: u16, expected: &[u8]) -> &Self {
        self.has(status);
        assert_same(&self.body, expected, "the body");
        assert_eq!(self.end, End::Whole, "{:?}", self.head);
        self
    }

    /// Fails unless it has this status.
    #[track_caller]
    pub(crate) fn has(&self, status: u16) -> &Self {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]);
        assert_eq!(self.head.status, status, "{:?} {body}", self.head);
        self
    }

    /// Fails unless it is an honest, well-formed error with this status (DESIGN 4.12).
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Problem {
        self.has(status);
        assert_eq!(self.must("content-type"), "application/problem+json");
        assert_eq!(self.end, End::Whole);
        let problem: Problem = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(problem.status, status);
        assert!(!problem.kind.is_empty() && !problem.title.is_empty() && !problem.detail.is_empty(), "{problem:?}");
        assert_eq!(problem.request_id, self.must("x-request-id"));
        problem
    }
}

/// Asks over a connection of its own, and reads the answer to its end.
pub(crate) async fn ask(address: SocketAddr, request: &Request) -> Reply {
    let mut connection = Connection::open(address).await;
    connection.exchange(request).await
}

/// As [`ask`]; `None` when nobody listens, or the connection ends before there is a head.
pub(crate) async fn try_ask(address: SocketAddr, request: &Request) -> Option<Reply> {
    let stream = within("a connection or a refusal", TcpStream::connect(address)).await;
    let mut connection = Connection::from(Ok(stream.ok()?));
    within("room to send", connection.stream.write_all(request.text().as_bytes())).await.ok()?;
    let head = connection.try_head(request).await?;
    let (body, end) = connection.rest().await;
    Some(Reply { head, body, end })
}

/// How the bytes after a head are divided.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A connection to a server.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Read and not yet used.
    buffer: Vec<u8>,
    framing: Framing,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::from(within(format!("a connection to {address}"), TcpStream::connect(address)).await)
    }

    /// A connection to a server that may be gone.
    pub(crate) async fn try_open(address: SocketAddr) -> Option<Self> {
        TcpStream::connect(address).await.ok().map(|stream| Self::from(Ok(stream)))
    }

    /// A connection from an address of the caller's choice.
    pub(crate) async fn open_from(local: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((local, 0).into()).expect("an address of the loopback interface");
        Self::from(within(format!("a connection to {address}"), socket.connect(address)).await)
    }

    /// A connection whose system buffers hold little, so that not reading soon holds up who writes.
    pub(crate) async fn open_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
        Self::from(within(format!("a connection to {address}"), socket.connect(address)).await)
    }

    fn from(stream: std::io::Result<TcpStream>) -> Self {
        let stream = stream.unwrap_or_else(|error| panic!("no connection: {error}"));
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::with_capacity(READ), framing: Framing::Length(0) }
    }

    pub(crate) async fn send(&mut self, request: &Request) {
        self.send_bytes(&[request.text().as_bytes(), &request.body].concat()).await;
    }

    /// Sends it to a server that may be gone.
    pub(crate) async fn try_send(&mut self, request: &Request) -> Option<()> {
        let bytes = [request.text().as_bytes(), &request.body].concat();
        within("room to send", self.stream.write_all(&bytes)).await.ok()
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        within("room to send", self.stream.write_all(bytes)).await.expect("sent");
    }

    pub(crate) async fn exchange(&mut self, request: &Request) -> Reply {
        self.send(request).await;
        self.reply(request).await
    }

    /// The answer to a request that was sent.
    pub(crate) async fn reply(&mut self, request: &Request) -> Reply {
        let head = self.head(request).await;
        let (body, end) = self.rest().await;
        Reply { head, body, end }
    }

    /// The head of the answer to a request that was sent; its body is next.
    pub(crate) async fn head(&mut self, request: &Request) -> Head {
        self.try_head(request).await.unwrap_or_else(|| panic!("no answer to {request:?}"))
    }

    /// As [`Connection::head`]; `None` when the connection ends instead.
    pub(crate) async fn try_head(&mut self, request: &Request) -> Option<Head> {
        let end = loop {
            match self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if !self.more().await => return None,
                None => {}
            }
        };
        let text = String::from_utf8(self.buffer.drain(..end).collect()).expect("a head in UTF-8");
        let mut lines = text.trim_end().split("\r\n");
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
        let _version = first.next();
        let status = first.next().and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {text}"));
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let headers = lines.map(|line| header(line).unwrap_or_else(|| panic!("no header: {line}"))).collect();
        let head = Head { status, headers };
        let chunked = head.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
        self.framing = match head.length() {
            _ if request.method == "HEAD" || matches!(head.status, 204 | 304) => Framing::Length(0),
            Some(length) => Framing::Length(length),
            None if chunked => Framing::Chunked,
            None => Framing::UntilClose,
        };
        Some(head)
    }

    /// The next bytes of the body, or how it ended.
    pub(crate) async fn piece(&mut self) -> Result<Vec<u8>, End> {
        match self.framing {
            Framing::Length(0) => Err(End::Whole),
            Framing::Length(left) => {
                if self.buffer.is_empty() && !self.more().await {
                    return Err(End::Cut);
                }
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                self.framing = Framing::Length(left - take as u64);
                let rest = self.buffer.split_off(take);
                Ok(std::mem::replace(&mut self.buffer, rest))
            }
            Framing::UntilClose => {
                // Without a length nobody can tell a cut body by a proper close; a reset is one all the same.
                let mut bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(READ));
                match within("the body", self.stream.read_buf(&mut bytes)).await {
                    Ok(0) if bytes.is_empty() => Err(End::Whole),
                    Ok(_) => Ok(bytes),
                    Err(_) => Err(End::Cut),
                }
            }
            Framing::Chunked => self.chunk().await,
        }
    }

    async fn chunk(&mut self) -> Result<Vec<u8>, End> {
        let size = self.line().await.ok_or(End::Cut)?;
        let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
        while self.buffer.len() < size + 2 {
            if !self.more().await {
                return Err(End::Cut);
            }
        }
        let bytes = self.buffer.drain(..size).collect();
        self.buffer.drain(..2);
        if size == 0 { Err(End::Whole) } else { Ok(bytes) }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8(line).expect("a line in UTF-8"));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads on; `false` at the end.
    async fn more(&mut self) -> bool {
        matches!(within("an answer", self.stream.read_buf(&mut self.buffer)).await, Ok(1..))
    }

    /// At least `count` bytes of the body.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend(self.piece().await.expect("more of the body"));
        }
        bytes
    }

    /// The rest of the body, and how it ended.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        loop {
            match self.piece().await {
                Ok(piece) => bytes.extend(piece),
                Err(end) => return (bytes, end),
            }
        }
    }

    /// Whether the server has closed it: nothing more comes.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !self.more().await
    }
}
