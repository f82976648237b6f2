//! What can be wrong with an upstream, its credentials and the members of a virtual repository.

use super::{problems, read, with};
use crate::config::{Kind, Whereabouts};

#[test]
fn urls() {
    let table = [
        ("github.com", "not a URL (relative URL without a base); write it whole, as in \"https://example.com/path\""),
        ("'https://'", "not a URL (empty host); write it whole, as in \"https://example.com/path\""),
        (
            "https://example.com:99999",
            "not a URL (invalid port number); write it whole, as in \"https://example.com/path\"",
        ),
        ("ftp://example.com", "the URL must begin with http:// or https://"),
        ("file:///srv", "the URL must begin with http:// or https://"),
        (
            "https://me:planted-secret@example.com",
            "holds a user name or password, and URLs get logged; use the keys username and password instead",
        ),
        (
            "https://example.com/?a=b",
            "holds a query or fragment; paths are appended to it, so it must end before '?' and '#'",
        ),
        (
            "'https://example.com/#x'",
            "holds a query or fragment; paths are appended to it, so it must end before '?' and '#'",
        ),
        (
            "'https://example.com/a b'",
            "holds a blank, a control character or a backslash; write those in a URL as %20 and the like",
        ),
        (
            r"https:\\example.com",
            "holds a blank, a control character or a backslash; write those in a URL as %20 and the like",
        ),
        ("8080", "wants text (put it in quotes), and this is a number"),
    ];
    for (url, expected) in table {
        let text = format!("remotes:\n  r:\n    package: rpm\n    base_url: {url}\n");
        assert_eq!(problems(&text), [format!("4:15: remotes.r.base_url: {expected}")], "{url}");
        let line = format!("mirrors: [{url}]");
        assert_eq!(with(&line), [format!("5:15: remotes.r.mirrors[0]: {expected}")], "{url}");
    }
    assert_eq!(
        with("mirrors: [https://a.example, https://example.com/, https://a.example/]"),
        [
            "5:34: remotes.r.mirrors[1]: named before; each upstream is tried once, so name it once",
            "5:56: remotes.r.mirrors[2]: named before; each upstream is tried once, so name it once",
        ]
    );
}

/// A remote with these lines and no other word of where it is.
fn placed(package: &str, lines: &str) -> Vec<String> {
    problems(&format!("remotes:\n  r:\n    package: {package}\n    {lines}\n"))
}

#[test]
fn one_of_three_says_where() {
    let table = [
        (
            "base_url: https://a.example\n    metalink: https://a.example/m",
            "5:5: remotes.r.metalink: given beside base_url; one of base_url, mirrorlist, metalink says where the upstream \
             is, so drop metalink or base_url",
        ),
        (
            "metalink: https://a.example/m\n    mirrorlist: https://a.example/m",
            "5:5: remotes.r.mirrorlist: given beside metalink; one of base_url, mirrorlist, metalink says where the upstream \
             is, so drop mirrorlist or metalink",
        ),
        (
            "mirrorlist: https://a.example/m\n    mirrors: [https://b.example]",
            "5:5: remotes.r.mirrors: goes with base_url; the list that mirrorlist names has the mirrors, so drop the key",
        ),
        (
            "description: nowhere",
            "2:3: remotes.r.base_url: missing; a remote needs the URL of its upstream, as in base_url: \
             \"https://example.com\" (or is it type: local?)",
        ),
        (
            "metalink: https://a.example/metalink?repo=epel-9&arch=$basearch",
            "4:15: remotes.r.metalink: holds a variable such as $basearch, which only clients can fill in; write what it \
             stands for, and a repository for each",
        ),
        (
            "mirrorlist: 'https://a.example/list#x'",
            "4:17: remotes.r.mirrorlist: holds a fragment, which no server is sent; write it without '#' and what follows",
        ),
        ("mirrorlist: ftp://a.example/list", "4:17: remotes.r.mirrorlist: the URL must begin with http:// or https://"),
        (
            "mirrorlist: https://me:planted-secret@a.example/list",
            "4:17: remotes.r.mirrorlist: holds a user name or password, and URLs get logged; use the keys username and \
             password instead",
        ),
        ("metalink: [a]", "4:15: remotes.r.metalink: wants text, and this is a list"),
    ];
    for (lines, expected) in table {
        assert_eq!(placed("rpm", lines), [expected], "{lines}");
    }
    assert_eq!(
        placed("alpine", "mirrorlist: https://a.example/list"),
        [
            "4:5: remotes.r.mirrorlist: package: alpine has no lists of mirrors; name the upstream with base_url and mirrors"
        ]
    );
    let local = "remotes:\n  r: {type: local, package: rpm, metalink: 'https://a.example/m'}\n";
    assert_eq!(
        problems(local),
        [
            "2:34: remotes.r.metalink: is for type: remote, and this repository is type: local; drop the key or change the type"
        ]
    );
}

