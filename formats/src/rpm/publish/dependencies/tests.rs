use super::*;

fn dependency(name: &'static str, flags: u64, version: &'static str) -> Dependency<'static> {
    Dependency { raw_name: name.as_bytes(), raw_version: version.as_bytes(), flags }
}

fn settled(provides: &[(&'static str, u64, &'static str)], requires: &[(&'static str, u64, &'static str)]) -> String {
    let all =
        |list: &[(&'static str, u64, &'static str)]| list.iter().map(|one| dependency(one.0, one.1, one.2)).collect();
    let none = Vec::new;
    let mut dependencies = Dependencies {
        provides: all(provides),
        requires: all(requires),
        conflicts: none(),
        obsoletes: none(),
        suggests: none(),
        enhances: none(),
        recommends: none(),
        supplements: none(),
    };
    dependencies.settle_requires(&HashSet::from([&b"/usr/bin/own"[..]]));
    let shown = dependencies.requires.iter().map(|one| {
        let version = String::from_utf8_lossy(one.raw_version);
        format!(
            "{}{}{version}{}",
            one.name(),
            one.comparison().unwrap_or_default(),
            if one.is_pre() { "!" } else { "" }
        )
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Each line was seen of createrepo_c 0.17.3.
#[test]
fn versions_as_createrepo_c_takes_them_apart() {
    let table = [
        ("", Some(("", "", ""))),
        ("2", Some(("0", "2", ""))),
        ("1-2-3", Some(("0", "1", "2-3"))),
        ("1:2:3-4-5", Some(("1", "2:3", "4-5"))),
        (":1", Some(("0", "1", ""))),
        ("5:", Some(("5", "", ""))),
        ("-", Some(("0", "", ""))),
        ("1-", Some(("0", "1", ""))),
        ("x:1", None),
        ("7x:1", None),
    ];
    for (version, parts) in table {
        let found = dependency("a", 8, version).version();
        let found = found.as_ref().map(|found| (&*found.epoch, &*found.version, &*found.release));
        assert_eq!(found, parts, "{version}");
    }
}

/// And so was each of these.
#[test]
fn requirements_are_settled_as_by_createrepo_c() {
    let provides = [("p", 0, ""), ("v", 8, "2")];
    type Requires = &'static [(&'static str, u64, &'static str)];
    let table: [(Requires, &str); 9] = [
        (&[("p", 0, ""), ("p", 8, "2")], "pEQ2"),
        (&[("v", 8, "2"), ("v", 8, "3"), ("v", 8 | 0x40, "2"), ("v", 8, "0:2")], "vEQ3 vEQ0:2"),
        (&[("q", 8, "1"), ("q", 8, "1"), ("q", 8, "2"), ("q", 8, "1"), ("q", 8 | 0x40, "1")], "qEQ1 qEQ2 qEQ1 qEQ1!"),
        (&[("rpmlib(X)", 8, "1"), ("rpmlib", 8, "1")], "rpmlibEQ1"),
        (&[("/usr/bin/own", 0, ""), ("/usr/bin/other", 0, "")], "/usr/bin/other"),
        (&[("a", 0x200, ""), ("b", 0x400, ""), ("c", 0x80, ""), ("d", 0x20, ""), ("e", 0x1800, "")], "a! b! c d e"),
        (
            &[("libc.so.6(GLIBC_2.4)", 0, ""), ("libc.so.6()", 0, ""), ("libc.so.6(GLIBC_2.14)", 0, ""), ("z", 0, "")],
            "z libc.so.6(GLIBC_2.14)",
        ),
        (&[("libc.so.6()(64bit)", 0, ""), ("libc.so.6", 0, "")], "libc.so.6()(64bit)"),
        (
            &[
                ("libc.so.6(GLIBC_PRIVATE)", 0, ""),
                ("libc.so.6(GLIBC_2.34)", 0, ""),
                ("libc.so.6(GLIBC_ABI)(64bit)", 0, ""),
            ],
            "libc.so.6(GLIBC_2.34)",
        ),
    ];
    for (requires, expected) in table {
        assert_eq!(settled(&provides, requires), expected);
    }
}
