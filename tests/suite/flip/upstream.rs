//! Two upstreams that switch from generation to generation, file by file and in any order, the second behind the first: an rpm
//! repository whose metadata has plain names, and an apk repository; in both, packages are built again under their names.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::bodies::sha256;
use crate::support::made::{apk_index, sign, signed_apk};
use crate::support::run::Run;
use crate::support::signing::{ApkKey, Gpg};
use crate::support::testbed::fixture;
use crate::support::upstream::Upstream;

/// Packages in the rpm index; one of them is built again in each generation.
pub(super) const PACKAGES: usize = 12;

/// Packages in the apk index; one of them is built again in each generation, too.
pub(super) const APK_PACKAGES: usize = 4;

/// Builds that each package may have.
const BUILDS: usize = 4;

/// Where the repositories lie on either upstream.
pub(super) const FOLDER: &str = "/rpm/flip";
pub(super) const APK_FOLDER: &str = "/apk/flip";

/// One generation of both repositories.
struct Generation {
    number: u64,
    /// Which of the builds each package has.
    builds: [usize; PACKAGES],
    apk_builds: [usize; APK_PACKAGES],
}

/// Files by their paths on the upstream.
type Files = Vec<(String, Vec<u8>)>;

impl Generation {
    /// The next one: in either repository one package is built again.
    fn next(&mut self, random: &mut SmallRng) {
        self.number += 1;
        for builds in [&mut self.builds[..], &mut self.apk_builds] {
            let package = random.random_range(0..builds.len());
            builds[package] = (builds[package] + 1) % BUILDS;
        }
    }

    fn made_at(&self) -> u64 {
        1_000_000 + self.number
    }

    /// The files of the rpm repository.
    async fn rpm_files(&self, workshop: &Workshop) -> Files {
        let (made_at, pool) = (self.made_at(), &workshop.pool);
        let package = |(number, build): (usize, &usize)| {
            let body = &pool[*build];
            format!(
                r#"<package type="rpm"><name>p{number}</name><arch>x86_64</arch><version epoch="0" ver="1" rel="1"/>
                <checksum type="sha256" pkgid="YES">{}</checksum><size package="{}" installed="1" archive="1"/>
                <location href="p{number}-1-1.x86_64.rpm"/></package>"#,
                sha256(body),
                body.len()
            )
        };
        let packages: String = self.builds.iter().enumerate().map(package).collect();
        let primary = format!(
            r#"<?xml version="1.0"?><metadata xmlns="http://linux.duke.edu/metadata/common" packages="{PACKAGES}">{packages}</metadata>"#
        );
        let group = format!("<?xml version=\"1.0\"?><comps><!-- {} --></comps>", self.number);
        let data = |kind: &str, name: &str, body: &str| {
            format!(
                r#"<data type="{kind}"><checksum type="sha256">{}</checksum><location href="repodata/{name}"/>
                <timestamp>{made_at}</timestamp><size>{}</size></data>"#,
                sha256(body.as_bytes()),
                body.len()
            )
        };
        let entry = format!(
            r#"<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{made_at}</revision>{}{}</repomd>"#,
            data("primary", "primary.xml", &primary),
            data("group", "comps.xml", &group)
        );
        let signature = workshop.gpg.signature(entry.as_bytes()).await;
        let mut files = vec![
            ("repodata/repomd.xml".to_owned(), entry.into_bytes()),
            ("repodata/repomd.xml.asc".to_owned(), signature),
            ("repodata/primary.xml".to_owned(), primary.into_bytes()),
            ("repodata/comps.xml".to_owned(), group.into_bytes()),
        ];
        let package = |(number, build): (usize, &usize)| (format!("p{number}-1-1.x86_64.rpm"), pool[*build].clone());
        files.extend(self.builds.iter().enumerate().map(package));
        files.into_iter().map(|(name, body)| (format!("{FOLDER}/{name}"), body)).collect()
    }