#[test]
fn a_list_in_place_of_a_base() {
    let text = "remotes:\n  m: {package: rpm, metalink: 'https://a.example/metalink?repo=epel-9&arch=x86_64', token: t}\n  \
                l: {package: rpm, mirrorlist: 'http://a.example/list', token: t}\n";
    let repositories = read(text).expect("valid");
    let list = |name: &str| {
        let Kind::Remote(remote) = &repositories.get(name).expect("there").kind else { panic!("remote") };
        let Whereabouts::Listed(list) = &remote.whereabouts else { panic!("listed") };
        assert!(remote.has_mirrors() && remote.named().next().is_none());
        assert!(remote.credentials_for(remote.home()).is_some(), "the list's own origin");
        assert!(remote.credentials_for(&"https://b.example/".parse().expect("a URL")).is_none(), "a mirror");
        (list.key(), list.url.to_string())
    };
    assert_eq!(list("m"), ("metalink", "https://a.example/metalink?repo=epel-9&arch=x86_64".to_owned()));
    assert_eq!(list("l"), ("mirrorlist", "http://a.example/list".to_owned()));
    let remarks: Vec<_> = repositories.remarks().filter(|remark| remark.contains("credentials")).collect();
    assert_eq!(remarks, ["l sends its credentials over http: whoever is on the way can read them"]);
}

#[test]
fn credentials() {
    let table = [
        (
            "username: me",
            "2:3: remotes.r.password: missing; username is given; add password, password_env or password_file",
        ),
        (
            "password: planted-secret",
            "2:3: remotes.r.username: missing; password is given; add username, username_env or username_file",
        ),
        (
            "username: me\n    password: planted-secret\n    token: planted-secret",
            "7:5: remotes.r.token: given beside username or password; an upstream takes one of them, so keep the token or \
             the pair",
        ),
        (
            "token: planted-secret\n    token_env: UPSTREAM_PASSWORD",
            "6:5: remotes.r.token_env: given beside remotes.r.token; keep one of them",
        ),
        ("token_env: NOWHERE", "5:16: remotes.r.token_env: the environment variable \"NOWHERE\" is not set"),
        ("token_env: EMPTY", "5:16: remotes.r.token_env: gives an empty text; a secret has at least one character"),
        ("token: ''", "5:12: remotes.r.token: gives an empty text; a secret has at least one character"),
        ("token: 31415926", "5:12: remotes.r.token: wants text (put it in quotes), and this is a number"),
        ("token: 'planted secret'", "5:12: remotes.r.token: a token is printable ASCII without spaces"),
        (
            "token_file: nowhere",
            "5:17: remotes.r.token_file: cannot read \"nowhere\": No such file or directory (os error 2)",
        ),
        (
            "username: 'm:e'\n    password: planted-secret",
            "5:15: remotes.r.username: a user name holds no colon and no control character",
        ),
        (
            "username: me\n    password: \"planted\\nsecret\"",
            "6:15: remotes.r.password: a password holds no control character such as a line feed",
        ),
    ];
    for (line, expected) in table {
        let found = with(line);
        assert!(!found.concat().contains("planted"), "{found:?}");
        assert_eq!(found, [expected], "{line}");
    }
}

