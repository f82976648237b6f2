//! What the index of a remote says of packages, as fragments for an index of ours.
//!
//! The lists of a held generation are read once each, as streams, on a thread that may block. The first says which packages there
//! are; what the others say of those that are wanted is laid down in a file without a name until the first list comes by them, for
//! nothing promises that lists are in one order. Memory is some 100 bytes for each package that is wanted and one fragment; the
//! file is as long as what is wanted of the other lists.
//!
//! What clients would stumble over is left out: one such package would take those of every other member with it. If a list as a whole
//! cannot be read, all that was wanted of it is left out.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use artifactapi_formats::publish::{Cut, PublishFormat};
use artifactapi_formats::{IndexRoot, Invalid, Limits};
use tokio::sync::mpsc;

use super::chunks::packed;
use crate::store::catalog::fragments::FRAGMENTS;
use crate::store::catalog::snapshots::PackageMark;

/// The most bytes of fragments that wait to be kept together, compressed.
const BATCH_BYTES: usize = 8 << 20;

/// Batches between the thread that cuts and the catalog.
pub(super) const BATCHES_BETWEEN: usize = 1;

/// Packages with their fragments, as they are kept.
pub(super) type Batch = Vec<(PackageMark, Vec<u8>)>;

/// Open lists of one generation, and which of their packages are wanted.
pub(super) struct Cutting {
    pub(super) format: &'static dyn PublishFormat,
    pub(super) root: IndexRoot,
    /// One for each list of the format; only the first must be there.
    pub(super) lists: Vec<Option<Box<dyn Read + Send>>>,
    /// By their marks, each with the key by which lists know it.
    pub(super) wanted: HashMap<PackageMark, String>,
    /// A file of nobody else's, empty.
    pub(super) aside: File,
    pub(super) limits: Limits,
}

/// Where a fragment was laid down.
#[derive(Clone, Copy, Default)]
struct Place {
    at: u64,
    length: usize,
}

/// What the other lists say of a package.
#[derive(Clone)]
struct Laid {
    /// One for each list but the first.
    places: Vec<Place>,
    /// What clients would stumble over.
    flaw: Option<Arc<Invalid>>,
}

impl Cutting {
    /// Cuts everything that is wanted, and hands it over in batches; answers what was left out. On a thread that may block.
    ///
    /// # Errors
    /// When what is wanted is not there, and what is wrong with the disk.
    pub(super) fn run(mut self, into: &mpsc::Sender<Batch>) -> Result<HashSet<PackageMark>, Invalid> {
        let mut lists = std::mem::take(&mut self.lists).into_iter();
        let first =
            lists.next().flatten().ok_or_else(|| Invalid::malformed("index", "its package list is not held"))?;
        let others: Vec<_> = lists.collect();
        let count = others.len();
        let laid = match self.lay_down(others) {
            Ok(laid) => laid,
            Err(Invalid::Read(error)) => return Err(Invalid::Read(error)),
            Err(why) => return Ok(self.all_left_out(&why)),
        };
        let mut left_out = HashSet::new();
        let read = self.hand_over(first, &laid, count, &mut left_out, into);
        match read {
            Ok(()) if into.is_closed() || self.wanted.is_empty() => Ok(left_out),
            Ok(()) => Err(Invalid::malformed("index", "its package list is not the one that was written down")),
            Err(Invalid::Read(error)) => Err(Invalid::Read(error)),
            Err(why) => {
                left_out.extend(self.all_left_out(&why));
                Ok(left_out)
            }
        }
    }

    /// Everything that is still wanted.
    fn all_left_out(&self, why: &Invalid) -> HashSet<PackageMark> {
        tracing::warn!(
            target: "artifactapi::publish",
            root = %self.root.entry, packages = self.wanted.len(), %why, "left out of a merged index: its list cannot be read"
        );
        self.wanted.keys().copied().collect()
    }

