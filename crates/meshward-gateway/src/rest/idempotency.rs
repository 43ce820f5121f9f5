//! A request that is sent again is answered again, not done again.
//!
//! A POST with an `Idempotency-Key` is remembered for [`KEPT`], with its answer. The same key with the same request gets
//! that answer and `Idempotency-Replayed: true`; with another request 422, while the first one is under way 409. What was
//! answered by 5xx is forgotten, for it may go better. At most [`KEYS_MAX`] are kept, the oldest goes first; answers
//! of more than [`ANSWER_MAX`] bytes are not kept, nor those that hold a secret. With a database keys outlive the program:
//! one is written down before its request is begun, and one that was never answered is not done again by itself (409),
//! for nobody knows how far it came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use meshward_core::hash::Sha256Sum;
use serde::{Deserialize, Serialize};

use super::FIRMWARE_MAX;
use super::access::Principal;
use super::api::Api;
use super::convert::hex;
use super::problem::{Answer, Problem};
use crate::store::{Claim, Store};

/// How long a key is remembered.
const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Keys that are remembered.
const KEYS_MAX: usize = 1_024;
/// Longest answer that is kept, in bytes.
const ANSWER_MAX: usize = 256 * 1_024;
/// Longest key, in bytes.
const KEY_MAX: usize = 255;
/// Paths whose answers hold a secret, which is told once and kept nowhere.
const SECRETS: [&str; 3] = ["/api/v1/login", "/api/v1/setup", "/api/v1/tokens"];
const OTHER: &str = "this Idempotency-Key belongs to another request: take a new one for each";
const KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

/// An answer that was given.
#[derive(Clone)]
struct Given {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

struct Entry {
    at: Instant,
    /// Of method, path, query, who asks and body.
    request: Sha256Sum,
    /// Absent while it is under way.
    given: Option<Given>,
}

/// An answer as the database has it, beside its status.
#[derive(Serialize, Deserialize)]
struct Written {
    headers: Vec<(String, String)>,
    body: String,
}

impl Written {
    /// Nothing of an answer that is no text.
    fn of(given: &Given) -> Option<String> {
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = given.headers.iter().filter_map(header).collect();
        let body = String::from_utf8(given.body.to_vec()).ok()?;
        serde_json::to_string(&Self { headers, body }).ok()
    }

    fn read(status: u16, text: &str) -> Option<Given> {
        let Self { headers, body } = serde_json::from_str(text).ok()?;
        let header = |(name, value): (String, String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        let headers = headers.into_iter().filter_map(header).collect();
        Some(Given { status: StatusCode::from_u16(status).ok()?, headers, body: body.into() })
    }
}

/// What to do with a request.
enum Turn {
    Do,
    Replay(Given),
    Refuse(Problem),
}

/// Whose key it is, and of which request.
struct Asked {
    actor: String,
    key: String,
    request: Sha256Sum,
}

impl Asked {
    /// Its name in the table.
    fn name(&self) -> String {
        format!("{}\n{}", self.actor, self.key)
    }

    /// What the database says of it. `Do`: it is ours now.
    async fn claim(&self, store: &Store) -> Answer<Turn> {
        let refuse = |status, detail: &str| Ok(Turn::Refuse(Problem::new(status, detail)));
        let now = Timestamp::now();
        let expires = now.checked_add(KEPT).unwrap_or(Timestamp::MAX);
        let sum = hex(&self.request.0);
        match store.claim_idempotency(&self.actor, &self.key, &sum, now, expires).await? {
            Claim::New => Ok(Turn::Do),
            Claim::Answered { status, body } => match Written::read(status, &body) {
                Some(given) => Ok(Turn::Replay(given)),
                None => {
                    refuse(StatusCode::CONFLICT, "that request was done; its answer cannot be read any more")
                }
            },
            Claim::UnderWay => refuse(
                StatusCode::CONFLICT,
                "the request with this Idempotency-Key was begun and never answered, for the gateway ended or its asker left: look how far it came, and take a new key",
            ),
            Claim::Other => refuse(StatusCode::UNPROCESSABLE_ENTITY, OTHER),
        }
    }