    /// The files of the apk repository.
    async fn apk_files(&self, workshop: &Workshop) -> Files {
        let (mut files, mut packages) = (Vec::new(), Vec::new());
        for (number, build) in self.apk_builds.iter().enumerate() {
            let name = format!("a{number}-1.0-r0.apk");
            let package = workshop.run.path(&format!("flip-{build}/{name}"));
            files.push((format!("{APK_FOLDER}/x86_64/{name}"), std::fs::read(&package).expect("a build")));
            packages.push(package);
        }
        let unsigned = apk_index(&packages, self.made_at(), &workshop.run.path("flip-index.tar.gz")).await;
        let index = sign(&workshop.key, &unsigned, None).await;
        files.push((format!("{APK_FOLDER}/x86_64/APKINDEX.tar.gz"), index));
        files
    }

    async fn files(&self, workshop: &Workshop) -> Files {
        [self.rpm_files(workshop).await, self.apk_files(workshop).await].concat()
    }
}

/// What generations are made with and from.
struct Workshop {
    run: Run,
    gpg: Gpg,
    key: ApkKey,
    /// Contents that packages of the rpm repository may have: real packages, or the server would not keep them.
    pool: [Vec<u8>; BUILDS],
}

impl Workshop {
    async fn new(run: &Run) -> Self {
        let key = ApkKey::fixtures(run);
        for build in 0..BUILDS {
            let folder = run.folder(&format!("flip-{build}"));
            for number in 0..APK_PACKAGES {
                let (name, seed) = (format!("a{number}"), u32::try_from(build * 100 + number).expect("small"));
                let package = signed_apk(&name, "1.0-r0", seed, &key).await;
                std::fs::write(folder.join(format!("{name}-1.0-r0.apk")), package).expect("a build");
            }
        }
        let pool = [
            "Packages/h/hello-1.0-1.el9.x86_64.rpm",
            "Packages/h/hello-doc-1.0-1.el9.noarch.rpm",
            "Packages/h/hello-libs-1.0-1.el9.x86_64.rpm",
            "Packages/e/epochal-1.0-1.el9.x86_64.rpm",
        ];
        let pool = pool.map(|name| fixture(1, &format!("rpm/plain-names/{name}")));
        Self { run: run.clone(), gpg: Gpg::fixtures(run).await, key, pool }
    }
}

/// Keeps two upstreams switching, the second behind the first, and answers in the end how often they did. The first
/// generation is there when this returns.
pub(super) async fn flip(
    run: &Run,
    first: Arc<Upstream>,
    second: Arc<Upstream>,
    stop: CancellationToken,
) -> JoinHandle<u64> {
    let workshop = Workshop::new(run).await;
    let mut random = SmallRng::seed_from_u64(7);
    let mut generation = Generation { number: 0, builds: [0; PACKAGES], apk_builds: [0; APK_PACKAGES] };
    let mut shown = generation.files(&workshop).await;
    for (path, body) in &shown {
        first.put(path, body.clone());
        second.put(path, body.clone());
    }
    let flipping = async move {
        loop {
            tokio::time::sleep(Duration::from_millis(random.random_range(300..800))).await;
            generation.next(&mut random);
            let mut next = generation.files(&workshop).await;
            // The mirror gets now what the other has had for a while.
            let mut lagging = std::mem::replace(&mut shown, next.clone());
            for (upstream, files) in [(&first, &mut next), (&second, &mut lagging)] {
                for left in (1..=files.len()).rev() {
                    let (path, body) = files.swap_remove(random.random_range(0..left));
                    upstream.put(&path, body);
                    if random.random_bool(0.3) {
                        tokio::time::sleep(Duration::from_millis(random.random_range(1..30))).await;
                    }
                }
            }
            if stop.is_cancelled() {
                return generation.number;
            }
        }
    };
    tokio::spawn(flipping)
}
