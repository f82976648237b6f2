//! Everything that can be wrong with a file, and what is said about it: place, key, reason and mend.

use super::{problems, read, with};

fn check(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(problems(text), [*expected], "{text}");
    }
}

#[test]
fn the_file_as_a_whole() {
    const WANTED: &str = "write remotes: and the repositories below it (remotes: {} for none)";
    check(&[
        ("", &format!("1:1: the file is empty; {WANTED}")),
        ("# nothing\n", &format!("2:1: the file is empty; {WANTED}")),
        ("{}", &format!("1:1: the file is empty; {WANTED}")),
        ("[remotes]", "1:1: wants a mapping (key: value), and this is a list"),
        ("remotes:\n", "1:8: remotes: empty; it wants a mapping (key: value)"),
        ("remotes: []", "1:10: remotes: wants a mapping (key: value), and this is a list"),
        ("remotes: {}\nrepos: {}\n", "2:1: repos: unknown key; the keys here are remotes, access"),
        ("remotes: {}\nremotes: {}\n", "2:1: remotes: given twice, first in line 1; keep one of them"),
        ("remotes: {a: 1", "1:10: not YAML: unclosed bracket '{'"),
    ]);
    assert_eq!(
        problems("remote: {}\n"),
        ["1:1: remote: unknown key; did you mean remotes?".to_owned(), format!("1:1: remotes: missing; {WANTED}"),]
    );
}

#[test]
fn names_types_and_packages() {
    const NAME: &str = "a repository name has 1 to 64 characters, letters, digits, '.', '_' and '-', and begins with a \
                        letter or digit";
    check(&[
        ("remotes:\n  r:\n", "2:4: remotes.r: empty; it wants a mapping (key: value)"),
        ("remotes:\n  r: https://example.com\n", "2:6: remotes.r: wants a mapping (key: value), and this is text"),
        ("remotes:\n  \"a/b\": {type: local, package: rpm}\n", &format!("2:3: remotes.a/b: {NAME}")),
        ("remotes:\n  -x: {type: local, package: rpm}\n", &format!("2:3: remotes.-x: {NAME}")),
        (
            "remotes:\n  8000: {type: local, package: rpm}\n",
            "2:3: remotes: a key must be text, and this one is a number; put it in quotes",
        ),
        (
            "remotes:\n  r: {type: local, package: rpm}\n  r: {type: local, package: generic}\n",
            "3:3: remotes.r: given twice, first in line 2; keep one of them",
        ),
        (
            "remotes:\n  r: {type: proxy, package: rpm}\n",
            r#"2:13: remotes.r.type: "proxy" is not a type; write one of remote, local, virtual"#,
        ),
        (
            "remotes:\n  r: {type: Local, package: rpm}\n",
            r#"2:13: remotes.r.type: "Local" is not a type; did you mean local?"#,
        ),
        (
            "remotes:\n  r: {type: local, package: deb}\n",
            r#"2:29: remotes.r.package: "deb" is not a package; write one of generic, alpine, rpm"#,
        ),
        (
            "remotes:\n  r: {type: local, package: alpin}\n",
            r#"2:29: remotes.r.package: "alpin" is not a package; did you mean alpine?"#,
        ),
        (
            "remotes:\n  r: {type: local, package: rpm, cache: {max_bytes: 5}}\n",
            "2:42: remotes.r.cache.max_bytes: is for type: remote; what was uploaded is never evicted, so drop the key",
        ),
        ("remotes:\n  r:\n    type: local\n", "2:3: remotes.r.package: missing; write one of generic, alpine, rpm"),
        (
            "remotes:\n  r: {package: rpm}\n",
            "2:3: remotes.r.base_url: missing; a remote needs the URL of its upstream, as in base_url: \
             \"https://example.com\" (or is it type: local?)",
        ),
    ]);
}

