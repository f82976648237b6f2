//! Where an `href` leads: below this repository, or elsewhere (FORMATS 3.2, 3.3).
//!
//! An href is relative to the root folder, not to `repodata/`; `xml:base` takes the root's place. A base or href that is
//! a URL of its own leads elsewhere: clients fetch that file without us, so there is nothing to say about it here.

use crate::{InvalidPath, RepoPath};

/// The folder that hrefs of one element start from; `None` when `base` leads elsewhere.
fn start<'b>(root_folder: &'b str, base: Option<&'b str>) -> Option<[&'b str; 2]> {
    match base {
        Some(base) if is_elsewhere(base) => None,
        Some(base) => Some([root_folder, base]),
        None => Some([root_folder, ""]),
    }
}

fn is_elsewhere(reference: &str) -> bool {
    // A scheme: `https://…`, but also `media:…` of old installation sets.
    let scheme = reference.split(['/', '?', '#']).next().unwrap_or_default();
    reference.starts_with('/') || scheme.contains(':') && !scheme.starts_with(':')
}

/// Where a metadata file lies. `Ok(None)`: elsewhere.
///
/// # Errors
/// [`InvalidPath`] for anything but a plain path below the root; librepo refuses such a member too.
pub(super) fn of_member(root_folder: &str, base: Option<&str>, href: &str) -> Result<Option<RepoPath>, InvalidPath> {
    let Some([folder, base]) = start(root_folder, base).filter(|_| !href.contains("://")) else {
        return Ok(None);
    };
    let path = match base.trim_end_matches('/') {
        "" => RepoPath::join(folder, href)?,
        base => RepoPath::join(folder, &format!("{base}/{href}"))?,
    };
    if path.is_directory() { Err(InvalidPath::EmptySegment) } else { Ok(Some(path)) }
}

/// Where a package lies; `None` when elsewhere, or where nobody can ask for it. Dot segments are taken out as clients do
/// before they ask: `../noarch/a.rpm` may well lie in this repository.
pub(super) fn of_package(root_folder: &str, base: Option<&str>, href: &str, path: &mut String) -> Option<RepoPath> {
    let start = start(root_folder, base).filter(|_| !href.contains("://") && !href.starts_with('/'))?;
    path.clear();
    path.push_str(root_folder);
    for segment in start[1].split('/').filter(|segment| !segment.is_empty()).chain(href.split('/')) {
        match segment {
            "." => {}
            ".." if path.is_empty() => return None,
            ".." => path.truncate(path.rfind('/').unwrap_or(0)),
            _ => {
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(segment);
                if path.len() > RepoPath::MAX_BYTES {
                    return None;
                }
            }
        }
    }
    RepoPath::new(path).ok().filter(|path| !path.is_directory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages() {
        let table: [(&str, Option<&str>, &str, Option<&str>); 16] = [
            ("9/os", None, "Packages/a.rpm", Some("9/os/Packages/a.rpm")),
            ("", None, "a.rpm", Some("a.rpm")),
            ("9/os", None, "./a.rpm", Some("9/os/a.rpm")),
            ("9/os", None, "../noarch/a.rpm", Some("9/noarch/a.rpm")),
            ("9/os", None, "../../a.rpm", Some("a.rpm")),
            ("9/os", None, "../../../a.rpm", None),
            ("9/os", None, "a//b.rpm", None),
            ("9/os", None, "a\\b.rpm", None),
            ("9/os", None, "/a.rpm", None),
            ("9/os", None, "https://example.com/a.rpm", None),
            ("9/os", Some("https://example.com/"), "a.rpm", None),
            ("9/os", Some("media:1#2"), "a.rpm", None),
            ("9/os", Some("sub/"), "a.rpm", Some("9/os/sub/a.rpm")),
            ("9/os", Some(""), "a.rpm", Some("9/os/a.rpm")),
            ("9/os", None, "Packages/", None),
            ("9/os", None, "a:b.rpm", Some("9/os/a:b.rpm")),
        ];
        for (root, base, href, path) in table {
            let found = of_package(root, base, href, &mut String::new());
            assert_eq!(found.as_ref().map(RepoPath::as_str), path, "{root} {base:?} {href}");
        }
    }

    #[test]
    fn members() {
        let of = |base, href| of_member("9/os", base, href).map(|path| path.map(|path| path.to_string()));
        assert_eq!(of(None, "repodata/a.gz"), Ok(Some("9/os/repodata/a.gz".into())));
        assert_eq!(of(Some("sub/"), "a.gz"), Ok(Some("9/os/sub/a.gz".into())));
        assert_eq!(of(Some("http://example.com/"), "a.gz"), Ok(None));
        assert_eq!(of(None, "../a.gz"), Err(InvalidPath::DotSegment));
        assert_eq!(of(None, "/etc/passwd"), Err(InvalidPath::EmptySegment));
        assert_eq!(of(None, ""), Err(InvalidPath::EmptySegment));
    }
}
