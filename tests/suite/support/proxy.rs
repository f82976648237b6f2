//! A TCP proxy in front of a service or of the server: it passes bytes on, refuses, freezes or resets, and keeps what
//! clients sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::run::Port;
use super::upstream::Seen;

/// What becomes of connections, new ones and those that stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Nothing gets through, and nobody is told.
    Freeze,
    /// Every connection is reset.
    Reset,
}

type Sent = Arc<Mutex<Vec<u8>>>;

/// The proxy. It ends with the test.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: Port,
    mode: watch::Sender<Mode>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let port = Port::reserve();
        let listener = TcpListener::bind(port.address()).await.expect("the reserved port");
        let (mode, sent) = (watch::Sender::new(Mode::Pass), Arc::<Mutex<Vec<Sent>>>::default());
        let (modes, all_sent) = (mode.subscribe(), Arc::clone(&sent));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mine = Sent::default();
                all_sent.lock().expect("sent").push(Arc::clone(&mine));
                tokio::spawn(join(client, target, modes.clone(), mine));
            }
        });
        Self { port, mode, sent }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The requests that clients sent, in the order of their connections; the bytes are taken for HTTP.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        let connections = self.sent.lock().expect("sent");
        let text = |sent: &Sent| String::from_utf8_lossy(&sent.lock().expect("sent")).into_owned();
        let texts: Vec<String> = connections.iter().map(text).collect();
        texts.iter().flat_map(|text| text.split_inclusive("\r\n\r\n")).filter_map(Seen::parse).collect()
    }

    /// How many connections clients have opened.
    pub(crate) fn connections(&self) -> usize {
        self.sent.lock().expect("sent").len()
    }

    /// Forgets what clients sent.
    pub(crate) fn clear(&self) {
        self.sent.lock().expect("sent").iter().for_each(|sent| sent.lock().expect("sent").clear());
    }
}

async fn join(client: TcpStream, target: SocketAddr, modes: watch::Receiver<Mode>, sent: Sent) {
    if *modes.borrow() == Mode::Reset {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return reset(&client);
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::spawn(pass(from_client, to_server, modes.clone(), Some(sent)));
    tokio::spawn(pass(from_server, to_client, modes, None));
}

/// Passes one direction on until it ends.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut modes: watch::Receiver<Mode>, sent: Option<Sent>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mode = *modes.borrow_and_update();
        let read = match mode {
            Mode::Reset => {
                reset(from.as_ref());
                return reset(to.as_ref());
            }
            Mode::Freeze => {
                if modes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Mode::Pass => tokio::select! {
                biased;
                changed = modes.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                read = from.read(&mut buffer) => read,
            },
        };
        let passed = match read {
            Ok(count @ 1..) => {
                if let Some(sent) = &sent {
                    sent.lock().expect("sent").extend_from_slice(&buffer[..count]);
                }
                to.write_all(&buffer[..count]).await
            }
            Ok(0) => return drop(to.shutdown().await),
            Err(error) => Err(error),
        };
        if passed.is_err() {
            reset(from.as_ref());
            return reset(to.as_ref());
        }
    }
}

/// Makes closing a connection a reset.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
