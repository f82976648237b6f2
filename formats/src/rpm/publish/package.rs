//! A package in the three lists of an index: its element of `primary.xml`, of `filelists.xml` and of `other.xml`, field by field
//! as createrepo_c makes them (FORMATS 3.3, 3.4).

use std::borrow::Cow;

use super::dependencies::{Dependencies, Dependency};
use super::files::Files;
use super::opened::Opened;
use super::place::Named;
use super::xml::{Attribute, Xml};
use super::{changelog, repomd};
use crate::publish::{Described, Upload};
use crate::rpm::names;
use crate::rpm::whole_header::WholeHeader;
use crate::{Identity, Invalid, Limits, PackageEntry};

const WHAT: &str = "rpm package";

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const SUMMARY: u32 = 1004;
const DESCRIPTION: u32 = 1005;
const BUILD_TIME: u32 = 1006;
const BUILD_HOST: u32 = 1007;
const SIZE: u32 = 1009;
const VENDOR: u32 = 1011;
const LICENSE: u32 = 1014;
const PACKAGER: u32 = 1015;
const GROUP: u32 = 1016;
const URL: u32 = 1020;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;
const SOURCE_PACKAGE: u32 = 1106;
const LONG_SIZE: u32 = 5009;

/// Describes a package that lies where `upload` says.
pub(super) fn describe(upload: &Upload<'_>, opened: &Opened, limits: &Limits) -> Result<Described, Invalid> {
    let header = &opened.header;
    let package = Package::read(upload, opened)?;
    let named =
        Named { name: &package.name, version: &package.version, release: &package.release, arch: &package.arch };
    named.check(upload.path.file_name())?;

    let version = package.whole_version();
    let files = Files::read(header, limits)?;
    let mut dependencies = Dependencies::read(header, limits)?;
    if !header.has_region() {
        let name = header.text(NAME)?.unwrap_or_default();
        dependencies.provide_itself(header, name, version.as_bytes())?;
    }
    let shipped = files.primary_among(&dependencies.required_names())?;
    dependencies.settle_requires(&shipped);

    let fragments = vec![
        package.primary(&dependencies, &files, limits)?,
        package.filelists(&files, limits)?,
        package.other(limits)?,
    ];
    let entry = PackageEntry {
        name: package.name.into_owned(),
        version: version.clone(),
        arch: package.arch.into_owned(),
        path: upload.path.clone(),
        size: upload.size,
        identity: Identity::File(upload.sha256.into()),
    };
    Ok(Described { entry, fragments })
}

/// What the three lists have in common, and what a header does not say.
struct Package<'p> {
    header: &'p WholeHeader,
    upload: &'p Upload<'p>,
    opened: &'p Opened,
    /// Where it lies, from its root.
    href: &'p str,
    name: Cow<'p, str>,
    arch: Cow<'p, str>,
    epoch: u64,
    version: Cow<'p, str>,
    release: Cow<'p, str>,
}

impl<'p> Package<'p> {
    fn read(upload: &'p Upload<'p>, opened: &'p Opened) -> Result<Self, Invalid> {
        let header = &opened.header;
        let href = repomd::below(&names::layout(upload.root).folder, upload.path);
        Ok(Self {
            header,
            upload,
            opened,
            href: href.ok_or_else(|| Invalid::malformed(WHAT, "it does not lie below the root that is to list it"))?,
            name: text(header, NAME)?,
            arch: if is_source(opened)? { Cow::Borrowed("src") } else { text(header, ARCH)? },
            epoch: header.number(EPOCH)?.unwrap_or(0),
            version: text(header, VERSION)?,
            release: text(header, RELEASE)?,
        })
    }

    /// `[epoch:]version-release`.
    fn whole_version(&self) -> String {
        match self.epoch {
            0 => format!("{}-{}", self.version, self.release),
            epoch => format!("{epoch}:{}-{}", self.version, self.release),
        }
    }

