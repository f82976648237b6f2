//! Where packages and carried files may lie, and what a package's name must be.

use crate::rpm::names;
use crate::{IndexRoot, Invalid, RepoPath};

const WHAT: &str = "rpm package";

/// The folder of every index.
const REPODATA: &str = "repodata";

/// The root that lists what lies at `path`: the folder that the first `depth` segments name. A file that is
/// [carried](carried_kind) must lie in the `repodata/` of such a root.
pub(super) fn root_for(path: &RepoPath, depth: usize) -> Result<IndexRoot, Invalid> {
    let malformed = |why: String| Invalid::malformed(WHAT, why);
    let mut folders: Vec<_> = path.folder().split('/').filter(|folder| !folder.is_empty()).collect();
    if carried_kind(path).is_some() {
        folders.pop();
        if folders.len() != depth {
            let example = example(depth);
            return Err(malformed(format!(
                "its root has {} folders where root_depth says {depth}; put it at {example}{REPODATA}/{}",
                folders.len(),
                path.file_name()
            )));
        }
    } else if path.is_directory() || !path.file_name().ends_with(".rpm") {
        return Err(malformed("its name does not end in .rpm".to_owned()));
    }
    if folders.contains(&REPODATA) {
        return Err(malformed(format!("{REPODATA}/ is for the index; put it beside or below Packages/")));
    }
    let root = folders.get(..depth).ok_or_else(|| {
        malformed(format!(
            "it lies in {} folders where root_depth says {depth} lead to a root; put it at {}{}",
            folders.len(),
            example(depth),
            path.file_name()
        ))
    })?;
    let entry = names::entry_in(&root.join("/"));
    entry
        .map(|entry| IndexRoot { entry })
        .ok_or_else(|| malformed("its path is too long for an index beside it".to_owned()))
}

/// A path of so many folders, for messages.
fn example(depth: usize) -> String {
    match depth {
        0 => String::new(),
        1 => "<arch>/".to_owned(),
        2 => "<release>/<arch>/".to_owned(),
        more => "<folder>/".repeat(more - 2) + "<release>/<arch>/",
    }
}

/// The word of `repomd.xml` for a file that is carried as it is. Its name may begin with its digest, as such names do.
pub(super) fn carried_kind(path: &RepoPath) -> Option<String> {
    if path.folder().rsplit('/').next() != Some(REPODATA) {
        return None;
    }
    let name = path.file_name();
    let name = match names::digest_in(name) {
        Some(_) => name.split_once('-').map_or(name, |(_, name)| name),
        None => name,
    };
    const COMPRESSED: [&str; 4] = ["gz", "xz", "bz2", "zst"];
    let compressed = name.rsplit_once('.').filter(|(_, end)| COMPRESSED.contains(end));
    let (plain, compression) = compressed.map_or((name, None), |(plain, end)| (plain, Some(end)));
    let kind = match plain {
        "updateinfo.xml" => "updateinfo",
        "modules.yaml" => "modules",
        "productid" => "productid",
        // Clients ask for the compressed form by a word of its own. Some put in front of it what it is about: `c7-x86_64-comps.xml`.
        _ if plain.starts_with("comps") && plain.ends_with(".xml") || plain.ends_with("-comps.xml") => {
            return Some(compression.map_or("group".to_owned(), |end| format!("group_{end}")));
        }
        _ => return None,
    };
    Some(kind.to_owned())
}

/// Whether what `repomd.xml` names by this word is carried. Of those that zchunk has cut up there is another form beside each, which is
/// enough.
pub(super) fn is_carried(kind: &str) -> bool {
    let (plain, form) = kind.split_once('_').unwrap_or((kind, ""));
    matches!(plain, "group" | "updateinfo" | "modules" | "productid") && form != "zck"
}

