//! Upstreams that speak TLS: who they are is checked against the system's authorities, and nobody leads from https to http.

use std::path::{Path, PathBuf};

use crate::support::process::{Process, clean, run};
use crate::support::remotes::Remote;
use crate::support::run::{Port, Run};
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, tool};
use crate::support::until;
use crate::support::upstream::fault::Fault;

/// An authority, and what it says that 127.0.0.1 is.
struct Authority {
    certificate: PathBuf,
    folder: PathBuf,
}

impl Authority {
    async fn new(of: &Run) -> Self {
        let folder = of.folder("authority");
        let openssl = async |arguments: &str| {
            let mut command = clean(tool("OPENSSL"));
            command.current_dir(&folder).args(arguments.split(' '));
            run(command).await.succeeded();
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2")).await;
        openssl(&format!(
            "req -x509 {key} -keyout server.key -out server.pem -subj /CN=upstream -days 2 -CA ca.pem -CAkey ca.key \
             -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ))
        .await;
        Self { certificate: folder.join("ca.pem"), folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// nginx with TLS in front of an upstream.
async fn in_front_of(upstream: &str, authority: &Authority, folder: &Path, port: &Port) -> Process {
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {0}/{kind};\n", folder.display()))
        .concat();
    let configuration = format!(
        "{user} daemon off; master_process off; pid {0}/pid; error_log {0}/error.log; events {{}}\n\
         http {{ access_log off; {temp} server {{ listen {1} ssl http2; ssl_certificate {2}; ssl_certificate_key {3};\n\
         location / {{ proxy_pass {upstream}; proxy_http_version 1.1; proxy_redirect off; }} }} }}",
        folder.display(),
        port.address(),
        authority.file("server.pem"),
        authority.file("server.key"),
    );
    std::fs::write(folder.join("nginx.conf"), configuration).expect("a configuration");
    let mut command = clean(tool("NGINX"));
    command.args(["-c", &folder.join("nginx.conf").display().to_string()]);
    let nginx = Process::spawn("nginx", command);
    until("nginx", || async { tokio::net::TcpStream::connect(port.address()).await.ok() }).await;
    nginx
}

/// A site whose upstream `far` is asked by TLS, and what keeps that up.
async fn site(trusts: impl FnOnce(&Authority) -> PathBuf) -> (Site, Process, Port) {
    let setup = Setup::new(Laptop).await;
    let authority = Authority::new(&setup.run).await;
    let port = Port::reserve();
    let folder = setup.run.folder("nginx");
    let nginx = in_front_of(&setup.upstream.url(""), &authority, &folder, &port).await;
    let far = Remote::new("far", "generic", format!("https://{}/generic", port.address()));
    let trusted = trusts(&authority).display().to_string();
    let site = setup.remote(far).environment("SSL_CERT_FILE", trusted).start().await;
    (site, nginx, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_asked_by_tls() {
    let (site, _nginx, port) = site(|authority| authority.certificate.clone()).await;
    for name in ["1.bin", "1m.bin"] {
        site.server.get(&format!("far/{name}")).await.is(&fixture(1, &format!("generic/{name}")));
    }
    let moved = |to: String| Fault::Redirect(302, to);
    site.upstream.spoil("/generic/10k.bin", moved(format!("https://{}/generic/1.bin", port.address())));
    site.server.get("far/10k.bin").await.is(&fixture(1, "generic/1.bin"));
    // Whoever listens between us and there could lead us anywhere.
    site.upstream.spoil("/generic/100k.bin", moved(site.upstream.url("/generic/1.bin")));
    let problem = site.server.get("far/100k.bin").await.problem(502);
    assert!(problem.detail.contains("from https to http"), "{problem:?}");
}

/// Another authority of the same name did not say who it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_asked() {
    let other = Run::new();
    let stranger = Authority::new(&other).await;
    let (site, _nginx, _port) = site(|_| stranger.certificate.clone()).await;
    let problem = site.server.get("far/1.bin").await.problem(502);
    assert!(problem.detail.contains("certificate"), "{problem:?}");
    assert!(site.upstream.log().all().is_empty(), "nothing was asked");
}
