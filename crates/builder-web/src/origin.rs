//! Where this site is on the web: what feeds and search descriptions, which are read elsewhere,
//! begin their links with.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::app::App;
use crate::client::Client;

/// Scheme and host, without a slash at the end: what the operator says, or else what the client
/// used.
pub fn of(app: &App, client: Option<&Client>, headers: &HeaderMap) -> String {
    if let Some(url) = &app.config().site.public_url {
        return url.clone();
    }
    let scheme = client.and_then(|client| client.scheme).unwrap_or("http");
    let forwarded = client.and_then(|client| client.host.as_deref());
    let host = forwarded.or_else(|| {
        let host = headers.get(header::HOST)?.to_str().ok()?;
        is_host(host).then_some(host)
    });
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

tokio::task_local! {
    static ORIGIN: Arc<str>;
}

/// Makes a page for a client that knows this site by `origin`.
pub async fn scope<T>(origin: Arc<str>, page: impl Future<Output = T>) -> T {
    ORIGIN.scope(origin, page).await
}

/// By what the client of this task knows the site, within [`scope`].
pub fn current() -> Option<Arc<str>> {
    ORIGIN.try_with(Arc::clone).ok()
}

fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    !host.is_empty() && host.len() <= 261 && host.bytes().all(plain)
}

/// Reads the public URL of a site: scheme, host, perhaps a port. Clients in the field know no site
/// below a path.
pub fn parse(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let host = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match host {
        Some(host) if is_host(host) => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is to be https://HOST or http://HOST, perhaps with a port, and without a path"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_scheme_and_a_host() {
        assert_eq!(
            parse("https://builds.example.org/").as_deref(),
            Ok("https://builds.example.org")
        );
        assert!(parse("http://[::1]:3000").is_ok());
        for wrong in [
            "",
            "builds.example.org",
            "ftp://x",
            "https://",
            "https://x/y",
            "https://a b",
            "https://x?",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
