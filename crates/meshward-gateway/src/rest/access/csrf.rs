//! Keeps other sites' pages from acting with a session that a browser sends by itself.
//!
//! A request that changes something and comes with a cookie must come from a page of ours, by what the browser says of
//! it, *and* carry a token that only such a page can have read. Bearer tokens need none of this: no browser sends them
//! by itself.

use axum::http::{HeaderMap, Method, header};

use super::secret::Secret;

/// The header in which a page sends the token.
pub const HEADER: &str = "x-csrf-token";

/// Why a request is not taken for one of our own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrfError {
    /// The browser says that another site's page asks, or it does not say who.
    #[error("a request with a session must come from a page of this gateway")]
    Foreign,
    /// The token is not there, or is not that of the session.
    #[error("a request with a session that changes something needs the session's token in X-CSRF-Token")]
    Token,
}

/// Whether a method changes nothing.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token of a session. It follows from the session's secret, so nobody has to keep it.
pub fn token(session: &Secret) -> String {
    session.derive("csrf").reveal()
}

/// Whether a page of ours asks: by `Sec-Fetch-Site`, which pages cannot set, or by `Origin` where a browser is too old
/// for that.
///
/// # Errors
/// [`CsrfError::Foreign`].
pub fn own_page(headers: &HeaderMap) -> Result<(), CsrfError> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let own = match (text(header::HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text(header::HOST)
        }
        (None, None) => false,
    };
    if own { Ok(()) } else { Err(CsrfError::Foreign) }
}

/// Whether a request with a session may change something.
///
/// # Errors
/// [`CsrfError`] says what is missing.
pub fn check(headers: &HeaderMap, session: &Secret) -> Result<(), CsrfError> {
    own_page(headers)?;
    let sent = headers.get(HEADER).and_then(|value| value.to_str().ok()).and_then(Secret::parse);
    match sent {
        Some(sent) if sent.is(&session.derive("csrf")) => Ok(()),
        _ => Err(CsrfError::Token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    #[test]
    fn only_our_own_pages_ask() {
        let (host, own) = (("host", "mesh.example:8080"), Ok(()));
        for (lines, expected) in [
            (&[host, ("sec-fetch-site", "same-origin")][..], own),
            (&[host, ("origin", "http://mesh.example:8080")], own),
            (&[host, ("origin", "https://mesh.example:8080")], own),
            (&[host], Err(CsrfError::Foreign)),
            (&[host, ("sec-fetch-site", "same-site")], Err(CsrfError::Foreign)),
            (&[host, ("sec-fetch-site", "none")], Err(CsrfError::Foreign)),
            (
                &[host, ("sec-fetch-site", "cross-site"), ("origin", "http://mesh.example:8080")],
                Err(CsrfError::Foreign),
            ),
            (&[host, ("origin", "http://mesh.example")], Err(CsrfError::Foreign)),
            (&[host, ("origin", "null")], Err(CsrfError::Foreign)),
            (&[host, ("origin", "http://evil.example")], Err(CsrfError::Foreign)),
            (&[("origin", "http://")], Err(CsrfError::Foreign)),
        ] {
            assert_eq!(own_page(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_token_is_that_of_the_session() {
        let (session, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        let page = ("sec-fetch-site", "same-origin");
        let (right, wrong, bare) = (token(&session), token(&other), session.reveal());
        for (sent, expected) in [
            (Some(&right), Ok(())),
            (Some(&wrong), Err(CsrfError::Token)),
            (Some(&bare), Err(CsrfError::Token)),
            (None, Err(CsrfError::Token)),
        ] {
            let mut lines = vec![page];
            lines.extend(sent.map(|sent| (HEADER, sent.as_str())));
            assert_eq!(check(&headers(&lines), &session), expected, "{sent:?}");
        }
        let foreign = headers(&[("sec-fetch-site", "cross-site"), (HEADER, &right)]);
        assert_eq!(check(&foreign, &session), Err(CsrfError::Foreign));
        for (method, safe) in
            [(Method::GET, true), (Method::HEAD, true), (Method::POST, false), (Method::DELETE, false)]
        {
            assert_eq!(is_safe(&method), safe);
        }
    }
}
