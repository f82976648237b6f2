//! Many small packages for rpm at once, and which of them an index lists.

use super::process::{clean, run};
use super::run::{Run, write};
use super::server::Server;
use super::testbed::tool;

/// `count` packages that rpmbuild makes of one recipe: their file names and bytes, in the order of their names.
pub(crate) async fn many(into: &Run, count: u32) -> Vec<(String, Vec<u8>)> {
    let top = into.folder("many");
    let mut spec =
        "Name: many\nVersion: 1.0\nRelease: 1\nSummary: Many\nLicense: MIT\nBuildArch: noarch\nAutoReqProv: no\n\
                    %description\nMany.\n%install\nmkdir -p %{buildroot}/usr/share/many\n"
            .to_owned();
    spec.push_str(&format!("for n in $(seq 0 {}); do echo $n > %{{buildroot}}/usr/share/many/$n; done\n", count - 1));
    for number in 0..count {
        let name = format!("many{number:03}");
        spec.push_str(&format!(
            "%package -n {name}\nSummary: Number {number} of many\n%description -n {name}\nOne of many.\n\
             %files -n {name}\n/usr/share/many/{number}\n"
        ));
    }
    let mut command = clean(tool("AS_ROOT"));
    command.env("HOME", &top).arg(tool("RPMBUILD")).args(["--quiet", "--nodeps", "-bb"]);
    for define in [&format!("_topdir {}", top.display()), "_binary_payload w1.gzdio", "__os_install_post %{nil}"] {
        command.args(["--define", define]);
    }
    command.arg(write(&top.join("many.spec"), &spec));
    run(command).await.succeeded();
    let built = top.join("RPMS/noarch");
    let name = |number: u32| format!("many{number:03}-1.0-1.noarch.rpm");
    (0..count).map(name).map(|name| (name.clone(), std::fs::read(built.join(name)).expect("a package"))).collect()
}

/// The path, below its root, of a list that an index names: `primary`.
pub(crate) fn list_of(repomd: &[u8], kind: &str) -> String {
    let text = String::from_utf8_lossy(repomd).into_owned();
    let (_, rest) = text.split_once(&format!("<data type=\"{kind}\"")).unwrap_or_else(|| panic!("no {kind}: {text}"));
    let (_, rest) = rest.split_once("<location href=\"").expect("a location");
    rest[..rest.find('"').expect("an end")].to_owned()
}

/// The file names of the packages that the index of a root lists now, as whoever asks for it reads them; lists in gzip.
pub(crate) async fn listed(server: &Server, root: &str) -> Vec<String> {
    let entry = server.get(&format!("{root}/repodata/repomd.xml")).await;
    let list = server.get(&format!("{root}/{}", list_of(&entry.has(200).body, "primary"))).await;
    let mut text = String::new();
    let mut decoder = flate2::bufread::MultiGzDecoder::new(&list.has(200).body[..]);
    std::io::Read::read_to_string(&mut decoder, &mut text).expect("text");
    let path = |rest: &str| rest[..rest.find('"').expect("an end")].to_owned();
    let name = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
    text.split("<location href=\"").skip(1).map(path).map(name).collect()
}