#[test]
fn keys_in_the_wrong_place() {
    check(&[
        (
            "remotes:\n  r:\n    type: local\n    package: rpm\n    base_url: https://example.com\n",
            "5:5: remotes.r.base_url: is for type: remote, and this repository is type: local; drop the key or change \
             the type",
        ),
        (
            "remotes:\n  r: {type: local, package: rpm, token_env: X}\n",
            "2:34: remotes.r.token_env: is for type: remote, and this repository is type: local; drop the key or change \
             the type",
        ),
        (
            "remotes:\n  r: {type: local, package: rpm, members: [r]}\n",
            "2:34: remotes.r.members: is for type: virtual, and this repository is type: local; drop the key or change \
             the type",
        ),
        (
            "remotes:\n  l: {type: local, package: rpm}\n  r: {type: virtual, package: rpm, members: [l], quota: 1}\n",
            "3:50: remotes.r.quota: is for type: local, and this repository is type: virtual; drop the key or change the \
             type",
        ),
    ]);
    check(&[(
        "remotes:\n  r: {package: generic, base_url: 'https://example.com', prefetch: {used: true}}\n",
        "2:58: remotes.r.prefetch: package: generic has no index that names packages; POST /cache-artifact fetches such \
         files",
    )]);
    assert_eq!(
        with("colour: red"),
        ["5:5: remotes.r.colour: unknown key; the keys here are type, package, description, include_patterns, \
         exclude_patterns, anonymous_read, cache, base_url, mirrors, mirrorlist, metalink, connect_timeout, idle_timeout, \
         allow_private_redirects, max_parallel, allow_rollback, verify, hold, trusted_keys, prefetch, username, username_env, username_file, password, password_env, password_file, token, token_env, token_file, \
         proxy, proxy_env, proxy_file"]
    );
    assert_eq!(with("file_ttl: 0"), ["5:5: remotes.r.file_ttl: belongs below cache:, not beside it; indent it there"]);
    assert_eq!(
        with("cache: {package: rpm}"),
        ["5:13: remotes.r.cache.package: belongs beside cache:, not below it; indent it less"]
    );
    check(&[(
        "remotes:\n  r: {type: local, package: rpm, colour: red}\n",
        "2:34: remotes.r.colour: unknown key; the keys here are type, package, description, include_patterns, \
         exclude_patterns, anonymous_read, cache, overwrite, root_depth, max_file_bytes, quota, compression, signing_keys, \
         retired_keys",
    )]);
    assert_eq!(with("include: []"), ["5:5: remotes.r.include: unknown key; did you mean include_patterns?"]);
    assert_eq!(with("cache: {ttl: 1}"), ["5:13: remotes.r.cache.ttl: unknown key; did you mean file_ttl?"]);
    assert_eq!(
        with("cache: {index_ttl: 1, index_ttl: 2}"),
        ["5:27: remotes.r.cache.index_ttl: given twice, first in line 5; keep one of them"]
    );
}

#[test]
fn keys_without_effect() {
    for (key, why) in [
        ("hold: 7d", "has no indexes and so no snapshots to hold back; drop the key"),
        ("verify: warn", "has no index that says what a file must be; drop the key"),
        ("allow_rollback: true", "has no indexes that could be older than others; drop the key"),
    ] {
        let text = format!("remotes:\n  r: {{package: generic, base_url: 'https://example.com', {key}}}\n");
        let name = key.split_once(':').expect("a key").0;
        assert_eq!(problems(&text), [format!("2:58: remotes.r.{name}: package: generic {why}")]);
    }
    check(&[
        (
            "remotes:\n  r: {type: local, package: generic, root_depth: 2}\n",
            "2:38: remotes.r.root_depth: package: generic has no indexes that folders could lead to; drop the key",
        ),
        (
            "remotes:\n  r: {type: local, package: generic, compression: zstd}\n",
            "2:38: remotes.r.compression: package: generic has no indexes that could be compressed; drop the key",
        ),
        (
            "remotes:\n  r: {type: local, package: alpine, compression: zstd}\n",
            "2:50: remotes.r.compression: \"zstd\" is no compression of package: alpine; write gzip",
        ),
        (
            "remotes:\n  r: {type: local, package: rpm, compression: xz}\n",
            "2:47: remotes.r.compression: \"xz\" is no compression of package: rpm; write gzip or zstd",
        ),
    ]);
}

/// One file may say the same of all its repositories.
#[test]
fn what_asks_for_nothing_is_taken() {
    let text = "remotes:\n  r: {package: generic, base_url: 'https://example.com', verify: off, allow_rollback: false, hold: 0}\n  \
                l: {type: local, package: generic, root_depth: 0, compression: gzip}\n";
    assert!(read(text).is_ok());
    assert_eq!(
        problems("remotes:\n  l: {type: local, package: generic, hold: 7d}\n"),
        [
            "2:38: remotes.l.hold: is for type: remote, and this repository is type: local; drop the key or change the type"
        ]
    );
}

