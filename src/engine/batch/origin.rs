//! Absolute URLs as paths of a repository.

use artifactapi_formats::RepoPath;
use url::Url;

use crate::config::{Remote, Repository};
use crate::store::key::Target;

/// The target that an absolute URL names in a repository: it must lie below the remote's base URL or one of its mirrors.
///
/// A URL outside of them is refused and never fetched: whoever may send a request here could otherwise make this server
/// ask any address it can reach, and keep the answer where no pattern guards it.
pub(in crate::engine) fn target_of(url: &str, repository: &Repository, remote: &Remote) -> Result<Target, String> {
    let url = Url::parse(url).map_err(|why| format!("is not an absolute URL: {why}"))?;
    let Some(raw) = remote.named().find_map(|base| below(base, &url)) else {
        let bases: Vec<&str> = remote.named().map(Url::as_str).collect();
        if bases.is_empty() {
            return Err(format!(
                "cannot be used: a list says where repository {:?} is fetched from; name the file in paths",
                repository.name
            ));
        }
        return Err(format!(
            "does not lie below {}, which is all that repository {:?} fetches from",
            bases.join(" or "),
            repository.name
        ));
    };
    let path = RepoPath::decode(raw).map_err(|why| format!("names a path that cannot be used: {why}"))?;
    let query = match url.query() {
        None | Some("") => None,
        Some(query) => repository.format.query_key(&path, query),
    };
    Ok(Target::with_query(repository.name.clone(), path.clone(), query.as_deref().unwrap_or_default()))
}

fn below<'u>(base: &Url, url: &'u Url) -> Option<&'u str> {
    if url.origin() == base.origin() { url.path().strip_prefix(base.path()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn below_base_or_mirror() {
        let repository = samples::remote("rpm", "https://h/pub/", &["http://m:8080/"], None);
        let remote = samples::remote_of(&repository);
        let of = |url: &str| target_of(url, &repository, remote).map(|target| target.to_string());
        assert_eq!(of("https://h/pub/a/b%2Bc.rpm"), Ok("sample/a/b+c.rpm".to_owned()));
        assert_eq!(of("https://h:443/pub/a?x=1&countme=2"), Ok("sample/a?x=1".to_owned()));
        assert_eq!(of("http://m:8080/a"), Ok("sample/a".to_owned()));
        for outside in [
            "http://h/pub/a",
            "https://h/a",
            "https://h/pub/../a",
            "https://other/pub/a",
            "http://m/a",
            "file:///etc/passwd",
        ] {
            assert!(of(outside).is_err_and(|why| why.contains("does not lie below https://h/pub/")), "{outside}");
        }
        assert!(of("pub/a").is_err_and(|why| why.starts_with("is not an absolute URL")));
        assert!(of("https://h/pub/a%2fb").is_err_and(|why| why.contains("encoded slash")));
        assert!(of("https://h/pub/").is_err_and(|why| why.contains("empty")));
    }
}
