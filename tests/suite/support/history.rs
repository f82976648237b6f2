//! Repositories that went through many generations: packages by rpmbuild and rpmsign, metadata by createrepo_c and
//! `apk index`, signed by the fixtures' keys. Each generation is a folder as an upstream has it at that time.
//!
//! | package | what happens to it |
//! |---|---|
//! | `travel` | a new release in each generation; the one before is deleted |
//! | `steady` | built again under its name in every third generation |
//! | `guest` | comes, goes, and comes again as it was |
//! | `fixed` | stays what it is |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::made::{apk_index, sign, signed_apk};
use super::process::{clean, run};
use super::run::{Run, write};
use super::signing::{ApkKey, Gpg};
use super::testbed::tool;

/// The root of the rpm repository, below the upstream's folder.
pub(crate) const RPM: &str = "rpm/ages";

/// The root of the apk repository.
pub(crate) const APK: &str = "alpine/ages/x86_64";

/// A package in one generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Build {
    pub(crate) name: &'static str,
    pub(crate) release: u32,
    /// What lies in its file `/usr/share/{name}`, for rpm; what its content is made from, for apk.
    pub(crate) content: u32,
}

/// What generation number `age` (from 1) is made of.
pub(crate) fn builds(age: u32) -> Vec<Build> {
    let mut builds = vec![
        Build { name: "fixed", release: 1, content: 0 },
        Build { name: "steady", release: 1, content: age / 3 },
        Build { name: "travel", release: age, content: age },
    ];
    if matches!(age % 4, 1 | 2) {
        builds.push(Build { name: "guest", release: 1, content: 7 });
    }
    builds
}

/// When generation number `age` was made, as its indexes say: a day apart, in the past.
fn made_at(age: u32) -> u64 {
    1_735_689_600 + u64::from(age) * 86_400
}

/// Makes `count` generations; the folder of each, oldest first.
pub(crate) async fn ages(into: &Run, count: u32) -> Vec<PathBuf> {
    let folders: Vec<_> = (1..=count).map(|age| into.folder(&format!("ages/{age}"))).collect();
    rpm(into, &folders).await;
    apk(into, &folders).await;
    folders
}

/// Every build of `count` generations once.
fn all(count: usize) -> BTreeSet<Build> {
    (1..).take(count).flat_map(builds).collect()
}

async fn rpm(into: &Run, folders: &[PathBuf]) {
    let gpg = Gpg::fixtures(into).await;
    let mut files = Vec::new();
    for build in all(folders.len()) {
        files.push(rpmbuild(into, &build).await);
    }
    gpg.sign_packages(&files).await;
    for (age, folder) in (1..).zip(folders) {
        let root = folder.join(RPM);
        for build in builds(age) {
            link(&built(into, &build), &root.join("Packages"));
        }
        let mut command = clean(tool("CREATEREPO_C"));
        command.args(["--quiet", "--workers", "1", "--simple-md-filenames", "--no-database"]);
        command.args(["--revision", &made_at(age).to_string(), "--set-timestamp-to-revision"]).arg(&root);
        run(command).await.succeeded();
        let entry = std::fs::read(root.join("repodata/repomd.xml")).expect("an entry");
        std::fs::write(root.join("repodata/repomd.xml.asc"), gpg.signature(&entry).await).expect("its signature");
    }
}

/// Where the package of a build lies. Builds of one name have folders of their own.
fn built(into: &Run, build: &Build) -> PathBuf {
    let Build { name, release, content } = build;
    into.path(&format!("rpmbuild/{name}-{release}-{content}/RPMS/{name}-1.0-{release}.x86_64.rpm"))
}

async fn rpmbuild(into: &Run, build: &Build) -> PathBuf {
    let Build { name, release, content } = build;
    let spec = format!(
        "Name: {name}\nVersion: 1.0\nRelease: {release}\nSummary: One of many\nLicense: MIT\nAutoReqProv: no\n\
         %description\nOne of many.\n%install\nmkdir -p %{{buildroot}}/usr/share\n\
         echo {content} > %{{buildroot}}/usr/share/{name}\n%files\n/usr/share/{name}\n"
    );
    let top = into.folder(&format!("rpmbuild/{name}-{release}-{content}"));
    let spec = write(&top.join("it.spec"), &spec);
    let mut command = clean(tool("AS_ROOT"));
    command.env("HOME", &top).arg(tool("RPMBUILD")).args(["--quiet", "--nodeps", "--target", "x86_64", "-bb"]);
    let defines = [
        format!("_topdir {}", top.display()),
        "_binary_payload w1.gzdio".to_owned(),
        "__os_install_post %{nil}".to_owned(),
        "debug_package %{nil}".to_owned(),
        "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned(),
    ];
    for define in defines {
        command.args(["--define", &define]);
    }
    command.arg(spec);
    run(command).await.succeeded();
    built(into, build)
}

async fn apk(into: &Run, folders: &[PathBuf]) {
    let key = ApkKey::fixtures(into);
    for build in all(folders.len()) {
        let Build { name, release, content } = build;
        let package = signed_apk(name, &format!("1.0-r{release}"), content, &key).await;
        let folder = into.folder(&format!("apkbuild/{name}-{release}-{content}"));
        std::fs::write(folder.join(format!("{name}-1.0-r{release}.apk")), package).expect("a package");
    }
    for (age, folder) in (1..).zip(folders) {
        let (root, mut packages) = (folder.join(APK), Vec::new());
        for Build { name, release, content } in builds(age) {
            let file = format!("apkbuild/{name}-{release}-{content}/{name}-1.0-r{release}.apk");
            packages.push(link(&into.path(&file), &root));
        }
        let index = root.join("APKINDEX.tar.gz");
        let unsigned = apk_index(&packages, made_at(age), &index).await;
        std::fs::write(index, sign(&key, &unsigned, None).await).expect("an index");
    }
}

/// The same file in a folder, too.
fn link(file: &Path, folder: &Path) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder");
    let target = folder.join(file.file_name().expect("a name"));
    std::fs::hard_link(file, &target).expect("a link");
    target
}
