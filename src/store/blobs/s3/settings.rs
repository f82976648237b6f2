//! Which bucket, where, and who we are.
//!
//! With keys in the settings they are used and nothing else is asked. Without, the usual AWS chain decides:
//! environment, profile, web identity, container, instance. The secret never shows: not in `Debug`, not in an error.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::{TimeoutConfig, TimeoutConfigBuilder};
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the answer to one attempt may take to begin. Uploads are watched in another way, see the module `body`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take until the answer begins, all attempts included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a request is tried in all, when an attempt fails in a way that may pass.
const ATTEMPTS: u32 = 3;

/// The longest wait before the second attempt; it grows from there, at random, to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// The longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// What S3-compatible servers that have no regions accept.
const DEFAULT_REGION: &str = "us-east-1";

/// Who we are to the store.
#[derive(Clone)]
pub struct S3Keys {
    /// The access key: not a secret, but no business of a log either.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Keys(…)")
    }
}

/// Where the bucket is.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// `host`, `host:port`, or a URL with `http` or `https`; `None` is AWS itself.
    pub endpoint: Option<String>,
    /// Whether an endpoint without a scheme is reached by TLS.
    pub secure: bool,
    /// The region, for servers that care.
    pub region: Option<String>,
    /// The bucket; it must exist.
    pub bucket: String,
    /// The keys; `None` for the usual AWS chain.
    pub keys: Option<S3Keys>,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// The bucket's name is empty or holds a slash.
    #[error("the bucket name {0:?} is empty or holds a slash")]
    Bucket(String),
    /// The endpoint is no `host[:port]` or `http(s)://host[:port]`.
    #[error("the S3 endpoint {endpoint:?} is not host[:port] or http(s)://host[:port]: {why}")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
}

impl S3Settings {
    /// The endpoint as a URL, without a trailing slash. `None` is AWS.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the endpoint or the bucket's name cannot be right.
    pub fn endpoint_url(&self) -> Result<Option<String>, InvalidSettings> {
        if self.bucket.is_empty() || self.bucket.contains('/') {
            return Err(InvalidSettings::Bucket(self.bucket.clone()));
        }
        let Some(endpoint) = &self.endpoint else {
            return Ok(None);
        };
        let invalid = |why: String| InvalidSettings::Endpoint { endpoint: endpoint.clone(), why };
        let text = match endpoint.split_once("://") {
            Some(_) => endpoint.clone(),
            None if self.secure => format!("https://{endpoint}"),
            None => format!("http://{endpoint}"),
        };
        let url = url::Url::parse(&text).map_err(|error| invalid(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("the scheme is neither http nor https".into()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // Not repeated: what stands there may be a secret.
            let endpoint = "…".to_owned();
            return Err(InvalidSettings::Endpoint { endpoint, why: "keys do not belong into it".into() });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it has a query or a fragment".into()));
        }
        Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// The client's configuration, for requests whose answer begins soon.
    pub(super) async fn client_config(&self, endpoint: Option<&str>) -> Config {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut config = match &self.keys {
            Some(keys) => Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .credentials_provider(Credentials::new(&keys.access_key, &keys.secret_key, None, None, "settings"))
                .region(Region::new(DEFAULT_REGION)),
            None => {
                let mut chain = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
                if let Some(region) = &self.region {
                    // Otherwise the chain looks for one, as far as the instance's own services.
                    chain = chain.region(Region::new(region.clone()));
                }
                let chain = chain.load().await;
                let region = chain.region().cloned().unwrap_or(Region::new(DEFAULT_REGION));
                aws_sdk_s3::config::Builder::from(&chain).region(region)
            }
        };
        if let Some(region) = &self.region {
            config = config.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint);
        }
        config
            .http_client(http)
            .force_path_style(true)
            .timeout_config(timeouts().read_timeout(ANSWER_TIMEOUT).operation_timeout(REQUEST_TIMEOUT).build())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(FIRST_BACKOFF)
                    .with_max_backoff(LONGEST_BACKOFF),
            )
            // Uploads and downloads are watched by us, with one rule for both.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // We send the digests we know; trailers and chunked signing are what other servers stumble over. Bytes that
            // come back are compared with the digest in the metadata by whoever keeps them.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build()
    }
}

/// The same configuration for requests that carry a body: no limit on how long the whole may take.
pub(super) fn for_uploads(config: &Config) -> Config {
    config.to_builder().timeout_config(timeouts().disable_read_timeout().disable_operation_timeout().build()).build()
}

fn timeouts() -> TimeoutConfigBuilder {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str, secure: bool) -> S3Settings {
        let keys = S3Keys { access_key: "key".into(), secret_key: "hidden".into() };
        let endpoint = Some(endpoint.to_owned());
        S3Settings { endpoint, secure, region: None, bucket: "b".into(), keys: Some(keys) }
    }

    #[test]
    fn endpoints() {
        let url = |endpoint, secure| settings(endpoint, secure).endpoint_url().map(Option::unwrap_or_default);
        assert_eq!(url("minio:9000", false), Ok("http://minio:9000".into()));
        assert_eq!(url("s3.example.com", true), Ok("https://s3.example.com".into()));
        assert_eq!(url("http://127.0.0.1:8333/", true), Ok("http://127.0.0.1:8333".into()));
        assert_eq!(url("[::1]:9000", false), Ok("http://[::1]:9000".into()));
        for bad in ["", "ftp://x", "http://", "https://x?y", "a b"] {
            assert!(matches!(url(bad, true), Err(InvalidSettings::Endpoint { .. })), "{bad:?}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let in_url = settings("https://key:hidden@host", true);
        let error = in_url.endpoint_url().expect_err("refused").to_string();
        assert!(!error.contains("hidden"), "{error}");
        assert!(!format!("{:?}", settings("host", true)).contains("hidden"));
    }

    #[test]
    fn bucket_names() {
        for bad in ["", "a/b"] {
            let mut settings = settings("host", true);
            bad.clone_into(&mut settings.bucket);
            assert_eq!(settings.endpoint_url(), Err(InvalidSettings::Bucket(bad.into())));
        }
    }
}
