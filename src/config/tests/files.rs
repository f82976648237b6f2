//! Where the file is looked for, and files that cannot be read at all.

use std::path::Path;
use std::sync::Arc;

use artifactapi_formats::FORMATS;

use super::lookup;
use crate::config::Source;

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let find = |explicit: Option<&str>| Source::find(explicit.map(Path::new), folder.path(), FORMATS, Arc::new(lookup));
    let load = |explicit| find(explicit).expect("named").load().expect_err("wrong").to_string();

    let file = at("mine.yaml");
    assert_eq!(load(Some("mine.yaml")), format!("cannot read {file}: No such file or directory (os error 2)"));
    std::fs::create_dir(folder.path().join("mine.yaml")).expect("folder");
    assert_eq!(load(Some("mine.yaml")), format!("cannot read {file}: Is a directory (os error 21)"));
    std::fs::write(folder.path().join("big.yaml"), vec![b'#'; (1 << 20) + 1]).expect("write");
    assert_eq!(load(Some("big.yaml")), format!("cannot read {}: it has more than 1048576 bytes", at("big.yaml")));
    std::fs::write(folder.path().join("latin.yaml"), b"remotes:\n  # \xfcber\n").expect("write");
    let text = format!("{}:2:5: not UTF-8; save the file in that encoding", at("latin.yaml"));
    assert_eq!(load(Some("latin.yaml")), text);

    // Unless the machine that tests happens to have one at the last place.
    if let Err(error) = find(None) {
        let places = [at("remotes.yaml"), at("config/remotes.yaml"), "/app/remotes.yaml".to_owned()].join(", ");
        let expected = format!(
            "no configuration file: ARTIFACTAPI_CONFIG names none, and there is none at {places}; write one there or set \
             the variable"
        );
        assert_eq!(error.to_string(), expected);
    }
    std::fs::create_dir(folder.path().join("config")).expect("folder");
    std::fs::write(folder.path().join("config/remotes.yaml"), "remotes: {}").expect("write");
    assert_eq!(find(None).expect("found").file(), folder.path().join("config/remotes.yaml"));
    std::fs::write(folder.path().join("remotes.yaml"), "remotes: {}").expect("write");
    assert_eq!(find(None).expect("found").file(), folder.path().join("remotes.yaml"));
}