    /// Lays down what the other lists say of what is wanted, by the key of each package.
    fn lay_down(&self, lists: Vec<Option<Box<dyn Read + Send>>>) -> Result<HashMap<String, Laid>, Invalid> {
        let Self { format, root, wanted, aside, limits, .. } = self;
        let others = lists.len();
        let keys: HashSet<&str> = wanted.values().map(String::as_str).collect();
        let mut laid: HashMap<String, Laid> = HashMap::with_capacity(keys.len());
        let (mut written, mut failed) = (0, None);
        let mut writer = io::BufWriter::new(aside);
        for (number, list) in lists.into_iter().enumerate().filter_map(|(number, list)| Some((number, list?))) {
            let mut list = list;
            format.cut(root, number + 1, &mut *list, limits, &mut |cut: Cut<'_>| {
                if !keys.contains(cut.key) {
                    return ControlFlow::Continue(());
                }
                let of_none = || Laid { places: vec![Place::default(); others], flaw: None };
                let known = laid.entry(cut.key.to_owned()).or_insert_with(of_none);
                // Packages that are equal to the bit are so in every list.
                if let Some(place) = known.places.get_mut(number).filter(|place| place.length == 0) {
                    if let Err(why) = format.check_fragment(root, number + 1, cut.text, limits) {
                        known.flaw = Some(Arc::new(why));
                        return ControlFlow::Continue(());
                    }
                    *place = Place { at: written, length: cut.text.len() };
                    if let Err(error) = writer.write_all(cut.text) {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                    written += cut.text.len() as u64;
                }
                ControlFlow::Continue(())
            })?;
            if let Some(error) = failed.take() {
                return Err(Invalid::Read(error));
            }
        }
        writer.flush().map_err(Invalid::Read)?;
        Ok(laid)
    }

