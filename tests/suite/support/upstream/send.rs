//! Putting a planned answer on the wire, faults and gates included.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Seen;
use super::gate::Gate;
use super::plan::{Breakage, Framing, Plan};

/// The most that is written at once, in bytes.
const PIECE: usize = 64 << 10;

/// How often a second a slow answer sends something.
const BEATS: u64 = 50;

/// Sends an answer; `None` when the connection is over afterwards.
pub(super) async fn send(stream: &mut TcpStream, plan: &Plan, gates: &[Gate], seen: &Seen) -> Option<()> {
    if plan.silent {
        return until_closed(stream).await;
    }
    stream.set_nodelay(true).ok()?;
    stream.write_all(head(plan).as_bytes()).await.ok()?;
    if !plan.bodiless {
        body(stream, plan, gates, seen).await?;
    }
    (plan.framing != Framing::Close).then_some(())
}

fn head(plan: &Plan) -> String {
    let mut head = format!("HTTP/1.1 {} Because\r\n", plan.status);
    for (name, value) in &plan.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match plan.framing {
        Framing::Length(_) if plan.status == 304 => {}
        Framing::Length(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::Close => head.push_str("Connection: close\r\n"),
    }
    head + "\r\n"
}

async fn body(stream: &mut TcpStream, plan: &Plan, gates: &[Gate], seen: &Seen) -> Option<()> {
    let rest = plan.rate.map_or(PIECE, |rate| usize::try_from((rate / BEATS).max(1)).unwrap_or(PIECE));
    let mut at = 0;
    loop {
        for gate in gates.iter().filter(|gate| gate.at() == at as u64) {
            gate.pass().await;
        }
        if let Some((_, breakage)) = plan.breaks.filter(|(offset, _)| *offset == at as u64) {
            return break_off(stream, breakage).await;
        }
        if at == plan.body.len() {
            break;
        }
        let stops = gates.iter().map(Gate::at).chain(plan.breaks.map(|(offset, _)| offset));
        let stops = stops.filter_map(|stop| usize::try_from(stop).ok()).filter(|stop| *stop > at);
        let end = stops.chain([plan.body.len(), at + rest]).min()?;
        let piece = plan.body.get(at..end)?;
        if plan.framing == Framing::Chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
        }
        stream.write_all(piece).await.ok()?;
        if plan.framing == Framing::Chunked {
            stream.write_all(b"\r\n").await.ok()?;
        }
        seen.count(piece.len());
        at = end;
        if plan.rate.is_some() {
            tokio::time::sleep(Duration::from_millis(1_000 / BEATS)).await;
        }
    }
    if plan.framing == Framing::Chunked {
        stream.write_all(b"0\r\n\r\n").await.ok()?;
    }
    // A body that is not as long as it was said to be leaves a connection that no one can use again.
    match plan.framing {
        Framing::Length(length) if length != plan.body.len() as u64 => None,
        _ => Some(()),
    }
}

async fn break_off(stream: &mut TcpStream, breakage: Breakage) -> Option<()> {
    match breakage {
        Breakage::Close => None,
        Breakage::Silence => until_closed(stream).await,
        Breakage::Reset => {
            // Closing with a linger of nothing sends a reset; what the other side has not read is lost.
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).ok()?;
            None
        }
    }
}

/// Says nothing until the other side has enough.
async fn until_closed(stream: &mut TcpStream) -> Option<()> {
    let mut ignored = [0; 1_024];
    while !matches!(stream.read(&mut ignored).await, Ok(0) | Err(_)) {}
    None
}
