//! The rules of ARCHITECTURE.md that a compiler does not know, as tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each part of the server may import from the others, by the table of ARCHITECTURE.md. `formats` is a crate of its own and
/// imports none of them.
fn may_import() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(source().with_file_name("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let table = text.split_once("| folder | promises | imports |").expect("a table of folders").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| {
        let [_, folder, _, imports, _] = row.split('|').map(str::trim).collect::<Vec<_>>().try_into().ok()?;
        let part = folder.trim_matches('`').strip_prefix("src/")?;
        let part = part.trim_end_matches('/').trim_end_matches(".rs").to_owned();
        let imports = imports.split(", ").filter(|import| !import.is_empty()).map(|import| import.replace('/', "::"));
        Some((part.clone(), imports.chain([part]).collect()))
    })
    .collect()
}

/// Words that name no idea.
const NO_SUCH_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "misc"];

/// Concrete stores: only `app/stores.rs`, the stores themselves and their tests name them.
const CONCRETE: &[&str] = &["FileBlobs", "S3Blobs", "HotTier", "SqliteCatalog", "PostgresCatalog", "RedisCoordinator"];

/// Every source file below a folder but this one, which spells out what it forbids.
fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.ends_with("src/architecture.rs") {
            continue;
        }
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The first part of a file's path below `src/`, without extension.
fn part_of(file: &Path) -> String {
    let below = file.strip_prefix(source()).expect("below src");
    let first = below.iter().next().expect("a file").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Lines of code, without comments, up to the first test module.
fn code(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("readable");
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(str::to_owned)
        .collect()
}

/// Modules that are declared for tests only, as the folder or file (without extension) they live in.
fn test_modules() -> Vec<PathBuf> {
    let mut modules = Vec::new();
    for file in source_files(&source()) {
        let text = fs::read_to_string(&file).expect("readable");
        let home = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") => file.with_file_name(""),
            _ => file.with_extension(""),
        };
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]") {
            let declared = pair[1].trim().trim_start_matches("pub(crate) ").strip_prefix("mod ");
            if let Some(name) = declared.and_then(|rest| rest.strip_suffix(';')) {
                modules.push(home.join(name));
            }
        }
    }
    modules
}

/// The source files that are part of the server.
fn server_files() -> Vec<PathBuf> {
    let tests = test_modules();
    let is_test = |file: &PathBuf| tests.iter().any(|module| file.with_extension("").starts_with(module));
    source_files(&source()).into_iter().filter(|file| !is_test(file)).collect()
}

#[test]
fn imports_go_one_way() {
    let may_import = may_import();
    let mut wrong = Vec::new();
    for file in server_files() {
        let Some(allowed) = may_import.get(&part_of(&file)) else {
            continue;
        };
        for line in code(&file) {
            for (at, _) in line.match_indices("crate::") {
                let path: String =
                    line[at + 7..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
                let fine = path.is_empty()
                    || allowed.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}::")));
                if !fine {
                    wrong.push(format!("{}: {}", file.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the one way:\n{}", wrong.join("\n"));
}

#[test]
fn every_part_has_a_rule() {
    let (known, may_import) = (["lib", "main"], may_import());
    for file in server_files() {
        let part = part_of(&file);
        let ruled = known.contains(&part.as_str()) || may_import.contains_key(&part);
        assert!(ruled, "{} has no row in the table of ARCHITECTURE.md", file.display());
    }
}

#[test]
fn names_say_what_things_are() {
    for file in server_files() {
        let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(!NO_SUCH_NAMES.contains(&stem.as_str()), "{} names no idea", file.display());
    }
}

#[test]
fn the_environment_is_read_in_config_only() {
    for file in server_files() {
        let reads = code(&file).iter().any(|line| line.contains("env::var"));
        assert!(!reads || part_of(&file) == "config", "{} reads the environment", file.display());
    }
}

#[test]
fn status_codes_are_http_s() {
    for file in server_files() {
        let part = part_of(&file);
        let names = code(&file).iter().any(|line| line.contains("axum::http") || line.contains("IntoResponse"));
        assert!(!names || ["http", "app"].contains(&part.as_str()), "{} makes responses", file.display());
        // Others' answers are judged where they arrive.
        let judges = code(&file).iter().any(|line| line.contains("StatusCode"));
        assert!(!judges || ["http", "upstream", "cli"].contains(&part.as_str()), "{} knows codes", file.display());
    }
}

#[test]
fn only_the_composition_root_names_concrete_stores() {
    for file in server_files() {
        let part = part_of(&file);
        if part == "store" || part == "app" {
            continue;
        }
        for line in code(&file) {
            let named = CONCRETE.iter().find(|name| line.contains(**name));
            assert!(named.is_none(), "{} names {}", file.display(), named.unwrap_or(&""));
        }
    }
}

#[test]
fn formats_is_pure() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("readable");
    let dependencies = manifest.split("[dependencies]").nth(1).expect("dependencies");
    let dependencies = dependencies.split("\n[").next().expect("a section");
    for impure in ["tokio", "axum", "hyper", "reqwest", "sqlx", "aws-", "redis", "artifactapi"] {
        assert!(!dependencies.lines().any(|line| line.starts_with(impure)), "formats depends on {impure}");
    }
}
