//! `access:` and `anonymous_read`: what is read, what is refused.

use std::fs;

use super::{problems, read, source};
use crate::access::{Grant, Token, TokenHash};

const HASH: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

/// A file with a repository `r` and these tokens, each a line from line 5 on.
fn tokens(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("    - {line}\n")).collect();
    format!("remotes:\n  r: {{type: local, package: rpm}}\naccess:\n  tokens:\n{lines}")
}

#[test]
fn every_way_to_give_a_token() {
    let folder = tempfile::tempdir().expect("folder");
    let made = Token::random().expect("random");
    fs::write(folder.path().join("ci.token"), format!("{}\n", made.expose())).expect("write");
    let text = tokens(&[
        &format!("{{name: one, sha256: {HASH}, grants: {{r: [read, write], \"*\": [read]}}}}"),
        "{name: two, token_env: UPSTREAM_PASSWORD, grants: {r: [delete]}}",
        "{name: three, token_file: ci.token, grants: {\"*\": [admin]}}",
    ]);
    fs::write(folder.path().join("remotes.yaml"), text).expect("write");
    let repositories = source(folder.path()).load().expect("valid");
    let shown: Vec<_> =
        repositories.tokens().iter().map(|token| (token.name.to_string(), token.grants.to_string())).collect();
    let expected = [("one", "*=read r=read,write"), ("two", "r=delete"), ("three", "*=admin")];
    assert_eq!(shown, expected.map(|(name, grants)| (name.to_owned(), grants.to_owned())));
    let hashes: Vec<_> = repositories.tokens().iter().map(|token| token.hash).collect();
    assert_eq!(hashes, [TokenHash::of("hunter2"), TokenHash::of("planted-secret-env"), made.hash()]);
    assert!(repositories.tokens()[2].grants.allow_everywhere(Grant::Delete));
    assert!(!format!("{repositories:?}").contains(&HASH[..8]));
    assert!(read("remotes: {}\naccess: {}\n").expect("valid").tokens().is_empty());
}

#[test]
fn who_may_read() {
    let text = "remotes:\n  open: {type: local, package: rpm}\n  closed: {type: local, package: rpm, anonymous_read: false}\n  \
         all: {type: virtual, package: rpm, members: [open, closed], anonymous_read: true}\n";
    let repositories = read(text).expect("valid");
    let may = |name| repositories.get(name).expect("there").anonymous_read;
    assert_eq!((may("open"), may("closed"), may("all")), (true, false, true));
    assert_eq!(
        problems(&text.replace(", anonymous_read: true", "")),
        [
            "4:54: remotes.all.members[1]: closed has anonymous_read: false; say here, too, whether anybody may read it through \
          this repository"
        ]
    );
    assert_eq!(
        problems(&text.replace("anonymous_read: true", "anonymous_read: yes")),
        ["4:78: remotes.all.anonymous_read: wants true or false, and this is text"]
    );
}

#[test]
fn what_is_refused() {
    let long = format!("{{name: a, sha256: {HASH}, grants: {{r: [read]}}}}");
    let table: &[(&str, &[&str])] = &[
        (
            "{name: a, grants: {r: [read]}}",
            &["5:7: access.tokens[0].sha256: missing; give the token by its sha256, by token_env or by token_file"],
        ),
        (
            "{name: a, sha256: abc, grants: {r: [read]}}",
            &[
                "5:25: access.tokens[0].sha256: this is not a SHA-256 in 64 hexadecimal digits; printf %s TOKEN | sha256sum \
               prints it",
            ],
        ),
        (
            "{name: a, token_env: NOTHING, grants: {r: [read]}}",
            &["5:28: access.tokens[0].token_env: the environment variable \"NOTHING\" is not set"],
        ),
        (
            "{name: a, token_env: UPSTREAM_USER, grants: {r: [read]}}",
            &[
                "5:28: access.tokens[0].token_env: this token has fewer than 16 characters and can be guessed; take a longer one",
            ],
        ),
        (
            "{name: a, token_file: gone, grants: {r: [read]}}",
            &["5:29: access.tokens[0].token_file: cannot read \"gone\": No such file or directory (os error 2)"],
        ),
        (
            "{name: a b, token_env: UPSTREAM_PASSWORD, sha256: x, grants: {s: [read], \"*\": [erase], r: []}}",
            &[
                "5:14: access.tokens[0].name: a token's name has 1 to 64 characters, letters, digits, '.', '_', '-' and '@', \
                 begins with a letter or digit, and not with aa_",
                "5:19: access.tokens[0].token_env: given beside sha256; keep one of them",
                "5:69: access.tokens[0].grants.s: there is no repository \"s\"; did you mean r?",
                "5:86: access.tokens[0].grants.*[0]: \"erase\" is not a grant; there are read, write, delete and admin",
                "5:97: access.tokens[0].grants.r: names no grant; there are read, write, delete and admin",
            ],
        ),
        (
            "{token: planted-secret-token, name: a, grants: {}}",
            &[
                "5:8: access.tokens[0].token: unknown key; did you mean token_env?",
                "5:54: access.tokens[0].grants: allows nothing; give grants on a repository or on \"*\", or drop the token",
            ],
        ),
        (
            "{sha256: 5}",
            &[
                "5:7: access.tokens[0].grants: missing; say what the token allows, as in grants: {\"*\": [read]}",
                "5:7: access.tokens[0].name: missing; logs call whoever presents the token by it",
                "5:16: access.tokens[0].sha256: wants text (put it in quotes), and this is a number",
            ],
        ),
    ];
    for (line, expected) in table {
        assert_eq!(problems(&tokens(&[line])), *expected, "{line}");
    }
    assert_eq!(
        problems(&tokens(&[&long, &long])),
        [
            "6:7: access.tokens[1]: is the same token as the one in line 5; give each its own",
            "6:14: access.tokens[1].name: another token has this name, in line 5; give each its own",
        ]
    );
    assert_eq!(
        problems("remotes: {}\naccess: {token: []}\n"),
        ["2:10: access.token: unknown key; did you mean tokens?"]
    );
    assert_eq!(
        problems("remotes: {}\naccess: [a]\n"),
        ["2:9: access: wants a mapping (key: value), and this is a list"]
    );
}

#[test]
fn a_token_of_ours_that_was_cut_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let made = Token::random().expect("random");
    fs::write(folder.path().join("ci.token"), &made.expose()[..40]).expect("write");
    fs::write(folder.path().join("remotes.yaml"), tokens(&["{name: a, token_file: ci.token, grants: {r: [read]}}"]))
        .expect("write");
    let error = source(folder.path()).load().expect_err("cut").to_string();
    let expected =
        "5:29: access.tokens[0].token_file: this token was mistyped or cut short; copy the whole of it again";
    assert!(error.ends_with(expected), "{error}");
    assert!(!error.contains(&made.expose()[..10]), "{error}");
}
