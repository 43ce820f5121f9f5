//! One attempt to deliver one message: by HTTP here, by mail in `mail`, by a broker through [`Publisher`].
//!
//! Whatever the other side does, an attempt ends within [`SEND_MAX`]: with a delivery, with a failure that may go by
//! itself, or with a refusal for good.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{StatusCode, header};
use thiserror::Error;

use super::body;
use super::channel::{Hook, Template};
use super::message::Message;

/// Longest that an attempt may take.
pub const SEND_MAX: Duration = Duration::from_secs(10);
/// Longest until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 64 * 1024;
/// Characters of an answer that are shown.
const SHOWN_MAX: usize = 200;

/// Why a message was not delivered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// It may work another time.
    #[error("{what}")]
    Later {
        /// What happened; no secret.
        what: String,
        /// When the receiver wants to be asked again.
        after: Option<Duration>,
    },
    /// The receiver will never take it.
    #[error("{what}")]
    Never {
        /// What happened; no secret.
        what: String,
    },
}

impl SendError {
    pub(super) fn later(what: impl Into<String>) -> Self {
        Self::Later { what: what.into(), after: None }
    }

    pub(super) fn never(what: impl Into<String>) -> Self {
        Self::Never { what: what.into() }
    }
}

/// What a [`Publisher`] gives back.
pub type Publishing<'a> = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>;

/// Whoever has a connection to a broker.
pub trait Publisher: Send + Sync {
    /// Publishes a message as JSON, QoS 1 and not retained, on this topic or on the usual one for notifications, and is
    /// ready when the broker has taken it. The caller gives up after [`SEND_MAX`]; then the message comes again.
    fn publish<'a>(&'a self, topic: Option<&'a str>, payload: &'a str) -> Publishing<'a>;
}

/// The client of all webhooks: no redirects, which could lead a token to somebody else.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_MAX)
        .timeout(SEND_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("meshward/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Posts a message; what the receiver said.
pub(super) async fn post(
    http: &reqwest::Client,
    hook: &Hook,
    (channel, id): (&str, &str),
    message: &Message,
    public_url: &str,
) -> Result<String, SendError> {
    let unusable = |what: &str| SendError::never(format!("the channel's url is unusable: {what}"));
    let mut url = reqwest::Url::parse(&hook.url).map_err(|error| unusable(&error.to_string()))?;
    let token = hook.token.as_deref();
    let content = match hook.template {
        Template::Alertmanager => body::alertmanager(message, channel, public_url),
        Template::Ntfy => {
            let topic = url.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned();
            url.path_segments_mut().map_err(|()| unusable("it has no path"))?.pop();
            body::ntfy(message, &topic, public_url)
        }
        Template::Telegram => {
            let mut path = url.path_segments_mut().map_err(|()| unusable("it has no path"))?;
            path.pop_if_empty().extend([&*format!("bot{}", token.unwrap_or_default()), "sendMessage"]);
            drop(path);
            body::telegram(message, hook.chat.as_deref().unwrap_or_default(), public_url)
        }
    };
    // Texts and numbers always become JSON.
    let bytes = serde_json::to_vec(&content).unwrap_or_default();
    let mut request = http
        .post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", id)
        .header("X-Timestamp", Timestamp::now().to_string());
    if let Some(secret) = &hook.secret {
        request = request.header("X-Signature-256", body::signature(secret, &bytes));
    }
    if let Some(token) = token.filter(|_| hook.template != Template::Telegram) {
        request = request.bearer_auth(token);
    }
    // The URL may hold a secret, so it stays out of what is said.
    let response = request.body(bytes).send().await.map_err(|error| unreached(&error.without_url()))?;
    answered(response, hook.template).await
}

fn unreached(error: &reqwest::Error) -> SendError {
    let what = if error.is_timeout() {
        format!("the receiver did not answer within {} s", SEND_MAX.as_secs())
    } else if error.is_connect() {
        "the receiver cannot be reached".to_owned()
    } else {
        "the receiver broke off, or its answer is no HTTP".to_owned()
    };
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        causes.push(deeper.to_string());
        cause = deeper.source();
    }
    let last = causes.pop().map_or_else(String::new, |last| format!(": {last}"));
    SendError::later(format!("{what}{last}"))
}

/// What an answer means.
async fn answered(mut response: reqwest::Response, template: Template) -> Result<String, SendError> {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| retry_after(text, Timestamp::now()));
    let mut text = Vec::new();
    // An answer that never ends is cut off by the time-out or here.
    while text.len() < ANSWER_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                text.extend_from_slice(chunk.get(..ANSWER_MAX.min(chunk.len())).unwrap_or_default())
            }
            Ok(None) => break,
            Err(error) => return Err(unreached(&error.without_url())),
        }
    }
    let shown: String = String::from_utf8_lossy(&text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN_MAX)
        .collect();
    let said = format!("{status}{}{}", if shown.trim().is_empty() { "" } else { ": " }, shown.trim());
    let json = serde_json::from_slice::<serde_json::Value>(&text).ok();
    // Chats answer with JSON; anything else comes from somebody in between.
    let taken = match template {
        Template::Alertmanager => true,
        Template::Ntfy => json.as_ref().is_some_and(|json| json["id"].is_string()),
        Template::Telegram => json.as_ref().is_some_and(|json| json["ok"] == true),
    };
    let asked =
        json.as_ref().and_then(|json| json["parameters"]["retry_after"].as_u64()).map(Duration::from_secs);
    match status {
        _ if status.is_success() && taken => Ok(said),
        _ if status.is_success() => {
            Err(SendError::later(format!("the answer is not the receiver's: {said}")))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(SendError::Later { what: said, after: asked.or(after) })
        }
        _ if status.is_server_error() => Err(SendError::Later { what: said, after }),
        _ => Err(SendError::never(said)),
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_say_when_to_come_again() {
        let now = "2026-03-02T10:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Mon, 02 Mar 2026 10:00:30 GMT", Some(30)),
            ("Mon, 02 Mar 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now).map(|wait| wait.as_secs()), seconds, "{text}");
        }
    }
}
