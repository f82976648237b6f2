//! The three lists of an index, and what stands before and after their packages (FORMATS 3.3, 3.4).

use crate::publish::Totals;

/// What every document begins with.
pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// By the names that `repomd.xml` gives them.
pub(super) const NAMES: [&str; 3] = ["primary", "filelists", "other"];

/// The root element of a list, and its namespaces.
const ROOTS: [(&str, &str); 3] = [
    ("metadata", "xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\""),
    ("filelists", "xmlns=\"http://linux.duke.edu/metadata/filelists\""),
    ("otherdata", "xmlns=\"http://linux.duke.edu/metadata/other\""),
];

/// The root element of a list.
pub(super) fn root(list: usize) -> Option<&'static str> {
    ROOTS.get(list).map(|(root, _)| *root)
}

/// Whether the root element of a list binds a namespace to this name.
pub(super) fn binds(list: usize, name: &str, value: &str) -> bool {
    let bound = format!("{name}=\"{value}\"");
    ROOTS.get(list).is_some_and(|(_, namespaces)| namespaces.split(' ').any(|known| known == bound))
}

/// What comes before all packages. Nothing, for a list that there is not.
pub(super) fn open(list: usize, totals: &Totals) -> Vec<u8> {
    let open = ROOTS
        .get(list)
        .map(|(root, namespaces)| format!("{DECLARATION}<{root} {namespaces} packages=\"{}\">\n", totals.packages));
    open.unwrap_or_default().into_bytes()
}

/// What comes after them.
pub(super) fn close(list: usize) -> Vec<u8> {
    ROOTS.get(list).map(|(root, _)| format!("</{root}>\n")).unwrap_or_default().into_bytes()
}
