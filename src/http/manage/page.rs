//! The front page as HTML, with a set-up line for each repository.
//!
//! Everything that is not written here, be it a description from the configuration or the host from the request, goes
//! through [`escaped`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::config::Repository;
use crate::store::catalog::Totals;
use crate::store::key::RepositoryName;

/// The page's only style.
pub(super) const STYLE: &str = include_str!("style.css");

const PAGE: &str = include_str!("page.html");

/// The page. `url` is the server's own, without a slash at the end.
pub(super) fn front(url: &str, repositories: &[Arc<Repository>], totals: &HashMap<RepositoryName, Totals>) -> String {
    let mut sections = String::new();
    for repository in repositories {
        section(&mut sections, url, repository, totals.get(&repository.name));
    }
    if repositories.is_empty() {
        sections.push_str("<p>There are no repositories yet: add one to remotes.yaml.</p>\n");
    }
    // The sections go in last, so that nothing in them is taken for a place to fill in.
    PAGE.replace("{{style}}", STYLE)
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{repositories}}", &sections)
}

fn section(out: &mut String, url: &str, repository: &Repository, totals: Option<&Totals>) {
    let name = escaped(repository.name.as_str());
    let (kind, package) = (repository.kind.name(), repository.format.name());
    // Writing to a string cannot fail.
    let _ = writeln!(out, "<h2 id=\"{name}\">{name} <small>{kind}, {package}</small></h2>");
    if let Some(description) = &repository.description {
        let _ = writeln!(out, "<p>{}</p>", escaped(description));
    }
    if let Some(totals) = totals {
        let size = size(totals.bytes);
        let _ = writeln!(out, "<p><a href=\"/artifacts/{name}\">{} files, {size}</a></p>", totals.artifacts);
    }
    let _ = writeln!(out, "<pre>{}</pre>", escaped(&set_up(url, repository)));
}

/// The line that points the client of a format here.
fn set_up(url: &str, repository: &Repository) -> String {
    let name = &repository.name;
    let base = format!("{url}/api/{name}");
    match repository.format.name() {
        "alpine" => format!("echo {base}/PATH >> /etc/apk/repositories"),
        "rpm" => format!(
            "printf '[{name}]\\nname={name}\\nbaseurl={base}/PATH\\nenabled=1\\n' > /etc/yum.repos.d/{name}.repo"
        ),
        _ => format!("curl -fLO {base}/PATH"),
    }
}

/// Bytes for people: `1.5 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    // Tenths of a unit, in whole numbers.
    let mut tenths = u128::from(bytes) * 10 / 1_024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Text as HTML, within elements and within quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::samples::repository;
    use super::*;

    #[test]
    fn a_line_for_each_format() {
        let repositories = [repository("apks", "alpine"), repository("rpms", "rpm"), repository("files", "generic")];
        let totals = HashMap::from([(repositories[0].name.clone(), Totals { artifacts: 3, bytes: 1_610_612_736 })]);
        let page = front("http://h:8000", &repositories, &totals);
        for line in [
            "echo http://h:8000/api/apks/PATH &gt;&gt; /etc/apk/repositories",
            "baseurl=http://h:8000/api/rpms/PATH",
            "curl -fLO http://h:8000/api/files/PATH",
            "<a href=\"/artifacts/apks\">3 files, 1.5 GiB</a>",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(!page.contains("{{") && !page.contains("<script"));
    }

    #[test]
    fn nothing_is_markup_but_our_own() {
        let mut one = Repository::clone(&repository("a", "generic"));
        one.description = Some("<b onload='x'>\"&\" {{version}}".to_owned());
        let page = front("http://h\"><i>", &[Arc::new(one)], &HashMap::new());
        assert!(page.contains("&lt;b onload=&#39;x&#39;&gt;&quot;&amp;&quot; {{version}}"), "{page}");
        assert!(!page.contains("<i>"));
    }

    #[test]
    fn sizes() {
        let table = [
            (0, "0 bytes"),
            (1_023, "1023 bytes"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }
}