    fn primary(&self, dependencies: &Dependencies<'_>, files: &Files<'_>, limits: &Limits) -> Result<Vec<u8>, Invalid> {
        let header = self.header;
        let number = |tag| header.number(tag).map(|number| number.unwrap_or(0).to_string());
        let installed = if header.has(LONG_SIZE) { number(LONG_SIZE)? } else { number(SIZE)? };
        let (start, end) = self.opened.range;

        let mut xml = Xml::fragment(WHAT, limits);
        xml.begin("package", &[("type", "rpm")])?;
        xml.text("name", &[], &self.name)?;
        xml.text("arch", &[], &self.arch)?;
        self.write_version(&mut xml)?;
        xml.text("checksum", &[("type", "sha256"), ("pkgid", "YES")], &self.upload.sha256.hex())?;
        for (element, tag) in [("summary", SUMMARY), ("description", DESCRIPTION), ("packager", PACKAGER), ("url", URL)]
        {
            xml.text(element, &[], &text(header, tag)?)?;
        }
        let uploaded = self.upload.uploaded_at.to_string();
        xml.empty("time", &[("file", &uploaded), ("build", &number(BUILD_TIME)?)])?;
        let (size, archive) = (self.upload.size.to_string(), self.opened.archive.to_string());
        xml.empty("size", &[("package", &size), ("installed", &installed), ("archive", &archive)])?;
        xml.empty("location", &[("href", self.href)])?;
        xml.begin("format", &[])?;
        for (element, tag) in
            [("rpm:license", LICENSE), ("rpm:vendor", VENDOR), ("rpm:group", GROUP), ("rpm:buildhost", BUILD_HOST)]
        {
            xml.text(element, &[], &text(header, tag)?)?;
        }
        xml.text("rpm:sourcerpm", &[], &self.source_rpm()?)?;
        xml.empty("rpm:header-range", &[("start", &start.to_string()), ("end", &end.to_string())])?;
        for (element, list) in [
            ("rpm:provides", &dependencies.provides),
            ("rpm:requires", &dependencies.requires),
            ("rpm:conflicts", &dependencies.conflicts),
            ("rpm:obsoletes", &dependencies.obsoletes),
            ("rpm:suggests", &dependencies.suggests),
            ("rpm:enhances", &dependencies.enhances),
            ("rpm:recommends", &dependencies.recommends),
            ("rpm:supplements", &dependencies.supplements),
        ] {
            write_dependencies(&mut xml, element, list)?;
        }
        files.write(&mut xml, true)?;
        xml.end();
        xml.end();
        Ok(xml.finish())
    }

    fn filelists(&self, files: &Files<'_>, limits: &Limits) -> Result<Vec<u8>, Invalid> {
        let mut xml = self.begin_part(limits)?;
        files.write(&mut xml, false)?;
        xml.end();
        Ok(xml.finish())
    }

    fn other(&self, limits: &Limits) -> Result<Vec<u8>, Invalid> {
        let mut xml = self.begin_part(limits)?;
        changelog::write(self.header, &mut xml)?;
        xml.end();
        Ok(xml.finish())
    }

    /// How a package's element of filelists and other begins.
    fn begin_part(&self, limits: &Limits) -> Result<Xml, Invalid> {
        let mut xml = Xml::fragment(WHAT, limits);
        let id = self.upload.sha256.hex();
        xml.begin("package", &[("pkgid", &id), ("name", &self.name), ("arch", &self.arch)])?;
        self.write_version(&mut xml)?;
        Ok(xml)
    }

    fn write_version(&self, xml: &mut Xml) -> Result<(), Invalid> {
        let epoch = self.epoch.to_string();
        xml.empty("version", &[("epoch", &epoch), ("ver", &self.version), ("rel", &self.release)])
    }

    /// The source package that it was built from. librpm calls it `(none)` for packages that do not say.
    fn source_rpm(&self) -> Result<Cow<'p, str>, Invalid> {
        let is_unsaid = self.arch != "src" && !self.header.has(SOURCE_RPM);
        if is_unsaid { Ok(Cow::Borrowed("(none)")) } else { text(self.header, SOURCE_RPM) }
    }
}

/// A tag's text; empty if there is none.
fn text(header: &WholeHeader, tag: u32) -> Result<Cow<'_, str>, Invalid> {
    header.text(tag).map(|found| super::text::of(found.unwrap_or_default()))
}

/// Source packages have a tag that says so; those of twenty years ago have only their lead, and name no source.
fn is_source(opened: &Opened) -> Result<bool, Invalid> {
    let header = &opened.header;
    Ok(match header.number(SOURCE_PACKAGE)? {
        Some(number) => number != 0,
        None => opened.is_source_by_lead && !header.has(SOURCE_RPM),
    })
}

fn write_dependencies(xml: &mut Xml, element: &'static str, list: &[Dependency<'_>]) -> Result<(), Invalid> {
    if list.is_empty() {
        return Ok(());
    }
    xml.begin(element, &[])?;
    for one in list {
        let (name, version) = (one.name(), one.version().unwrap_or_default());
        let mut attributes: Vec<Attribute<'_>> = vec![("name", &name)];
        if let Some(comparison) = one.comparison() {
            let parts = [("epoch", &*version.epoch), ("ver", &*version.version), ("rel", &*version.release)];
            attributes.push(("flags", comparison));
            attributes.extend(parts.into_iter().filter(|(_, part)| !part.is_empty()));
        }
        if element == "rpm:requires" && one.is_pre() {
            attributes.push(("pre", "1"));
        }
        xml.empty("rpm:entry", &attributes)?;
    }
    xml.end();
    Ok(())
}
