//! The tools and fixtures of this machine. A test never skips itself: what is missing is an error that says what to run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static TOOLS: LazyLock<Result<HashMap<String, String>, String>> = LazyLock::new(read_tools);

/// The path of a tool, by its key in the testbed's `env` file.
pub(crate) fn tool(key: &str) -> &'static str {
    let tools = TOOLS.as_ref().unwrap_or_else(|missing| panic!("{missing}"));
    tools.get(key).unwrap_or_else(|| panic!("the testbed has no {key}: run tests/testbed/provide again"))
}

/// The built fixtures: `gen1/`, `gen2/`, `keys/`.
pub(crate) fn fixtures() -> PathBuf {
    let folder = Path::new(tool("TESTBED")).join("upstream");
    assert!(folder.join("MANIFEST.json").is_file(), "there are no fixtures: run fixtures/build");
    folder
}

/// One of the two generations of the fixtures.
pub(crate) fn generation(number: u32) -> PathBuf {
    fixtures().join(format!("gen{number}"))
}

/// The bytes of a fixture in a generation.
pub(crate) fn fixture(number: u32, path: &str) -> Vec<u8> {
    let file = generation(number).join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Where the fixtures' keys are.
pub(crate) fn keys() -> PathBuf {
    fixtures().join("keys")
}

fn read_tools() -> Result<HashMap<String, String>, String> {
    let folder = match std::env::var_os("ARTIFACTAPI_TESTBED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/testbed"),
    };
    let file = folder.join("env");
    let text = std::fs::read_to_string(&file)
        .map_err(|error| format!("{}: {error}. Run tests/testbed/provide, then fixtures/build.", file.display()))?;
    Ok(text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect())
}