/// Where distributions put a file of this name: packages below `Packages/` by their first letter.
pub(super) fn usual_folder(file_name: &str) -> String {
    let in_repodata = RepoPath::join(REPODATA, file_name);
    if in_repodata.is_ok_and(|path| carried_kind(&path).is_some()) {
        return REPODATA.to_owned();
    }
    let first = file_name.chars().next().filter(|_| file_name.ends_with(".rpm"));
    first.map_or_else(String::new, |first| format!("Packages/{}", first.to_lowercase()))
}

/// What a package says it is, as far as its file name shows.
pub(super) struct Named<'n> {
    pub(super) name: &'n str,
    pub(super) version: &'n str,
    pub(super) release: &'n str,
    pub(super) arch: &'n str,
}

impl Named<'_> {
    /// Checks that the parts can be told apart, and that the file is named by them. Clients take any name from the index,
    /// but people, mirrors and `createrepo_c --update` do not: a file called `bash-5.2-1.x86_64.rpm` should be that.
    pub(super) fn check(&self, file_name: &str) -> Result<(), Invalid> {
        let Self { name, version, release, arch } = self;
        let parts =
            [("name", name, "/"), ("version", version, "/-"), ("release", release, "/-"), ("arch", arch, "/.-")];
        for (part, value, forbidden) in parts {
            let is_bad = |c: char| c.is_whitespace() || c.is_control() || forbidden.contains(c);
            if value.is_empty() || value.contains(is_bad) {
                return Err(Invalid::malformed(
                    WHAT,
                    format!("its {part} is '{}', which cannot be one", value.escape_debug()),
                ));
            }
        }
        let own = |arch: &str| format!("{name}-{version}-{release}.{arch}.rpm");
        // A source package that may not be handed on whole is called by a word of its own, and is one all the same.
        if file_name == own(arch) || *arch == "src" && file_name == own("nosrc") {
            return Ok(());
        }
        Err(Invalid::malformed(
            WHAT,
            format!("by its header it is {}; upload it under that name", own(arch).escape_debug()),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).expect(text)
    }

    #[test]
    fn roots() {
        let root = |text: &str, depth| root_for(&path(text), depth).map(|root| root.entry.to_string());
        let table = [
            ("el9/x86_64/Packages/a.rpm", 2, Some("el9/x86_64/repodata/repomd.xml")),
            ("el9/x86_64/a.rpm", 2, Some("el9/x86_64/repodata/repomd.xml")),
            ("el9/x86_64/Packages/a/a.rpm", 1, Some("el9/repodata/repomd.xml")),
            ("a.rpm", 0, Some("repodata/repomd.xml")),
            ("Packages/a.rpm", 0, Some("repodata/repomd.xml")),
            ("el9/x86_64/repodata/comps.xml", 2, Some("el9/x86_64/repodata/repomd.xml")),
            ("repodata/comps.xml", 0, Some("repodata/repomd.xml")),
            ("el9/a.rpm", 2, None),
            ("a.rpm", 1, None),
            ("el9/x86_64/repodata/a.rpm", 2, None),
            ("el9/repodata/a.rpm", 2, None),
            ("el9/x86_64/Packages/repodata/a.rpm", 2, None),
            ("el9/x86_64/Packages/repodata/comps.xml", 2, None),
            ("el9/repodata/comps.xml", 2, None),
            ("el9/x86_64/a.drpm", 2, None),
            ("el9/x86_64/a.rpm/", 2, None),
            ("el9/x86_64/README", 2, None),
        ];
        for (text, depth, expected) in table {
            assert_eq!(root(text, depth).ok().as_deref(), expected, "{text} at {depth}");
        }
        let said = root("el9/a.rpm", 2).expect_err("too short").to_string();
        assert!(said.ends_with("put it at <release>/<arch>/a.rpm"), "{said}");
    }

    #[test]
    fn what_is_carried() {
        let digest = "8e82dc3c3d15db7bfc561943887ee94357e6a7ba9794da3ed2007523876656ec";
        let [named, about] = ["comps.xml.gz", "c7-x86_64-comps.xml"].map(|name| format!("9/repodata/{digest}-{name}"));
        let table = [
            ("9/repodata/comps.xml", Some("group")),
            ("repodata/comps-Everything.x86_64.xml", Some("group")),
            ("9/repodata/comps.xml.gz", Some("group_gz")),
            ("9/repodata/comps.xml.zst", Some("group_zst")),
            (&named, Some("group_gz")),
            (&about, Some("group")),
            ("9/repodata/c7-x86_64-comps.xml.gz", Some("group_gz")),
            ("9/repodata/mycomps.xml", None),
            ("9/repodata/updateinfo.xml", Some("updateinfo")),
            ("9/repodata/updateinfo.xml.gz", Some("updateinfo")),
            ("9/repodata/modules.yaml.xz", Some("modules")),
            ("9/repodata/productid", Some("productid")),
            ("9/comps.xml", None),
            ("9/myrepodata/comps.xml", None),
            ("9/repodata/repomd.xml", None),
            ("9/repodata/primary.xml.gz", None),
            ("9/repodata/sub/comps.xml", None),
            ("9/repodata/productid.zck", None),
        ];
        for (text, kind) in table {
            assert_eq!(carried_kind(&path(text)).as_deref(), kind, "{text}");
        }
    }

    #[test]
    fn words_of_what_is_carried() {
        for kind in ["group", "group_gz", "group_xz", "updateinfo", "modules", "productid"] {
            assert!(is_carried(kind), "{kind}");
        }
        for kind in ["primary", "group_zck", "updateinfo_zck", "appstream", "groups", "prestodelta"] {
            assert!(!is_carried(kind), "{kind}");
        }
    }

    #[test]
    fn usual_folders() {
        let table = [
            ("hello-1.0-1.x86_64.rpm", "Packages/h"),
            ("ModemManager-1-1.x86_64.rpm", "Packages/m"),
            ("389-ds-base-1-1.x86_64.rpm", "Packages/3"),
            ("comps.xml", "repodata"),
            ("updateinfo.xml.gz", "repodata"),
            ("RPM-GPG-KEY-ci", ""),
        ];
        for (name, folder) in table {
            assert_eq!(usual_folder(name), folder, "{name}");
        }
    }

    #[test]
    fn file_names() {
        let named = |name, version, release, arch, file_name| Named { name, version, release, arch }.check(file_name);
        let table = [
            ("a-b", "1", "2.el9", "x86_64", "a-b-1-2.el9.x86_64.rpm", true),
            ("a", "1", "2", "src", "a-1-2.src.rpm", true),
            ("a", "1", "2", "src", "a-1-2.nosrc.rpm", true),
            ("libplus++", "1~rc1^git", "1", "noarch", "libplus++-1~rc1^git-1.noarch.rpm", true),
            ("a", "1", "2", "noarch", "a-1-2.nosrc.rpm", false),
            ("a", "1", "2", "noarch", "a-1-3.noarch.rpm", false),
            ("a", "1-2", "3", "noarch", "a-1-2-3.noarch.rpm", false),
            ("", "1", "2", "noarch", "-1-2.noarch.rpm", false),
            ("a", "1", "2", "", "a-1-2..rpm", false),
            ("a b", "1", "2", "noarch", "a b-1-2.noarch.rpm", false),
            ("../a", "1", "2", "noarch", "../a-1-2.noarch.rpm", false),
        ];
        for (name, version, release, arch, file_name, fits) in table {
            assert_eq!(named(name, version, release, arch, file_name).is_ok(), fits, "{file_name}");
        }
        let said = named("a", "1", "2", "noarch", "b.rpm").expect_err("another").to_string();
        assert_eq!(said, "malformed rpm package: by its header it is a-1-2.noarch.rpm; upload it under that name");
    }
}
