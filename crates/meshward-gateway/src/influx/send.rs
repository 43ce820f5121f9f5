//! One batch to one server, and what its answer means.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{StatusCode, header};

use crate::notify::retry_after;

/// Longest until a server has taken a batch.
const SEND_MAX: Duration = Duration::from_secs(30);
/// Longest until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Characters of an answer that are shown.
const SHOWN_MAX: usize = 300;
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 16 * 1024;

/// By which interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// That of version 2, and that of version 1 where there is no other.
    Auto,
    /// `/api/v2/write`.
    V2,
    /// `/write`.
    V1,
}

/// A server and where in it values go.
#[derive(Clone)]
pub struct Server {
    /// Its root.
    pub url: String,
    /// By which interface.
    pub api: Api,
    /// The organisation; version 1 has none.
    pub org: String,
    /// The bucket; of version 1 the database.
    pub bucket: String,
    /// The token; of version 1 `USER:PASSWORD`.
    pub token: Option<String>,
}

/// Without the token.
impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("url", &self.url).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The server has it.
    Taken,
    /// The server will never take this batch.
    Refused(String),
    /// It may another time.
    Later {
        /// Why not now.
        why: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
}

/// Sends to one server.
#[derive(Debug)]
pub struct Sender {
    http: reqwest::Client,
    server: Server,
    /// There is no interface of version 2.
    old: bool,
}

impl Sender {
    /// For this server.
    ///
    /// # Errors
    /// When there is no HTTP client.
    pub fn new(server: Server) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .timeout(SEND_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("meshward/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let old = server.api == Api::V1;
        Ok(Self { http, server, old })
    }

    /// Sends a batch that is packed by gzip. Ends within 30 s.
    pub async fn send(&mut self, body: &[u8]) -> Sent {
        let (status, answer) = match self.post(body).await {
            Ok(answer) => answer,
            Err(error) => return Sent::Later { why: unreached(error), after: None },
        };
        if status == StatusCode::NOT_FOUND
            && self.server.api == Api::Auto
            && !self.old
            && !names_bucket(&answer.text)
        {
            tracing::info!("the server has no write interface of version 2: that of version 1 is used");
            self.old = true;
            return Sent::Later { why: "trying version 1".to_owned(), after: Some(Duration::ZERO) };
        }
        meaning(status, answer)
    }

    async fn post(&self, body: &[u8]) -> Result<(StatusCode, Answer), reqwest::Error> {
        let Server { url, org, bucket, token, .. } = &self.server;
        let root = url.trim_end_matches('/');
        let mut request = if self.old {
            self.http.post(format!("{root}/write")).query(&[("db", &**bucket), ("precision", "ns")])
        } else {
            let query = [("org", &**org), ("bucket", &**bucket), ("precision", "ns")];
            self.http.post(format!("{root}/api/v2/write")).query(&query)
        };
        request = request
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(header::CONTENT_ENCODING, "gzip");
        if let Some(token) = token {
            request = match token.split_once(':').filter(|_| self.old) {
                Some((user, password)) => request.basic_auth(user, Some(password)),
                None => request.header(header::AUTHORIZATION, format!("Token {token}")),
            };
        }
        let mut response = request.body(body.to_vec()).send().await?;
        let status = response.status();
        let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| retry_after(text, Timestamp::now()));
        let mut text = Vec::new();
        while text.len() < ANSWER_MAX {
            match response.chunk().await? {
                Some(chunk) => {
                    text.extend_from_slice(chunk.get(..ANSWER_MAX.min(chunk.len())).unwrap_or_default())
                }
                None => break,
            }
        }
        let text = String::from_utf8_lossy(&text);
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect();
        Ok((status, Answer { text, after }))
    }
}

struct Answer {
    text: String,
    after: Option<Duration>,
}

/// Whether a 404 is about the bucket or organisation, and not about the path.
fn names_bucket(text: &str) -> bool {
    text.contains("bucket") || text.contains("organization")
}

fn meaning(status: StatusCode, Answer { text, after }: Answer) -> Sent {
    let said = format!("{status}{}{}", if text.trim().is_empty() { "" } else { ": " }, text.trim());
    match status {
        StatusCode::NO_CONTENT => Sent::Taken,
        // 200 is what version 1 says of queries and proxies of pages; a write is answered by 204.
        _ if status.is_success() || status.is_redirection() => {
            Sent::Later { why: format!("the answer is not InfluxDB's: {said}"), after }
        }
        // The batch is at fault: a type that a field has not, a time beyond the retention, too large.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Sent::Refused(said)
        }
        // The configuration is at fault, or the server: another time.
        _ => Sent::Later { why: said, after },
    }
}

/// Why nobody answered, without the URL's parameters.
fn unreached(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut deepest = std::error::Error::source(&error);
    let mut last = error.to_string();
    while let Some(cause) = deepest {
        last = cause.to_string();
        deepest = cause.source();
    }
    if error.is_timeout() { format!("no answer within {} s", SEND_MAX.as_secs()) } else { last }
}