#[test]
fn values_of_the_wrong_kind() {
    let table = [
        ("description: 5", "5:18: remotes.r.description: wants text (put it in quotes), and this is a number"),
        ("description: [a]", "5:18: remotes.r.description: wants text, and this is a list"),
        ("cache: 300", "5:12: remotes.r.cache: wants a mapping (key: value), and this is a number"),
        ("cache:", "5:10: remotes.r.cache: empty; it wants a mapping (key: value)"),
        (
            "include_patterns: .*",
            "5:23: remotes.r.include_patterns: wants a list (each entry after a dash), and this is text",
        ),
        ("include_patterns:", "5:21: remotes.r.include_patterns: empty; it wants a list (each entry after a dash)"),
        (
            "include_patterns: [a, 5]",
            "5:27: remotes.r.include_patterns[1]: wants text (put it in quotes), and this is a number",
        ),
        (
            "exclude_patterns: [\"(\"]",
            "5:24: remotes.r.exclude_patterns[0]: is not a regular expression: unclosed group",
        ),
        (
            "include_patterns: [\"*.rpm\"]",
            "5:24: remotes.r.include_patterns[0]: is not a regular expression: repetition operator missing expression; this \
             looks like a file pattern: write .*\\.rpm$ (in double quotes each backslash twice)",
        ),
        (
            "allow_private_redirects: yes",
            "5:30: remotes.r.allow_private_redirects: wants true or false, and this is text",
        ),
        ("max_parallel: 0", "5:19: remotes.r.max_parallel: must be 1 or more"),
        ("max_parallel: many", "5:19: remotes.r.max_parallel: wants a whole number from 1 upwards, and this is text"),
        (
            "cache: {index_ttl: 5 light years}",
            "5:24: remotes.r.cache.index_ttl: \"5 light years\" is not a length of time; write seconds (300) or a text \
             such as \"90s\", \"2h\", \"1h30m\", \"7d\"",
        ),
        (
            "cache: {index_ttl: -1}",
            "5:24: remotes.r.cache.index_ttl: wants a length of time: seconds (300) or a text such as \"2h\", and this is \
             a number",
        ),
        (
            "cache: {file_ttl: 99999999999}",
            "5:23: remotes.r.cache.file_ttl: 99999999999 is longer than a hundred years; 0 is what means for ever, where \
             that is possible",
        ),
        (
            "cache: {max_bytes: 0}",
            "5:24: remotes.r.cache.max_bytes: 0 would keep nothing; leave it out to set no bound",
        ),
        (
            "cache: {max_bytes: 10G}",
            "5:24: remotes.r.cache.max_bytes: \"10G\" is not a number of bytes; write it as 1048576, \"64MiB\" or \"10GiB\"",
        ),
        (
            "cache: {max_bytes: [1]}",
            "5:24: remotes.r.cache.max_bytes: wants a number of bytes: 1048576 or a text such as \"10GiB\", and this is a list",
        ),
        (
            "prefetch: {parallel: 1}",
            "5:15: remotes.r.prefetch: says nothing to fetch; add used: true, include: [\".*\"], or both",
        ),
        ("prefetch: {used: 1}", "5:22: remotes.r.prefetch.used: wants true or false, and this is a number"),
        ("prefetch: {use: true, used: true}", "5:16: remotes.r.prefetch.use: unknown key; did you mean used?"),
        (
            "prefetch: {used: true, bandwidth: 10G}",
            "5:39: remotes.r.prefetch.bandwidth: \"10G\" is not a number of bytes; write it as 1048576, \"64MiB\" or \
             \"10GiB\"",
        ),
        (
            "prefetch: {used: true, bandwidth: 0}",
            "5:39: remotes.r.prefetch.bandwidth: 0 would fetch nothing; leave the key out for no bound",
        ),
        (
            "prefetch: {include: ['(']}",
            "5:26: remotes.r.prefetch.include[0]: is not a regular expression: unclosed group",
        ),
        (
            "idle_timeout: 30m1h",
            "5:19: remotes.r.idle_timeout: \"30m1h\" has its units out of order; write each unit once, from large to \
             small, as in \"1h30m\"",
        ),
        (
            "connect_timeout: 0",
            "5:22: remotes.r.connect_timeout: 0 would give up before trying; leave the key out for the default",
        ),
    ];
    for (line, expected) in table {
        assert_eq!(with(line), [expected], "{line}");
    }
}

#[test]
fn all_at_once_and_in_the_order_of_the_file() {
    let text = "remotes:\n  a:\n    pacakge: rpm\n    base_url: ftp://example.com\n    include_patterns: ['(', 'a', '[']\n  \
                b:\n    type: local\n    package: rpm\n    cache:\n      index_ttl: soon\n      colour: red\n";
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("remotes.yaml");
    std::fs::write(&file, text).expect("write");
    let error = super::source(folder.path()).load().expect_err("wrong").to_string();
    let expected = [
        "2:3: remotes.a.package: missing; write one of generic, alpine, rpm",
        "3:5: remotes.a.pacakge: unknown key; did you mean package?",
        "4:15: remotes.a.base_url: the URL must begin with http:// or https://",
        "5:24: remotes.a.include_patterns[0]: is not a regular expression: unclosed group",
        "5:34: remotes.a.include_patterns[2]: is not a regular expression: unclosed character class",
        "10:18: remotes.b.cache.index_ttl: \"soon\" is not a length of time; write seconds (300) or a text such as \
         \"90s\", \"2h\", \"1h30m\", \"7d\"",
        "11:7: remotes.b.cache.colour: unknown key; the keys here are file_ttl, index_ttl, negative_ttl, refresh_wait, pin, \
         snapshot_keep, max_bytes",
    ];
    let expected: Vec<_> = expected.iter().map(|line| format!("{}:{line}", file.display())).collect();
    assert_eq!(error, expected.join("\n"));
}
