//! Request targets: what is let in is one path, whatever it was spelt like, and stays below its repository.
#![no_main]

use artifactapi_formats::{FORMATS, RepoPath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    for path in [RepoPath::decode(input), RepoPath::new(input)].into_iter().flatten() {
        let text = path.as_str();
        assert!(text.len() <= RepoPath::MAX_BYTES && !text.starts_with('/') && !text.contains(['\0', '\n', '\\']));
        assert!(text.trim_end_matches('/').split('/').all(|segment| !matches!(segment, "" | "." | "..")));
        assert_eq!(RepoPath::decode(&path.to_url_path()).as_ref(), Ok(&path));
        for format in FORMATS.iter() {
            let _ = (format.classify(&path), format.mutability(&path), format.content_type(&path));
            let Some(index) = format.index() else { continue };
            let Some(root) = index.root_of(&path) else { continue };
            // A root is its own, and so are its companions.
            assert_eq!(index.root_of(&root.entry).as_ref(), Some(&root));
            for companion in index.layout(&root).companions {
                assert_eq!(index.root_of(&companion).as_ref(), Some(&root));
            }
        }
        if let Some(key) = FORMATS.find("rpm").and_then(|rpm| rpm.query_key(&path, input)) {
            assert!(key.len() <= input.len());
        }
    }
});
