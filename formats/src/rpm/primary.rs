//! `primary.xml`: the packages of a root (FORMATS 3.3).
//!
//! Read as it is decompressed, one package at a time, with buffers that live on from package to package. Only what a
//! cache needs is looked at: the names of most elements are compared and nothing more.

use std::io::{BufRead, Read};
use std::ops::ControlFlow;

use super::place;
use super::xml::{Document, Element, Namespaces, Node, gather};
use crate::decompress::open;
use crate::{Algorithm, Digest, Identity, Invalid, Limits, PackageEntry};

const WHAT: &str = "primary.xml";

/// Streams the packages of a primary.xml in any compression.
pub(super) fn packages(
    root_folder: &str,
    from: &mut dyn Read,
    limits: &Limits,
    each: &mut dyn FnMut(PackageEntry) -> ControlFlow<()>,
) -> Result<(), Invalid> {
    let document = Document::new(WHAT, "metadata", open(WHAT, from, limits)?, limits);
    read(root_folder, document, limits, &mut |package, _, _| each(package))
}

/// Streams the packages of a primary.xml: each with its element as it stands, and the namespaces that the root element binds and
/// the package's own does not.
pub(super) fn elements(
    root_folder: &str,
    from: &mut dyn Read,
    limits: &Limits,
    each: &mut dyn FnMut(PackageEntry, &str, &Namespaces) -> ControlFlow<()>,
) -> Result<(), Invalid> {
    let document = Document::new(WHAT, "metadata", open(WHAT, from, limits)?, limits).recording(limits);
    read(root_folder, document, limits, each)
}

fn read<R: BufRead>(
    root_folder: &str,
    mut document: Document<R>,
    limits: &Limits,
    each: &mut dyn FnMut(PackageEntry, &str, &Namespaces) -> ControlFlow<()>,
) -> Result<(), Invalid> {
    let mut namespaces = Namespaces::default();
    let text_bytes = document.text_bytes();
    let mut package = Package::default();
    let mut count = 0_u64;
    let mut inside = false;
    let mut field = None;
    loop {
        let mut is_whole = false;
        match document.next()? {
            Node::Text(text) => {
                if let Some(field) = field {
                    gather(WHAT, package.text(field), &text, text_bytes)?;
                }
            }
            Node::Open(3, element) if inside => field = package.begin(&element)?,
            Node::Close(3) => field = None,
            Node::Open(1, element) => namespaces.of_root = element.namespaces()?,
            Node::Open(2, element) => {
                inside = element.name() == "package";
                if inside {
                    namespaces.of_package = element.namespaces()?;
                }
                package.clear();
            }
            Node::Close(2) => is_whole = std::mem::take(&mut inside),
            Node::Open(..) | Node::Close(_) => {}
            Node::End => return Ok(()),
        }
        if is_whole {
            count += 1;
            if count > limits.packages {
                return Err(Invalid::OverLimit { what: WHAT, limit: "packages", value: limits.packages });
            }
            let entry = package
                .entry(root_folder)
                .map_err(|why| Invalid::malformed(WHAT, format!("package {count}: {why}")))?;
            if entry.is_some_and(|entry| each(entry, document.recorded(), &namespaces).is_break()) {
                return Ok(());
            }
        }
    }
}

/// The fields whose text matters.
#[derive(Clone, Copy)]
enum Field {
    Name,
    Arch,
    Checksum,
}

/// One package as far as it has come.
#[derive(Default)]
struct Package {
    name: String,
    arch: String,
    version: String,
    algorithm: Option<Algorithm>,
    checksum: String,
    size: u64,
    href: Option<String>,
    base: Option<String>,
    path: String,
}

impl Package {
    /// An element directly below `package` begins.
    fn begin(&mut self, element: &Element<'_>) -> Result<Option<Field>, Invalid> {
        match element.name() {
            "name" => return Ok(Some(Field::Name)),
            "arch" => return Ok(Some(Field::Arch)),
            "checksum" => {
                self.algorithm = element.attribute("type")?.and_then(|name| Algorithm::from_name(&name));
                return Ok(Some(Field::Checksum));
            }
            "version" => self.set_version(element)?,
            "size" => self.size = element.attribute("package")?.and_then(|size| size.parse().ok()).unwrap_or(0),
            "location" => {
                self.href = element.attribute("href")?.map(Into::into);
                self.base = element.attribute("xml:base")?.map(Into::into);
            }
            _ => {}
        }
        Ok(None)
    }

    fn text(&mut self, field: Field) -> &mut String {
        match field {
            Field::Name => &mut self.name,
            Field::Arch => &mut self.arch,
            Field::Checksum => &mut self.checksum,
        }
    }

    /// `[epoch:]version-release`; an epoch of 0 is the same as none and is not written.
    fn set_version(&mut self, element: &Element<'_>) -> Result<(), Invalid> {
        self.version.clear();
        if let Some(epoch) = element.attribute("epoch")?.filter(|epoch| !matches!(epoch.trim(), "" | "0")) {
            self.version.push_str(&epoch);
            self.version.push(':');
        }
        self.version.push_str(&element.attribute("ver")?.unwrap_or_default());
        if let Some(release) = element.attribute("rel")?.filter(|release| !release.is_empty()) {
            self.version.push('-');
            self.version.push_str(&release);
        }
        Ok(())
    }

    /// `None` for a package that lies elsewhere, or where nobody can ask for it.
    fn entry(&mut self, root_folder: &str) -> Result<Option<PackageEntry>, &'static str> {
        let href = self.href.as_deref().ok_or("it has no location")?;
        let algorithm = self.algorithm.ok_or("it has no checksum of a known type")?;
        let digest = Digest::from_hex(algorithm, self.checksum.trim()).map_err(|_| "its checksum cannot be read")?;
        if self.name.trim().is_empty() || self.version.is_empty() {
            return Err("it has no name or no version");
        }
        let path = place::of_package(root_folder, self.base.as_deref(), href, &mut self.path);
        Ok(path.map(|path| PackageEntry {
            name: self.name.trim().to_owned(),
            version: self.version.clone(),
            arch: self.arch.trim().to_owned(),
            path,
            size: self.size,
            identity: Identity::File(digest),
        }))
    }

    fn clear(&mut self) {
        self.name.clear();
        self.arch.clear();
        self.version.clear();
        self.algorithm = None;
        self.checksum.clear();
        self.size = 0;
        self.href = None;
        self.base = None;
    }
}
