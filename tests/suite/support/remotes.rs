//! remotes.yaml as a test writes it. JSON is YAML, so a value is written as it is.

use serde_json::{Map, Value, json};

/// One entry below `remotes:`.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    name: String,
    keys: Map<String, Value>,
}

impl Remote {
    /// A remote of a format. Its index and files stay fresh for longer than any test takes.
    pub(crate) fn new(name: &str, package: &str, base_url: impl Into<String>) -> Self {
        let keys = [
            ("type", json!("remote")),
            ("package", json!(package)),
            ("base_url", json!(base_url.into())),
            ("cache", json!({ "file_ttl": 0, "index_ttl": "1d" })),
        ];
        let keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { name: name.to_owned(), keys }
    }

    /// An rpm remote by a list of its mirrors: `mirrorlist` or `metalink`.
    pub(crate) fn listed(name: &str, key: &str, list: impl Into<String>) -> Self {
        let mut remote = Self::new(name, "rpm", "").set(key, list.into());
        remote.keys.remove("base_url");
        remote
    }

    /// A local repository of a format.
    pub(crate) fn local(name: &str, package: &str) -> Self {
        let keys = [("type".to_owned(), json!("local")), ("package".to_owned(), json!(package))];
        Self { name: name.to_owned(), keys: keys.into_iter().collect() }
    }

    /// A virtual repository of a format.
    pub(crate) fn virtual_of(name: &str, package: &str, members: &[&str]) -> Self {
        Self::local(name, package).set("type", "virtual").set("members", members)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn package(&self) -> &str {
        self.keys["package"].as_str().expect("a word")
    }

    /// Sets a key, or one below: `cache.index_ttl`.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let (outer, inner) = key.split_once('.').map_or((key, None), |(outer, inner)| (outer, Some(inner)));
        match inner {
            None => drop(self.keys.insert(outer.to_owned(), value.into())),
            Some(inner) => self.keys.entry(outer).or_insert_with(|| json!({}))[inner] = value.into(),
        }
        self
    }
}

/// The text of a remotes.yaml.
pub(crate) fn yaml(remotes: &[Remote]) -> String {
    yaml_with(remotes, &json!({}))
}

/// The same with what stands below `access:`.
pub(crate) fn yaml_with(remotes: &[Remote], access: &Value) -> String {
    let remotes: Map<String, Value> =
        remotes.iter().map(|remote| (remote.name.clone(), Value::Object(remote.keys.clone()))).collect();
    serde_json::to_string_pretty(&json!({ "remotes": remotes, "access": access })).expect("JSON")
}
