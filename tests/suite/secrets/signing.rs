//! Signing keys are used and never shown: however they are given, whatever is wrong with them, and to whomever asks.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::http::{Connection, Reply, Request};
use crate::support::keys;
use crate::support::made::apk;
use crate::support::process::Signal;
use crate::support::remotes::{Remote, yaml};
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;

const RPM: &str = "el9/x86_64/Packages/hello-1.0-1.el9.x86_64.rpm";
const APK: &str = "edge/x86_64/one-1.apk";

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a key")
}

/// What must not be seen of a private key: each line of it that is none of the public half's, as it stands, and its bytes in
/// hexadecimal and as Rust shows them.
fn forms((secret, public): &(std::path::PathBuf, std::path::PathBuf)) -> Vec<String> {
    let public = read(public);
    let mut forms = Vec::new();
    for line in read(secret).lines().filter(|line| line.len() >= 40 && !line.starts_with('-')) {
        if public.contains(line) {
            continue;
        }
        forms.push(line.to_owned());
        let bytes = BASE64_STANDARD.decode(line).unwrap_or_default();
        if let Some(some) = bytes.get(..16) {
            forms.push(some.iter().map(|byte| format!("{byte:02x}")).collect());
            forms.push(format!("{some:?}").trim_matches(['[', ']']).to_owned());
        }
    }
    assert!(forms.len() >= 3, "a private key has lines of its own");
    forms
}

async fn put(site: &Site, path: &str, body: &[u8]) -> Reply {
    let request = Request::new("PUT", format!("/api/{path}")).by_administrator().body(body);
    Connection::open(site.server.address()).await.exchange(&request).await
}

/// Whatever the server can be asked about what it holds, by the administrator.
async fn ask_about_everything(site: &Site, answers: &mut Vec<Reply>) {
    let targets = ["/", "/config", "/metrics", "/ready", "/artifacts/rpms", "/snapshots/rpms", "/snapshots/apks"];
    let served = [
        "/api/rpms/el9/x86_64/repodata/repomd.xml",
        "/api/rpms/el9/x86_64/repodata/repomd.xml.asc",
        "/api/rpms/el9/x86_64/repodata/repomd.xml.key",
        "/api/apks/edge/x86_64/APKINDEX.tar.gz",
        "/api/apks/file.rsa.pub",
        "/api/apks/APK_KEY.rsa.pub",
        "/api/apks/file.rsa",
        "/api/apks/APK_KEY",
        "/api/all/el9/x86_64/repodata/repomd.xml",
    ];
    for target in targets.into_iter().chain(served) {
        answers.push(site.server.ask(&Request::get(target).by_administrator()).await);
    }
}

/// The keys are given by file and by variable, for both formats; the ones that are given by a variable sign as the others do.
#[tokio::test(flavor = "multi_thread")]
async fn no_signing_key_in_logs_answers_or_commands() {
    let setup = Setup::new(Laptop).await;
    let rpm_file = keys::rpm_of(&setup, "rpm-file", "File <file@example.org>").await;
    let rpm_variable = keys::rpm_of(&setup, "rpm-variable", "Variable <variable@example.org>").await;
    let apk_file = keys::apk_of(&setup, "apk-file", "file").await;
    let apk_variable = keys::apk_of(&setup, "apk-variable", "variable").await;
    let rpm_keys = json!([rpm_file.0, { "env": "RPM_KEY" }]);
    let rpms = Remote::local("rpms", "rpm").set("root_depth", 2).set("signing_keys", rpm_keys);
    let apks = Remote::local("apks", "alpine");
    let signed = apks.clone().set("signing_keys", json!([{ "file": apk_file.0 }, { "env": "APK_KEY" }]));
    let all = Remote::virtual_of("all", "rpm", &["rpms"]).set("signing_keys", json!([{ "env": "RPM_KEY" }]));
    let setup = setup.only("none").remote(rpms.clone()).remote(signed).remote(all);
    let setup = setup.environment("RPM_KEY", read(&rpm_variable.0)).environment("APK_KEY", read(&apk_variable.0));
    let mut site = setup.environment("RUST_LOG", "trace,pgp=trace").start().await;

    let mut answers = Vec::new();
    let package = fixture(1, "rpm/el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm");
    for (path, body) in [(format!("rpms/{RPM}"), package), (format!("apks/{APK}"), apk("one", "1", 1))] {
        let reply = put(&site, &path, &body).await;
        reply.has(201);
        answers.push(reply);
    }
    ask_about_everything(&site, &mut answers).await;
    site.server.get("apks/APK_KEY.rsa.pub").await.is(read(&apk_variable.1).as_bytes());
    let together = site.server.get("rpms/el9/x86_64/repodata/repomd.xml.key").await;
    assert_eq!(String::from_utf8_lossy(&together.body).matches("BEGIN PGP PUBLIC KEY").count(), 2);
    site.server.get("all/el9/x86_64/repodata/repomd.xml.key").await.is(read(&rpm_variable.1).as_bytes());

    // Whatever is wrong with a key is said without it: where a path or a variable should stand, half of one, one of the other format.
    let whole = read(&apk_file.0);
    let half = site.run.file("half.rsa", &whole[..whole.len() / 2]);
    let wrong = [
        json!([whole]),
        json!([{ "file": whole }]),
        json!([{ "env": read(&rpm_file.0) }]),
        json!([half]),
        json!([rpm_file.0]),
        json!([{ "env": "RPM_KEY" }]),
        json!([apk_file.0, apk_file.0]),
    ];
    let mut said = Vec::new();
    for (number, keys) in wrong.into_iter().enumerate() {
        site.server.plan.configure(&yaml(&[rpms.clone(), apks.clone().set("signing_keys", keys)]));
        site.server.signal(Signal::HUP);
        let refused = || async {
            let lines = site.server.lines().all();
            (lines.iter().filter(|line| line.contains("the old one stays in force")).count() > number).then_some(())
        };
        crate::support::until("the configuration to be refused", refused).await;
        let check = site.server.plan.run(&["check"]).await;
        assert!(!check.status.success() && check.output.contains("signing_keys"), "{}", check.output);
        said.push(check.output);
        ask_about_everything(&site, &mut answers).await;
    }
    for arguments in [&["snapshot", "list", "rpms", "el9/x86_64"][..], &["health"]] {
        said.push(site.server.plan.run(arguments).await.output);
    }
    site.server.stop().await;

    said.extend(site.server.lines().all());
    assert!(said.iter().any(|line| line.contains("\"TRACE\"")), "the log is at its most talkative");
    said.extend(answers.iter().map(|reply| format!("{:?} {}", reply.head, String::from_utf8_lossy(&reply.body))));
    for key in [&rpm_file, &rpm_variable, &apk_file, &apk_variable] {
        for form in forms(key) {
            if let Some(text) = said.iter().find(|text| text.contains(&form)) {
                panic!("{form} of {} is shown: {text}", key.0.display());
            }
        }
    }
}
