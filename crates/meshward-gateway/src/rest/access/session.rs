//! Sessions of people at browsers: a secret in a cookie, kept as its hash, that ends by itself.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;

use super::secret::{Digest, Secret};
use super::user::UserName;

/// The cookie's name where it travels without TLS: on this machine.
const COOKIE: &str = "meshward_session";
/// Its name with TLS. By this prefix browsers refuse it from anything but this very host, by TLS (RFC 6265bis, 4.1.3.2).
const COOKIE_SECURE: &str = "__Host-meshward_session";

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without a request.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
}

impl Default for Lifetime {
    /// Half a day of rest, a week in all.
    fn default() -> Self {
        Self { idle: Duration::from_secs(12 * 3_600), total: Duration::from_secs(7 * 24 * 3_600) }
    }
}

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What is kept of its secret.
    pub digest: Digest,
    /// Whose it is.
    pub user: UserName,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Timestamp,
}

impl Session {
    /// When it ends if it is not used before.
    pub fn expires_at(&self, lifetime: Lifetime) -> Timestamp {
        let after = |at: Timestamp, span: Duration| at.checked_add(span).unwrap_or(Timestamp::MAX);
        after(self.last_used_at, lifetime.idle).min(after(self.created_at, lifetime.total))
    }

    /// Whether it is over.
    pub fn is_over(&self, now: Timestamp, lifetime: Lifetime) -> bool {
        now >= self.expires_at(lifetime)
    }
}

/// The `Set-Cookie` that begins a session.
pub fn cookie(secret: &Secret, secure: bool, lifetime: Lifetime) -> Option<HeaderValue> {
    let text = set_cookie(&secret.reveal(), secure, lifetime.total.as_secs());
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The `Set-Cookie` that ends one.
pub fn no_cookie(secure: bool) -> Option<HeaderValue> {
    HeaderValue::from_str(&set_cookie("", secure, 0)).ok()
}

fn set_cookie(value: &str, secure: bool, seconds: u64) -> String {
    let (name, more) = if secure { (COOKIE_SECURE, "; Secure") } else { (COOKIE, "") };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{more}")
}

/// The session's secret that a request brings. Only the cookie of its own kind counts: one that was set without TLS,
/// by whoever sat in between, is not believed with it.
pub fn presented(headers: &HeaderMap, secure: bool) -> Option<Secret> {
    let name = if secure { COOKIE_SECURE } else { COOKIE };
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).and_then(|(_, value)| Secret::parse(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hours * 3_600).unwrap()
    }

    #[test]
    fn a_session_ends_by_rest_and_by_age() {
        for (created, used, now, over) in [
            (0, 0, 0, false),
            (0, 0, 11, false),
            (0, 0, 12, true),
            (0, 11, 22, false),
            (0, 160, 167, false),
            (0, 167, 168, true),
            (0, 160, 200, true),
            // A clock that was set back ends nothing.
            (0, 0, -5, false),
        ] {
            let digest = Secret::new().unwrap().digest();
            let (created_at, last_used_at) = (at(created), at(used));
            let session = Session { digest, user: "anna".parse().unwrap(), created_at, last_used_at };
            assert_eq!(session.is_over(at(now), Lifetime::default()), over, "{created} {used} {now}");
        }
    }

    #[test]
    fn the_cookie_is_for_the_gateway_alone_and_comes_back() {
        let secret = Secret::new().unwrap();
        for secure in [false, true] {
            let set = cookie(&secret, secure, Lifetime::default()).unwrap();
            let text = set.to_str().unwrap();
            assert!(
                text.contains("; HttpOnly; SameSite=Strict") && text.contains("Max-Age=604800"),
                "{text}"
            );
            assert!(text.contains("Path=/;") && !text.contains("Domain"), "{text}");
            assert_eq!(text.contains("; Secure"), secure, "{text}");
            assert!(set.is_sensitive());
            let pair = text.split(';').next().unwrap();
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, format!("theme=dark; {pair}; x").parse().unwrap());
            assert!(presented(&headers, secure).unwrap().is(&secret));
            assert!(presented(&headers, !secure).is_none(), "the other kind is not believed");
            let end = no_cookie(secure).unwrap();
            assert!(end.to_str().unwrap().contains("=; Path=/; Max-Age=0"), "{end:?}");
        }
        assert!(presented(&HeaderMap::new(), false).is_none());
    }
}
