//! The key that says through whom an upstream is reached: `proxy`, for machines that reach it by no other way.
//!
//! It may stand in a variable or a file like the secrets of [`credentials`](super::credentials), because a proxy's URL may hold a password. What comes
//! out keeps the two apart: the URL can be shown, the password cannot.

use percent_encoding::percent_decode_str;
use url::Url;

use super::credentials::Given;
use super::reader::{Reader, Table};
use super::secret::Secret;

/// The keys of which one may be given.
pub(super) const KEYS: &[&str] = &["proxy", "proxy_env", "proxy_file"];

/// A forward proxy (RFC 9110 section 3.7): it resolves names, and connects, in our place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Where it is: scheme, host and port.
    pub url: Url,
    /// Who we are to it.
    pub user: Option<ProxyUser>,
}

/// Who we are to a proxy: `Proxy-Authorization: Basic`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProxyUser {
    /// The user.
    pub name: Secret,
    /// The password.
    pub password: Secret,
}

/// Reads it.
pub(super) fn read(table: &Table<'_>, reader: &mut Reader<'_, '_>) -> Option<Proxy> {
    let given = Given::find(table, "proxy", reader)?;
    let text = given.value(reader)?;
    match parse(text.expose()) {
        Ok(proxy) => Some(proxy),
        Err(why) => {
            given.field().refuse(reader, why);
            None
        }
    }
}

/// The messages do not repeat the URL: it may hold a password.
fn parse(text: &str) -> Result<Proxy, &'static str> {
    const WANTED: &str = r#"a proxy is given by its scheme, host and port, as in "http://proxy.example:3128" (with user:password@ before the host if it asks for them)"#;
    let mut url = Url::parse(text).map_err(|_| WANTED)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the proxy's URL must begin with http:// or https://");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || text.contains(char::is_whitespace) {
        return Err(WANTED);
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| Secret::new(&*text));
    let user = match (decoded(url.username()), decoded(url.password().unwrap_or_default())) {
        (Some(None), Some(None)) => None,
        (Some(Some(name)), Some(Some(password))) => Some(ProxyUser { name, password }),
        _ => {
            return Err(
                "the proxy's URL holds a user name without a password or the other way round, or what is not UTF-8",
            );
        }
    };
    // Neither fails for a URL that has a host.
    let _ = (url.set_username(""), url.set_password(None));
    Ok(Proxy { url, user })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_kept_apart() {
        let plain = parse("http://proxy.example:3128").expect("a proxy");
        assert_eq!((plain.url.as_str(), plain.user), ("http://proxy.example:3128/", None));
        let asks = parse("https://me%40home:planted%3Asecret@proxy.example/").expect("a proxy");
        assert_eq!(asks.url.as_str(), "https://proxy.example/");
        let user = asks.user.expect("a user");
        assert_eq!((user.name.expose(), user.password.expose()), ("me@home", "planted:secret"));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_repeating_it() {
        let wrong = [
            "proxy.example:3128",
            "socks5://planted.example",
            "http://proxy.example/planted",
            "http://proxy.example/?planted",
            "http://planted@proxy.example",
            "http://:planted@proxy.example",
            "http://planted:%ff@proxy.example",
            " http://planted.example",
            "http://",
        ];
        for text in wrong {
            let why = parse(text).expect_err(text);
            assert!(!why.contains("planted") && why.contains("proxy"), "{text}: {why}");
        }
    }
}
