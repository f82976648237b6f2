//! Redirects are followed here, under a policy: a public upstream never sends us to a private address, nor does its list.

use std::process::Command;

use super::*;
use crate::support::process::{Process, clean, run};
use crate::support::run::Run;
use crate::support::server::Plan;
use crate::support::testbed::tool;
use crate::support::{remotes, within};

/// Followed across hosts, without the password of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_does_not_follow_a_redirect() {
    let setup = Setup::new(Backend::Laptop).await;
    let elsewhere = Upstream::serving(&crate::support::testbed::generation(1)).await;
    let remote = Remote::new("some", "generic", setup.upstream.url("/@base/generic"))
        .set("username", "somebody")
        .set("password", "secret-word");
    setup.upstream.spoil("/@base/generic/1.bin", Fault::Redirect(302, elsewhere.url("/generic/1.bin")));
    setup.upstream.spoil("/@base/generic/10k.bin", Fault::Redirect(302, "/@other/generic/10k.bin".to_owned()));
    let site = setup.remote(remote).start().await;
    for name in ["1.bin", "10k.bin", "1m.bin"] {
        site.server.get(&format!("some/{name}")).await.is(&fixture(1, &format!("generic/{name}")));
    }
    let here: Vec<_> = site.upstream.log().all().iter().map(|seen| seen.header("authorization").is_some()).collect();
    assert_eq!(here, [true; 4], "the upstream's own origin is told the password: {:?}", site.upstream.log().lines());
    assert_eq!(elsewhere.log().all()[0].header("authorization"), None, "another origin was told the password");
    assert!(!site.server.lines().all().iter().any(|line| line.contains("secret-word")), "the log has the password");
}

/// In a network of its own, where the upstream has a public address, and redirects to private ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_upstream_does_not_lead_to_a_private_address() {
    let run_folder = Run::new();
    let mut plan = Plan::new(&run_folder, "server");
    let public = "5.6.7.8:8000";
    let hosts = run_folder.file("hosts", "127.0.0.1 localhost\n5.6.7.8 moves.test\n");
    let remote = |name: &str| Remote::new(name, "generic", format!("http://{public}/"));
    let listed = |name: &str| Remote::listed(name, "mirrorlist", format!("http://{public}/list"));
    plan.configure(&remotes::yaml(&[
        remote("strict"),
        Remote::new("moves", "generic", "http://moves.test:8000/"),
        remote("lax").set("allow_private_redirects", true),
        listed("strict-list"),
        listed("lax-list").set("allow_private_redirects", true),
    ]));
    plan.set("ARTIFACTAPI_LISTEN", "127.0.0.1:9000");

    // The upstream: it redirects /to/HOST:PORT/x to http://HOST:PORT/x, after /moves to where its name has another address
    // from then on, has a list that names a private mirror, and answers everything else with "secret".
    let upstream = r"
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path.startswith('/moves/'):
            self.path = self.path[6:]
            open(sys.argv[1], 'w').write('127.0.0.1 localhost\n10.0.0.1 moves.test\n')
        to = self.path.startswith('/to/')
        self.send_response(302 if to else 200)
        if to: self.send_header('Location', 'http://' + self.path[4:])
        body = b'' if to else b'http://10.0.0.1:8000/mirror/\n' if self.path == '/list' else b'secret'
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(('0.0.0.0', 8000), H)
print('ready')
server.serve_forever()
";
    let network = network(&run_folder);
    let inside = |mut command: Command| {
        let mut inside = clean("nsenter");
        inside.arg(format!("--net=/proc/{}/ns/net", network.id()));
        inside.arg(format!("--mount=/proc/{}/ns/mnt", network.id()));
        if !rustix::process::getuid().is_root() {
            inside.arg(format!("--user=/proc/{}/ns/user", network.id())).arg("--preserve-credentials");
        }
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| inside.env(name, value));
        }
        command = inside;
        command
    };
    let ready = |line: &str| (line == "ready").then_some(());
    within("the network", network.lines().find(0, ready)).await;
    let mut python = clean(tool("PYTHON"));
    python.args(["-u", "-c", upstream]).arg(&hosts);
    let upstream = Process::spawn("the upstream", inside(python));
    let server = Process::spawn("the server", inside(plan.command(&[])));
    within("the server to listen", server.lines().find(0, crate::support::server::listening))
        .await
        .expect("it listens");
    within("the upstream to listen", upstream.lines().find(0, ready)).await;

    let ask = |path: String| {
        let mut curl = clean(tool("CURL"));
        curl.args(["-s", "-w", " %{http_code}"]).arg(format!("http://127.0.0.1:9000/api/{path}"));
        let curl = inside(curl);
        async move { run(curl).await.output }
    };
    // A redirect to the public address itself is followed.
    assert_eq!(ask(format!("strict/to/{public}/a")).await, "secret 200");
    for private in [
        "127.0.0.1:8000",
        "localhost:8000",
        "10.0.0.1:8000",
        "[::1]:8000",
        "0.0.0.0:8000",
        "127.1:8000",
        "2130706433:8000",
    ] {
        let answer = ask(format!("strict/to/{private}/b")).await;
        assert!(answer.ends_with(" 502") && !answer.contains("secret"), "{private}: {answer}");
        assert!(answer.contains("redirect"), "{private}: {answer}");
    }
    assert_eq!(ask("lax/to/127.0.0.1:8000/c".to_owned()).await, "secret 200", "an operator may allow it");

    // Who it is that says so is told by the connection: that the upstream's name has a private address by now is its own doing.
    assert_eq!(ask(format!("moves/to/{public}/d")).await, "secret 200");
    let answer = ask("moves/moves/to/127.0.0.1:8000/d".to_owned()).await;
    assert!(answer.ends_with(" 502") && !answer.contains("secret"), "{answer}");

    // A list is a stranger's word as a redirect is.
    let answer = ask("strict-list/c".to_owned()).await;
    assert!(answer.ends_with(" 502") && !answer.contains("secret"), "{answer}");
    assert!(answer.contains("10.0.0.1 has no public address"), "{answer}");
    assert_eq!(ask("lax-list/c".to_owned()).await, "secret 200", "an operator may allow it");
}

/// A network with a loopback that has a public and a private address, and names of its own, from the file `hosts` of the run; it
/// lasts as long as the process.
fn network(run_folder: &Run) -> Process {
    let script = "ip link set lo up && ip address add 5.6.7.8/32 dev lo && ip address add 10.0.0.1/32 dev lo \
                  && mount --bind hosts /etc/hosts && echo ready && exec sleep 600";
    let mut command = clean(tool("AS_ROOT"));
    command.args(["unshare", "--net", "--mount", "sh", "-c", script]).current_dir(run_folder.path(""));
    Process::spawn("the network", command)
}