    /// Reads the first list, and hands over what is wanted of it with what was laid down.
    fn hand_over(
        &mut self,
        mut first: Box<dyn Read + Send>,
        laid: &HashMap<String, Laid>,
        others: usize,
        left_out: &mut HashSet<PackageMark>,
        into: &mpsc::Sender<Batch>,
    ) -> Result<(), Invalid> {
        let Self { format, root, wanted, aside, limits, .. } = self;
        let nothing = Laid { places: vec![Place::default(); others], flaw: None };
        let (mut batch, mut bytes, mut failed) = (Batch::new(), 0, None);
        let read = format.cut(root, 0, &mut *first, limits, &mut |cut: Cut<'_>| {
            let Some(package) = &cut.package else { return ControlFlow::Continue(()) };
            let mark = PackageMark::of(package);
            if wanted.remove(&mark).is_none() {
                return ControlFlow::Continue(());
            }
            let Laid { places, flaw } = laid.get(cut.key).unwrap_or(&nothing);
            let flaw = flaw.clone().or_else(|| format.check_fragment(root, 0, cut.text, limits).err().map(Arc::new));
            if let Some(why) = flaw {
                tracing::warn!(
                    target: "artifactapi::publish",
                    root = %root.entry, path = %package.path, %why, "left out of a merged index: clients could not read it"
                );
                left_out.insert(mark);
                return ControlFlow::Continue(());
            }
            let mut fragments = vec![cut.text.to_vec()];
            let fragment = places.iter().try_for_each(|place| {
                let mut text = vec![0; place.length];
                aside.read_exact_at(&mut text, place.at)?;
                fragments.push(text);
                Ok(())
            });
            match fragment.and_then(|()| packed(&fragments)) {
                Ok(fragment) => {
                    bytes += fragment.len();
                    batch.push((mark, fragment));
                }
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            if batch.len() < FRAGMENTS && bytes < BATCH_BYTES {
                return ControlFlow::Continue(());
            }
            bytes = 0;
            // Whoever listened no longer does only when it failed, and then says so itself.
            match into.blocking_send(std::mem::take(&mut batch)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        if let Some(error) = failed {
            return Err(Invalid::Read(error));
        }
        // What came before a list broke off is as good as ever.
        let _ = into.blocking_send(batch);
        read
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use artifactapi_formats::{Format as _, RepoPath};

    use super::super::chunks::unpack;
    use super::*;

    const NAMESPACES: [&str; 3] = ["common", "filelists", "other"];

    fn list(root: &str, number: usize, packages: &str) -> Option<Box<dyn Read + Send>> {
        let namespace = NAMESPACES[number];
        let text = format!("<{root} xmlns=\"http://linux.duke.edu/metadata/{namespace}\">{packages}</{root}>");
        Some(Box::new(Cursor::new(text)))
    }

    fn primary(name: &str, digest: &str) -> String {
        format!(
            "<package><name>{name}</name><version ver=\"1\"/><checksum type=\"sha256\">{digest}</checksum>\
             <location href=\"{name}.rpm\"/></package>"
        )
    }

    /// Cuts `a` and `b` out of lists; what each contributes, by the package's mark.
    fn cut(lists: Vec<Option<Box<dyn Read + Send>>>, wanted: &[(PackageMark, String)]) -> Result<Batch, Invalid> {
        cut_but(lists, wanted).map(|(all, left_out)| {
            assert!(left_out.is_empty());
            all
        })
    }

    /// The same, and what was left out.
    fn cut_but(
        lists: Vec<Option<Box<dyn Read + Send>>>,
        wanted: &[(PackageMark, String)],
    ) -> Result<(Batch, HashSet<PackageMark>), Invalid> {
        let cutting = Cutting {
            format: artifactapi_formats::rpm::Rpm.publish().expect("indexes are written"),
            root: IndexRoot { entry: RepoPath::new("repodata/repomd.xml").expect("a path") },
            lists,
            wanted: wanted.iter().cloned().collect(),
            aside: tempfile::tempfile().expect("a file"),
            limits: Limits::default(),
        };
        let (sender, mut batches) = mpsc::channel(8);
        let left_out = cutting.run(&sender)?;
        drop(sender);
        let mut all = Batch::new();
        while let Some(batch) = batches.blocking_recv() {
            all.extend(batch);
        }
        Ok((all, left_out))
    }

    fn marked(name: &str, digest: &str) -> (PackageMark, String) {
        let mut found = None;
        let document = format!("<metadata>{}</metadata>", primary(name, digest));
        let root = IndexRoot { entry: RepoPath::new("repodata/repomd.xml").expect("a path") };
        let index = artifactapi_formats::rpm::Rpm.index().expect("there are indexes");
        let read = index.packages(&root, &mut document.as_bytes(), &Limits::default(), &mut |package| {
            found = Some(PackageMark::of(&package));
            ControlFlow::Continue(())
        });
        read.expect("read");
        (found.expect("a package"), digest.to_owned())
    }

    #[test]
    fn lists_need_not_be_in_one_order() {
        let (a, b, c) = ("aa".repeat(32), "bb".repeat(32), "cc".repeat(32));
        let of = |digest: &str| format!("<package pkgid=\"{digest}\"><file>/{digest}</file></package>");
        let lists = vec![
            list("metadata", 0, &[primary("a", &a), primary("c", &c), primary("b", &b)].concat()),
            list("filelists", 1, &[of(&c), of(&b), of(&a)].concat()),
            None,
        ];
        let wanted = [marked("a", &a), marked("b", &b)];
        let cut = cut(lists, &wanted).expect("cut");
        assert_eq!(cut.iter().map(|(mark, _)| *mark).collect::<Vec<_>>(), [wanted[0].0, wanted[1].0]);
        for ((_, fragment), digest) in cut.iter().zip([&a, &b]) {
            let fragments = unpack(fragment, 3).expect("unpacked");
            assert_eq!(fragments.len(), 3);
            assert!(String::from_utf8_lossy(&fragments[0]).contains(digest.as_str()));
            assert_eq!(fragments[1], (of(digest) + "\n").into_bytes());
            assert_eq!(fragments[2], b"", "the index has no such list");
        }
    }

    #[test]
    fn a_list_without_a_wanted_package_is_an_error() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        let lists = || vec![list("metadata", 0, &primary("a", &a)), None, None];
        assert!(cut(lists(), &[marked("b", &b)]).is_err());
        assert_eq!(cut(lists(), &[marked("a", &a)]).expect("cut").len(), 1);
        assert!(cut(vec![None, None, None], &[marked("a", &a)]).is_err());
    }
    #[test]
    fn what_clients_would_stumble_over_is_left_out_and_the_rest_is_not() {
        let [a, b, c] = ["aa", "bb", "cc"].map(|byte| byte.repeat(32));
        let of = |digest: &str, file: &str| format!("<package pkgid=\"{digest}\"><file>{file}</file></package>");
        let flawed = primary("b", &b).replace("<name>b</name>", "<name>b</name><summary>\u{1}</summary>");
        let all = [primary("a", &a), flawed, primary("c", &c)].concat();
        let wanted = [marked("a", &a), marked("b", &b), marked("c", &c)];
        let marks = |numbers: &[usize]| numbers.iter().map(|number| wanted[*number].0).collect::<HashSet<_>>();
        let files = |last: &str| [of(&a, "/a"), of(&b, "/b"), of(&c, last)].concat();
        let table = [
            // One package of the first list, one more of another, and a list that ends early.
            (files("/c"), &[0, 2][..]),
            (files("&#1;"), &[0]),
            (files("/c") + "<package", &[]),
        ];
        for (files, kept) in table {
            let lists = vec![list("metadata", 0, &all), list("filelists", 1, &files), None];
            let (cut, left_out) = cut_but(lists, &wanted).expect("cut");
            assert_eq!(cut.into_iter().map(|(mark, _)| mark).collect::<HashSet<_>>(), marks(kept), "{files}");
            assert_eq!(left_out, &marks(&[0, 1, 2]) - &marks(kept), "{files}");
        }
    }
}
