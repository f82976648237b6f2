//! No secret leaves the server: not in a log of any level, not in an answer, not when things go wrong (DESIGN 4.11).

mod signing;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::support::http::Request;
use crate::support::remotes::Remote;
use crate::support::run::Port;
use crate::support::services::Backend::Shared;
use crate::support::site::Setup;
use crate::support::testbed::fixture;
use crate::support::upstream::fault::Fault;

const PASSWORD: &str = "planted-password-of-upstream";
const TOKEN: &str = "planted-token-of-upstream";
const DATABASE: &str = "planted-password-of-database";
const REDIS: &str = "planted-password-of-redis";
const S3: &str = "testsecret";
const ADMIN: &str = "planted-token-of-the-administrator";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_in_logs_answers_or_errors() {
    let setup = Setup::new(Shared).await;
    let upstream = setup.upstream.url("/generic");
    let nobody = Port::reserve();
    let secret = setup.run.file("token", TOKEN);
    // A database that asks for no password is given one; a Redis that has none refuses ours.
    let redis = format!("redis://:{REDIS}@{}", setup.services.as_ref().expect("services").redis.address());
    let basic = Remote::new("basic", "generic", upstream.clone()).set("username", "robot").set("password", PASSWORD);
    let bearer = Remote::new("bearer", "generic", upstream).set("token_file", secret.display().to_string());
    let away =
        Remote::new("away", "generic", format!("http://{}", nobody.address())).set("token_env", "UPSTREAM_TOKEN");
    let setup = setup.remote(basic).remote(bearer).remote(away);
    let setup =
        setup.environment("UPSTREAM_TOKEN", TOKEN).environment("DBPASS", DATABASE).environment("REDIS_URL", redis);
    let setup = setup.environment("ARTIFACTAPI_ADMIN_TOKEN", ADMIN).environment("RUST_LOG", "trace");
    let mut site = setup.start().await;

    let mut answers = Vec::new();
    let body = fixture(1, "generic/10k.bin");
    for repository in ["basic", "bearer"] {
        site.server.get(&format!("{repository}/10k.bin")).await.is(&body);
        let reply = site.server.get(&format!("{repository}/no-such-file")).await;
        reply.problem(404);
        answers.push(reply);
    }
    let sent: Vec<_> = site
        .upstream
        .log()
        .of("/generic/10k.bin")
        .iter()
        .filter_map(|seen| seen.header("authorization").map(str::to_owned))
        .collect();
    let pair = BASE64_STANDARD.encode(format!("robot:{PASSWORD}"));
    assert_eq!(sent, [format!("Basic {pair}"), format!("Bearer {TOKEN}")], "the secrets are used");
    let reply = site.server.get("away/10k.bin").await;
    reply.problem(502);
    answers.push(reply);
    for (file, fault) in
        [("1m.bin", Fault::Status(401)), ("5m.bin", Fault::Reset(1_000)), ("page.html", Fault::DeclaresMore(10))]
    {
        site.upstream.spoil(&format!("/generic/{file}"), fault);
        answers.push(site.server.get(&format!("basic/{file}")).await);
    }
    // Without its stores it has more to complain about.
    let services = site.services.as_mut().expect("services");
    tokio::join!(services.postgres.kill(), services.redis.kill(), services.weed.kill());
    for target in [
        "/api/bearer/changing.txt",
        "/",
        "/config",
        "/metrics",
        "/ready",
        "/health",
        "/artifacts/basic",
        "/openapi.json",
    ] {
        answers.push(site.server.ask(&Request::get(target)).await);
    }
    let shown = answers.iter().find(|reply| reply.body.windows(9).any(|nine| nine == b"\"remotes\""));
    assert!(shown.is_some_and(|reply| reply.status == 200), "/config shows the remotes");
    site.server
        .plan
        .configure("remotes:\n  basic: {type: remote, package: generic, password: planted-password-of-upstream}\n");
    site.server.says(&["the old one stays in force"]).await;
    answers.push(site.server.ask(&Request::get("/ready")).await);
    site.server.stop().await;

    let secrets = [PASSWORD, TOKEN, DATABASE, REDIS, S3, ADMIN, &pair];
    let log = site.server.lines().all();
    assert!(log.iter().any(|line| line.contains("\"TRACE\"")), "the log is at its most talkative");
    for secret in secrets {
        if let Some(line) = log.iter().find(|line| line.contains(secret)) {
            panic!("{secret} is in the log: {line}");
        }
        for reply in &answers {
            let text = format!("{:?} {}", reply.head, String::from_utf8_lossy(&reply.body));
            assert!(!text.contains(secret), "{secret} is in an answer: {text}");
        }
    }
}