    /// Keeps the answer, or forgets that there was a request.
    async fn end(&self, store: &Store, given: Option<&Given>) {
        let written = given.and_then(|given| Some((given.status, Written::of(given)?)));
        let done = match written {
            Some((status, text)) => {
                store.finish_idempotency(&self.actor, &self.key, status.as_u16(), &text).await
            }
            None => store.release_idempotency(&self.actor, &self.key).await,
        };
        if let Err(error) = done {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(key = self.key, error, "what a request was answered is not written down");
        }
    }
}

/// See the module's page.
#[derive(Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<BTreeMap<String, Entry>>>);

impl Keys {
    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Nothing that is done under the lock leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, now: Instant, key: &str, request: Sha256Sum) -> Turn {
        let mut table = self.table();
        table.retain(|_, entry| now.duration_since(entry.at) < KEPT);
        if let Some(entry) = table.get(key) {
            let refuse = |status, detail: &str| Turn::Refuse(Problem::new(status, detail));
            return match &entry.given {
                _ if entry.request != request => refuse(StatusCode::UNPROCESSABLE_ENTITY, OTHER),
                Some(given) => Turn::Replay(given.clone()),
                None => refuse(
                    StatusCode::CONFLICT,
                    "the request with this Idempotency-Key is under way: ask again in a moment",
                ),
            };
        }
        if table.len() >= KEYS_MAX {
            let over = table.iter().filter(|(_, entry)| entry.given.is_some());
            let oldest = over.min_by_key(|(_, entry)| entry.at).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else {
                let detail = format!("{KEYS_MAX} requests with an Idempotency-Key are under way");
                return Turn::Refuse(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
            };
            table.remove(&oldest);
        }
        table.insert(key.to_owned(), Entry { at: now, request, given: None });
        Turn::Do
    }

    fn end(&self, key: &str, given: Option<Given>) {
        let mut table = self.table();
        match given {
            Some(given) => drop(table.get_mut(key).map(|entry| entry.given = Some(given))),
            None => drop(table.remove(key)),
        }
    }
}

/// Forgets a request that ends without an answer: its asker has gone, and what became of it is not known here.
struct Underway {
    keys: Keys,
    key: String,
    done: bool,
}

impl Drop for Underway {
    fn drop(&mut self) {
        if !self.done {
            self.keys.end(&self.key, None);
        }
    }
}

fn key(headers: &HeaderMap) -> Option<Result<String, Problem>> {
    let key = headers.get(KEY)?.to_str().ok().map(str::trim).unwrap_or_default();
    let printable = key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if key.is_empty() || key.len() > KEY_MAX || !printable {
        let detail = format!("an Idempotency-Key is 1 to {KEY_MAX} printable characters of ASCII");
        return Some(Err(Problem::parameter("Idempotency-Key", detail)));
    }
    Some(Ok(key.to_owned()))
}

/// A layer around the routes.
pub(super) async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    let once = request.method() == Method::POST && !SECRETS.contains(&request.uri().path());
    let wanted = if once { key(request.headers()) } else { None };
    let key = match wanted {
        None => return next.run(request).await,
        Some(Err(problem)) => return problem.into_response(),
        Some(Ok(key)) => key,
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, FIRMWARE_MAX).await else {
        let detail = format!("the body could not be read, or has more than {FIRMWARE_MAX} bytes");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    };
    // Keys are each asker's own.
    let actor = parts.extensions.get::<Principal>().map(|asker| asker.name.clone()).unwrap_or_default();
    let about = format!("{} {}\n", parts.method, parts.uri);
    let request = Sha256Sum::of(&[about.as_bytes(), &body].concat());
    let asked = Asked { actor, key, request };
    once_of(&api, &asked, Request::from_parts(parts, Body::from(body)), next).await
}

async fn once_of(api: &Api, asked: &Asked, request: Request, next: Next) -> Response {
    let (keys, name) = (&api.keys, asked.name());
    match keys.begin(Instant::now(), &name, asked.request) {
        Turn::Refuse(problem) => return problem.into_response(),
        Turn::Replay(given) => return replay(given),
        Turn::Do => {}
    }
    let mut underway = Underway { keys: keys.clone(), key: name.clone(), done: false };
    if let Some(store) = &api.store {
        match asked.claim(store).await {
            Ok(Turn::Do) => {}
            Ok(Turn::Replay(given)) => return replay(given),
            Ok(Turn::Refuse(problem)) | Err(problem) => return problem.into_response(),
        }
    }
    let response = next.run(request).await;
    let failed = response.status().is_server_error();
    let (parts, body) = response.into_parts();
    let read = to_bytes(body, FIRMWARE_MAX).await;
    let given = read.as_ref().ok().filter(|body| !failed && body.len() <= ANSWER_MAX);
    let given =
        given.map(|body| Given { status: parts.status, headers: parts.headers.clone(), body: body.clone() });
    if let Some(store) = &api.store {
        asked.end(store, given.as_ref()).await;
    }
    underway.done = true;
    keys.end(&name, given);
    match read {
        Ok(body) => Response::from_parts(parts, Body::from(body)),
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too long").into_response(),
    }
}

fn replay(given: Given) -> Response {
    let mut response = (given.status, given.headers, given.body).into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(keys: &Keys, now: Instant, key: &str, body: &[u8]) -> String {
        match keys.begin(now, key, Sha256Sum::of(body)) {
            Turn::Do => "do".to_owned(),
            Turn::Replay(given) => format!("replay {}", given.status.as_u16()),
            Turn::Refuse(problem) => problem.into_response().status().as_u16().to_string(),
        }
    }

    fn given() -> Given {
        Given { status: StatusCode::CREATED, headers: HeaderMap::new(), body: Bytes::new() }
    }

    #[test]
    fn a_request_is_done_once() {
        let (keys, now) = (Keys::default(), Instant::now());
        assert_eq!(turn(&keys, now, "a", b"x"), "do");
        assert_eq!(turn(&keys, now, "a", b"x"), "409", "it is under way");
        assert_eq!(turn(&keys, now, "a", b"y"), "422", "another request");
        assert_eq!(turn(&keys, now, "b", b"x"), "do", "another key");
        keys.end("a", Some(given()));
        assert_eq!(turn(&keys, now, "a", b"x"), "replay 201");
        assert_eq!(turn(&keys, now, "a", b"y"), "422");
        assert_eq!(turn(&keys, now + KEPT, "a", b"y"), "do", "a day later");
        keys.end("b", None);
        assert_eq!(turn(&keys, now, "b", b"z"), "do", "what failed may be done again");
    }

    #[test]
    fn the_table_has_a_bound() {
        let (keys, now) = (Keys::default(), Instant::now());
        for number in 0..KEYS_MAX {
            assert_eq!(turn(&keys, now, &number.to_string(), b"x"), "do");
        }
        assert_eq!(turn(&keys, now, "more", b"x"), "429", "all are under way");
        keys.end("7", Some(given()));
        assert_eq!(turn(&keys, now, "more", b"x"), "do");
        assert_eq!(turn(&keys, now, "7", b"x"), "429", "it has made room");
    }
}
