//! `artifactapi upload` and `import`: what they took is installed by real clients, and what was not taken is said.

use super::{apk, rpm};
use crate::support::bodies::sha256;
use crate::support::clients::{Apk, Dnf};
use crate::support::process::{Finished, run};
use crate::support::remotes::Remote;
use crate::support::server::{ADMINISTRATOR, Server};
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, generation};

/// Runs a command beside the server, without any log between its lines.
async fn command(server: &Server, arguments: &[&str]) -> Finished {
    let finished = run(server.plan.command(arguments)).await;
    assert!(!finished.output.contains(ADMINISTRATOR), "{}", finished.output);
    finished
}

/// A site with a local repository `own` of plain files.
async fn files() -> Site {
    Setup::new(Laptop).await.remote(Remote::local("own", "generic")).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_for_rpm_moves_here() {
    let (site, public) = rpm::site(Laptop).await;
    let tree = generation(1).join("rpm/el9").display().to_string();
    let import = ["import", "own", &tree, "--to", "el9"];

    let said = command(&site.server, &[&import[..], &["--dry-run"]].concat()).await.succeeded();
    assert!(said.contains("would send el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm\n"), "{said}");
    assert!(
        said.contains("20 files (") && said.ends_with("would be sent, 0 could not be; 16 files of indexes left out\n")
    );
    site.server.get("own/el9/x86_64/repodata/repomd.xml").await.problem(404);

    let said = command(&site.server, &[&import[..], &["--parallel", "8"]].concat()).await.succeeded();
    assert!(said.contains("created el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm\n"), "{said}");
    assert!(said.contains("\n20 files: 20 created, 0 replaced ("), "{said}");
    assert!(said.ends_with("), 0 unchanged, 0 refused, 0 failed; 16 files of indexes left out\n"), "{said}");
    let said = command(&site.server, &import).await.succeeded();
    assert!(said.contains("unchanged el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm\n"), "{said}");
    assert!(said.contains("20 files: 0 created, 0 replaced (0 B), 20 unchanged, 0 refused, 0 failed"), "{said}");

    let entry = site.server.get("own/el9/x86_64/repodata/repomd.xml").await;
    let entry = String::from_utf8(entry.body).expect("text");
    for kind in ["primary", "group", "updateinfo", "modules"] {
        assert!(entry.contains(&format!("<data type=\"{kind}\">")), "{kind}: {entry}");
    }
    let boot = fixture(1, "rpm/el9/x86_64/images/boot.iso");
    site.server.get("own/el9/x86_64/images/boot.iso").await.is(&boot);
    let url = format!("http://{}/api/own/el9/x86_64", site.server.address());
    let dnf = Dnf::trusting(&site.run, "dnf", &url, &public);
    dnf.run(&["install", "hello", "libplus++"]).await.succeeded();
    assert_eq!(dnf.installed("hello").await, "hello-1.0-1.el9.x86_64");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_for_apk_moves_here() {
    let (site, trusted) = apk::site(Laptop).await;
    let tree = generation(1).join("alpine/v3.22").display().to_string();
    let import = ["import", "own", &tree, "--to", "/v3.22/"];
    // One package lies where no client would look for it: it is named, and everything else is taken.
    let refused = command(&site.server, &import).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.output);
    assert!(refused.output.contains("\nrefused v3.22/main/noarch/hello-doc-1.0-r0.apk: "), "{}", refused.output);
    assert!(refused.output.contains("\n16 files: 15 created, 0 replaced ("), "{}", refused.output);
    assert!(refused.output.ends_with("), 0 unchanged, 1 refused, 0 failed; 4 files of indexes left out\n"));

    let main = generation(1).join("alpine/v3.22/main/x86_64").display().to_string();
    let said = command(&site.server, &["import", "own", &main, "--to", "v3.22/main/x86_64"]).await.succeeded();
    assert!(said.contains("10 files: 0 created, 0 replaced (0 B), 10 unchanged, 0 refused"), "{said}");

    let base = format!("http://{}/api/own/v3.22", site.server.address());
    let lines = ["main", "community"].map(|name| format!("{base}/{name}"));
    let mut apk = Apk::with(&site.run, "root", &lines, trusted);
    apk.run(&["add", "hello", "extra"]).await.succeeded();
    assert_eq!(apk.installed("hello").as_deref(), Some("1.0-r0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_go_to_where_people_look_for_them() {
    let (site, _) = rpm::site(Laptop).await;
    let package = generation(1).join("rpm/el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm").display().to_string();
    let comps = site.run.file("comps.xml", "<?xml version=\"1.0\"?>\n<comps/>\n").display().to_string();
    let said = command(&site.server, &["upload", "own", &package, &comps, "--root", "el9/x86_64"]).await.succeeded();
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort();
    let expected =
        ["created el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm", "created el9/x86_64/repodata/comps.xml"];
    assert_eq!(lines, expected);
    // The server knows how many folders lead to an index, and says so.
    let said = command(&site.server, &["upload", "own", &package, "--to", "/"]).await;
    said.failed_with("refused hello-1.0-1.el9.x86_64.rpm: ");

    let (site, _) = apk::site(Laptop).await;
    let package = generation(1).join("alpine/v3.22/main/x86_64/hello-1.0-r0.apk").display().to_string();
    command(&site.server, &["upload", "own", &package]).await.failed_with("--to v3.22/main/x86_64");
    let said = command(&site.server, &["upload", "own", &package, "--to", "v3.22/main/x86_64"]).await.succeeded();
    assert_eq!(said, "created v3.22/main/x86_64/hello-1.0-r0.apk\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_taken_or_it_is_said_why_not() {
    let site = files().await;
    let one = site.run.file("one/tool+1~x.bin", "one").display().to_string();
    let two = site.run.file("two/tool+1~x.bin", "two").display().to_string();
    let empty = site.run.file("empty", "").display().to_string();
    let table = [
        (vec![&*one, "--to", "tools"], Ok("created tools/tool+1~x.bin\n")),
        (vec![&*one, "--to", "/tools/"], Ok("unchanged tools/tool+1~x.bin\n")),
        (vec![&*two, "--to", "tools"], Err("refused tools/tool+1~x.bin: ")),
        (vec![&*two], Ok("created tool+1~x.bin\n")),
        (vec![&*empty], Ok("created empty\n")),
        (vec![&*empty], Ok("unchanged empty\n")),
        (vec![&*one, &*two], Err("two of the files would go to tool+1~x.bin")),
        (vec!["/tmp"], Err("`artifactapi import` takes those")),
        (vec!["/nothing"], Err("/nothing cannot be sent: No such file")),
        (vec![&*one, "--to", "a/../b"], Err("cannot be sent: the path holds a '.' or '..' segment")),
    ];
    for (arguments, expected) in table {
        let said = command(&site.server, &[&["upload", "own"], &arguments[..]].concat()).await;
        match expected {
            Ok(line) => assert_eq!(said.succeeded(), line, "{arguments:?}"),
            Err(part) => {
                assert_eq!(said.status.code(), Some(1), "{arguments:?}");
                said.failed_with(part);
            }
        }
    }
    site.server.get("own/tools/tool+1~x.bin").await.is(b"one");
    site.server.get("own/tools/tool+1~x.bin.sha256").await.is(format!("{}  tool+1~x.bin\n", sha256(b"one")).as_bytes());
    command(&site.server, &["upload", "files", &one]).await.failed_with("which takes no uploads");
    command(&site.server, &["upload", "nobody", &one]).await.failed_with("shows no repository nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so() {
    let site = files().await;
    // More than fits into the buffers on the way: who may not is told before all of it was sent.
    let large = site.run.path("large.bin");
    std::fs::write(&large, vec![7; 32 << 20]).expect("written");
    let large = large.display().to_string();
    let reader = command(&site.server, &["token", "new", "reader", "--grant", "own=read"]).await.succeeded();
    let writer = command(&site.server, &["token", "new", "writer", "--grant", "own=write"]).await.succeeded();
    let file = site.run.file("writer.token", &writer).display().to_string();
    let wrong = "aa_planted-token-that-is-wrong-0000000000000";
    let refused = [(wrong, "the server refuses: "), (reader.trim(), "has no write grant")];
    for (token, part) in refused {
        let said = command(&site.server, &["upload", "own", &large, "--to", "x", "--token", token]).await;
        assert_eq!(said.status.code(), Some(1), "{}", said.output);
        assert!(!said.output.contains(token) && said.output.lines().count() == 1, "{}", said.output);
        assert!(said.output.contains(part), "{}", said.output);
    }
    site.server.get("own/x/large.bin").await.problem(404);
    let said = command(&site.server, &["upload", "own", &large, "--token-file", &file]).await.succeeded();
    assert_eq!(said, "created large.bin\n");
    // Elsewhere, nobody is told the administrator's token; here, nobody is asked for one.
    let url = format!("http://{}", site.server.address());
    let elsewhere = ["upload", "own", &file, "--to", "x", "--server", &url];
    command(&site.server, &elsewhere).await.failed_with("refused x/writer.token: ");
    let mut by_environment = site.server.plan.command(&elsewhere);
    by_environment.env("ARTIFACTAPI_TOKEN", writer.trim());
    assert_eq!(run(by_environment).await.succeeded(), "created x/writer.token\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_waited_for() {
    let mut site = files().await;
    let folder = site.run.folder("many");
    for number in 0..8 {
        std::fs::write(folder.join(format!("{number}.bin")), vec![number; 16 << 20]).expect("written");
    }
    let folder = folder.display().to_string();
    let import = run(site.server.plan.command(&["import", "own", &folder, "--parallel", "2"]));
    let dies_and_comes_back = async {
        let first = || async { (site.server.get("own/0.bin").await.status == 200).then_some(()) };
        crate::support::until("the first file", first).await;
        site.server.kill_and_start_again().await;
    };
    let (said, ()) = tokio::join!(import, dies_and_comes_back);
    let said = said.succeeded();
    // One that was taken, and whose answer was lost, is there when it is looked for again.
    let there = said.lines().filter(|line| line.starts_with("created ") || line.starts_with("unchanged ")).count();
    assert!(there == 8 && said.contains("8 files: ") && said.contains(" 0 refused, 0 failed"), "{said}");
    for number in 0..8 {
        site.server.get(&format!("own/{number}.bin")).await.is(&vec![number; 16 << 20]);
    }
    site.server.stop().await;
    command(&site.server, &["import", "own", &folder]).await.failed_with("does not answer");
}
