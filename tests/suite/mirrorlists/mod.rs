//! Lists of mirrors: as what an upstream is known by, and as what clients ask us for.
//!
//! A mirror is the upstream under a tag of its own (`/@name/`), or a second upstream where mirrors must differ in what they
//! have.

mod offered;
mod upstreams;

use crate::support::bodies::sha256;
use crate::support::http::Request;
use crate::support::remotes::Remote;
use crate::support::server::Server;
use crate::support::testbed::fixture;

/// Where the repository lies on an upstream: one whose metadata has the same names in every generation.
const FOLDER: &str = "rpm/plain-names";
const ENTRY: &str = "repodata/repomd.xml";
const HELLO: &str = "Packages/h/hello-1.0-1.el9.x86_64.rpm";
const DOC: &str = "Packages/h/hello-doc-1.0-1.el9.noarch.rpm";
const LIBS: &str = "Packages/h/hello-libs-1.0-1.el9.x86_64.rpm";

/// What the repository has in a generation.
fn content(generation: u32, below: &str) -> Vec<u8> {
    fixture(generation, &format!("{FOLDER}/{below}"))
}

/// The repository `listed`, by a list.
fn listed(key: &str, list: String) -> Remote {
    Remote::listed("listed", key, list)
}

/// A metalink that knows these entries, the newest first, and names these mirrors, the best first.
fn metalink(entries: &[&[u8]], mirrors: &[String]) -> String {
    let revision = |entry: &&[u8]| {
        let digest = sha256(entry);
        format!("<size>{}</size><verification><hash type=\"sha256\">{digest}</hash></verification>", entry.len())
    };
    let (newest, older) = entries.split_first().expect("an entry");
    let alternate = |entry: &&[u8]| format!("<mm0:alternate>{}</mm0:alternate>", revision(entry));
    let older: String = older.iter().map(alternate).collect();
    let url = |(number, mirror): (usize, &String)| {
        format!("<url protocol=\"http\" type=\"http\" preference=\"{}\">{mirror}{ENTRY}</url>", 100 - number)
    };
    let urls: String = mirrors.iter().enumerate().map(url).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" \
         xmlns:mm0=\"http://fedorahosted.org/mirrormanager\"><files><file name=\"repomd.xml\">{}<mm0:alternates>{older}\
         </mm0:alternates><resources maxconnections=\"1\">{urls}</resources></file></files></metalink>",
        revision(newest)
    )
}

/// A counter of `/metrics`.
async fn counted(server: &Server, name: &str) -> String {
    let reply = server.ask(&Request::get("/metrics")).await;
    let text = String::from_utf8(reply.body).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("artifactapi_{name}_total ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}
