//! What the links of a listing name: files and folders below the folder that is listed, and nothing else.
//!
//! A page may link anywhere. Only a link that resolves to something below the listed folder, as it was asked for or as it
//! answered after redirects, is taken; links up, elsewhere, to another order of the same page (`?C=N;O=D`) or to a place
//! in it are not. So a crawl can only ever go down.

use artifactapi_formats::RepoPath;
use url::Url;

/// A listed folder.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    /// The folder below the repository, without a trailing slash; `""` is the top.
    pub(super) folder: &'a str,
    /// The URL it was asked for at; ends in a slash.
    pub(super) asked: Url,
    /// The URL that answered; it need not end in a slash.
    pub(super) answered: Url,
}

impl Listed<'_> {
    /// What a link names; a folder ends in a slash. `None` for what is not below this folder or has no valid path.
    pub(super) fn names(&self, href: &str) -> Option<RepoPath> {
        if href.is_empty() || href.starts_with(['#', '?']) {
            return None;
        }
        let url = self.answered.join(href).ok()?;
        if url.query().is_some() || !url.username().is_empty() {
            return None;
        }
        let relative = below(&self.answered, &url).or_else(|| below(&self.asked, &url))?;
        if self.folder.is_empty() {
            return RepoPath::decode(relative).ok();
        }
        let relative = RepoPath::decode(relative).ok()?;
        RepoPath::join(self.folder, relative.as_str()).ok()
    }
}

/// The path of `url` below the folder of `base`; `None` when it is that folder itself or not below it.
fn below<'u>(base: &Url, url: &'u Url) -> Option<&'u str> {
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let relative = url.path().strip_prefix(folder)?.strip_prefix('/')?;
    (url.origin() == base.origin() && !relative.is_empty()).then_some(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &str, asked: &str, answered: &str, href: &str) -> Option<String> {
        let url = |text: &str| Url::parse(text).expect(text);
        let listed = Listed { folder, asked: url(asked), answered: url(answered) };
        listed.names(href).map(|path| path.to_string())
    }

    #[test]
    fn only_what_is_below() {
        let base = "http://h/files/a/";
        let table = [
            ("x.zip", Some("a/x.zip")),
            ("./x.zip", Some("a/x.zip")),
            ("sub/", Some("a/sub/")),
            ("sub/deep/x.zip", Some("a/sub/deep/x.zip")),
            ("/files/a/x.zip", Some("a/x.zip")),
            ("http://h/files/a/x.zip#top", Some("a/x.zip")),
            ("//h/files/a/x.zip", Some("a/x.zip")),
            ("x%20%2B~.zip", Some("a/x +~.zip")),
            ("x y.zip", Some("a/x y.zip")),
            ("../", None),
            ("../b/x.zip", None),
            ("..", None),
            ("%2e%2e/b/x", None),
            ("./", None),
            ("", None),
            ("/", None),
            ("/files/ab/x.zip", None),
            ("?C=N;O=D", None),
            ("x.zip?C=N", None),
            ("#top", None),
            ("https://h/files/a/x.zip", None),
            ("http://other/files/a/x.zip", None),
            ("http://u@h/files/a/x.zip", None),
            ("mailto:a@h", None),
            ("javascript:void(0)", None),
            ("x%2fy", None),
            ("x%00", None),
            ("x//y", None),
            ("http://[bad", None),
        ];
        for (href, path) in table {
            assert_eq!(names("a", base, base, href).as_deref(), path, "{href}");
        }
    }

    #[test]
    fn the_top_and_redirects() {
        assert_eq!(names("", "http://h/", "http://h/", "x.zip").as_deref(), Some("x.zip"));
        assert_eq!(names("", "http://h/", "http://h/", "/").as_deref(), None);
        let (asked, answered) = ("http://h/files/a/", "https://mirror/pub/a/");
        assert_eq!(names("a", asked, answered, "x").as_deref(), Some("a/x"));
        assert_eq!(names("a", asked, answered, "http://h/files/a/x").as_deref(), Some("a/x"));
        assert_eq!(names("a", asked, answered, "https://mirror/pub/b/x").as_deref(), None);
        assert_eq!(names("a", asked, "http://h/files/a/index.html", "x").as_deref(), Some("a/x"));
    }
}