#[test]
fn where_uploads_go() {
    let with = |line: &str| {
        problems(&format!(
            "remotes:\n  ours: {{type: local, package: rpm}}\n  plain: {{type: local, package: generic}}\n  \
             up: {{base_url: 'https://a.example', package: rpm}}\n  v: {{type: virtual, package: rpm, {line}}}\n"
        ))
    };
    let table = [
        (
            "members: [ours, up], deploy_to: our",
            "5:68: remotes.v.deploy_to: \"our\" is none of the members; write ours",
        ),
        (
            "members: [up], deploy_to: ours",
            "5:62: remotes.v.deploy_to: \"ours\" is none of the members; add a repository of type: local to them",
        ),
        (
            "members: [ours, up], deploy_to: up",
            "5:68: remotes.v.deploy_to: up is type: remote, which takes no uploads; name a member of type: local",
        ),
        ("members: [ours], deploy_to: [ours]", "5:64: remotes.v.deploy_to: wants text, and this is a list"),
        (
            "members: [ours], cache: {max_bytes: 1GiB}",
            "5:61: remotes.v.cache.max_bytes: is not for type: virtual, which keeps indexes and no files; say it of its \
             members",
        ),
    ];
    for (line, expected) in table {
        assert_eq!(with(line), [expected], "{line}");
    }
    let right = "remotes:\n  ours: {type: local, package: rpm}\n  v: {type: virtual, package: rpm, members: [ours], \
                 deploy_to: ours, cache: {index_ttl: 0}}\n";
    let repositories = read(right).expect("valid");
    let Kind::Virtual(all) = &repositories.get("v").expect("there").kind else { panic!("virtual") };
    assert_eq!(all.deploy_to.as_ref().map(|local| local.name.as_str()), Some("ours"));
}

#[test]
fn members() {
    let virtuals = |lines: &str| {
        problems(&format!(
            "remotes:\n  one: {{type: local, package: rpm}}\n  plain: {{type: local, package: generic}}\n{lines}"
        ))
    };
    let table = [
        (
            "  v: {type: virtual, package: rpm}\n",
            "4:3: remotes.v.members: missing; a virtual repository needs the names of those it is made of",
        ),
        (
            "  v: {type: virtual, package: rpm, members: []}\n",
            "4:45: remotes.v.members: names no repository; a virtual one is made of at least one other",
        ),
        (
            "  v: {type: virtual, package: rpm, members: [on]}\n",
            "4:46: remotes.v.members[0]: there is no repository \"on\"; did you mean one?",
        ),
        (
            "  v: {type: virtual, package: rpm, members: [unheard-of]}\n",
            "4:46: remotes.v.members[0]: there is no repository \"unheard-of\"",
        ),
        (
            "  v: {type: virtual, package: rpm, members: [one, one]}\n",
            "4:51: remotes.v.members[1]: named before; each member is asked once, so name it once",
        ),
        (
            "  v: {type: virtual, package: rpm, members: [one, plain]}\n",
            "4:51: remotes.v.members[1]: plain is package: generic, and this repository is package: rpm; members share one",
        ),
        (
            "  v: {type: virtual, package: rpm, members: [one, v]}\n",
            "4:51: remotes.v.members[1]: leads in a circle (v → v); take one of them out",
        ),
        (
            "  w: {type: virtual, package: rpm, members: [a]}\n  a: {type: virtual, package: rpm, members: [b, one]}\n  \
             b: {type: virtual, package: rpm, members: [one, c]}\n  c: {type: virtual, package: rpm, members: [a]}\n",
            "7:46: remotes.c.members[0]: leads in a circle (a → b → c → a); take one of them out",
        ),
    ];
    for (lines, expected) in table {
        assert_eq!(virtuals(lines), [expected], "{lines}");
    }
    // Two ways to the same repository are no circle, and a long chain is no trouble.
    let diamond = "remotes:\n  l: {type: local, package: rpm}\n  a: {type: virtual, package: rpm, members: [l]}\n  \
                   b: {type: virtual, package: rpm, members: [l]}\n  c: {type: virtual, package: rpm, members: [a, b]}\n";
    assert_eq!(read(diamond).expect("valid").len(), 4);
    let link = |i: usize| format!("  v{i}: {{type: virtual, package: rpm, members: [v{}]}}\n", i + 1);
    let chain = |length: usize| {
        let links: String = (0..length).map(link).collect();
        format!("remotes:\n{links}  v{length}: {{type: local, package: rpm}}\n")
    };
    assert_eq!(read(&chain(16)).expect("valid").len(), 17);
    assert_eq!(
        problems(&chain(2000)),
        ["1985:50: remotes.v1983.members[0]: virtual repositories lie more than 16 deep within each other here; name \
             members of the members"]
    );
}
