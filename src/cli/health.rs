//! `artifactapi health`: asks `/health` of the server on this machine.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::Settings;

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(settings: &Settings) -> ExitCode {
    match ask(reachable(settings.listen)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("artifactapi: the server on {} does not answer 200 to /health", settings.listen);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("artifactapi: the server on {} cannot be asked: {error}", settings.listen);
            ExitCode::FAILURE
        }
    }
}

/// A server that listens everywhere is reached on loopback.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b" 200"))
}
