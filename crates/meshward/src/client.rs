//! A client of the gateway's REST interface.

use std::fmt;

use clap::Args;
use meshward_gateway::rest::access::local;
use meshward_gateway::rest::model::{
    Activation, Alert, AlertAct, ChannelTest, CommandOutcome, Delivery, Events, Firmware, Forecast,
    NewCommand, NewName, NewNotificationChannel, NewQuery, NewRollout, Node, NotificationChannel, Page,
    ProblemPart, QueryAnswer, Rollout, RolloutPreview, Status, Topology,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::profile::{self, ProfileError, Target, Wanted};

/// Where the gateway is. What is said nearest counts: --url, --profile, MESHWARD_URL, MESHWARD_PROFILE, the profile that
/// is used without being named, this machine's own gateway.
#[derive(Args, Clone, Default)]
pub(crate) struct GatewayArgs {
    /// The gateway's address. [env: MESHWARD_URL] [default: that of the profile, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The token that the gateway's admin has given you; by default that of the profile. A gateway that the same user
    /// runs on this machine needs none.
    #[arg(long, env = "MESHWARD_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The gateway that has been added by this name: see `meshward profile`. [env: MESHWARD_PROFILE]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

impl GatewayArgs {
    /// Which gateway that is.
    ///
    /// # Errors
    /// [`ProfileError`] when a profile is needed and cannot be had.
    pub(crate) fn target(&self) -> Result<Target, ProfileError> {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        profile::resolve(Wanted {
            url: said(self.url.clone()),
            token: said(self.token.clone()),
            profile: said(self.profile.clone()),
            url_variable: said(std::env::var("MESHWARD_URL").ok()),
            profile_variable: said(std::env::var("MESHWARD_PROFILE").ok()),
        })
    }
}

/// The token that a gateway on this machine has left for its user. It goes to nobody else: only to a port of this
/// machine, and only the port's own.
fn local_token(url: &str) -> Option<String> {
    local::find(&local::folders(), own_port(url)?)
}

/// The port of a URL that leads to this machine.
fn own_port(url: &str) -> Option<u16> {
    let url = reqwest::Url::parse(url).ok()?;
    let host = url.host_str()?;
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let is_own = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if is_own { url.port_or_known_default() } else { None }
}

/// Why a request was not fulfilled.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// Nobody answered.
    Unreachable { url: String, source: reqwest::Error },
    /// The gateway said no.
    Refused { status: StatusCode, detail: String },
    /// The answer was none of ours.
    Malformed { url: String, source: reqwest::Error },
}

impl ClientError {
    pub(crate) const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether it is for want of a right.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. })
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, .. } => {
                write!(f, "no gateway answers at {url}; start one by `meshward gateway`, or name it by --url")
            }
            Self::Refused { status: status @ StatusCode::UNAUTHORIZED, detail } => write!(
                f,
                "{detail} ({status}); give a token by --token, MESHWARD_TOKEN or a profile, or ask as the user who runs the gateway"
            ),
            Self::Refused { status, detail } => write!(f, "{detail} ({status})"),
            Self::Malformed { url, .. } => write!(f, "what answers at {url} is no Meshward gateway"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { source, .. } | Self::Malformed { source, .. } => Some(source),
            Self::Refused { .. } => None,
        }
    }
}

/// The part of RFC 9457 that people read.
#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<ProblemPart>,
}

/// The part of an OpenAPI document that says whose it is.
#[derive(Deserialize)]
struct Description {
    info: Info,
}

/// See [`Description`].
#[derive(Deserialize)]
struct Info {
    version: String,
}

/// A connection to one gateway.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(args: &GatewayArgs) -> Result<Self, ProfileError> {
        Ok(Self::to(args.target()?))
    }

    /// Of this gateway; without a token with the one that a gateway on this machine has left for its user.
    pub(crate) fn to(Target { url, token }: Target) -> Self {
        let token = token.or_else(|| local_token(&url));
        Self { http: reqwest::Client::new(), url: url.trim_end_matches('/').to_owned(), token }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The version of the program that answers there, by its description of itself.
    pub(crate) async fn version(&self) -> Result<String, ClientError> {
        let description: Description = self.get("openapi.json").await?;
        Ok(description.info.version)
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, ClientError> {
        self.all("nodes").await
    }

    pub(crate) async fn topology(&self) -> Result<Topology, ClientError> {
        self.get("topology").await
    }

    pub(crate) async fn upload(&self, name: &str, image: Vec<u8>) -> Result<Firmware, ClientError> {
        self.answer(self.request(Method::POST, "firmware").query(&[("name", name)]).body(image)).await
    }

    /// The images that the gateway has.
    pub(crate) async fn firmware(&self) -> Result<Vec<Firmware>, ClientError> {
        self.all("firmware").await
    }

    pub(crate) async fn manifest(&self, sha256: &str, manifest: Vec<u8>) -> Result<Firmware, ClientError> {
        let path = format!("firmware/{sha256}/manifest");
        self.answer(self.request(Method::PUT, &path).body(manifest)).await
    }

    pub(crate) async fn forecast(&self, rollout: &NewRollout) -> Result<Forecast, ClientError> {
        self.answer(self.request(Method::POST, "forecasts").json(rollout)).await
    }

    pub(crate) async fn preview(&self, rollout: &NewRollout) -> Result<RolloutPreview, ClientError> {
        self.answer(self.request(Method::POST, "rollout-previews").json(rollout)).await
    }

    /// What came of a roll-out in waves, as a page.
    pub(crate) async fn report(&self, id: u64) -> Result<String, ClientError> {
        let request = self.request(Method::GET, &format!("rollouts/{id}/report"));
        self.text(request.header(reqwest::header::ACCEPT, "text/markdown")).await
    }

    pub(crate) async fn start(&self, rollout: &NewRollout) -> Result<Rollout, ClientError> {
        self.answer(self.request(Method::POST, "rollouts").json(rollout)).await
    }

    pub(crate) async fn rollout(&self, id: u64) -> Result<Rollout, ClientError> {
        self.get(&format!("rollouts/{id}")).await
    }

    pub(crate) async fn rollouts(&self) -> Result<Vec<Rollout>, ClientError> {
        self.all("rollouts").await
    }

    pub(crate) async fn control(&self, id: u64, verb: &str) -> Result<Rollout, ClientError> {
        self.answer(self.request(Method::POST, &format!("rollouts/{id}/{verb}"))).await
    }

    pub(crate) async fn activate(&self, id: u64, which: &Activation) -> Result<Rollout, ClientError> {
        self.answer(self.request(Method::POST, &format!("rollouts/{id}/activate")).json(which)).await
    }

    pub(crate) async fn status(&self) -> Result<Status, ClientError> {
        self.get("status").await
    }

    pub(crate) async fn dot(&self) -> Result<String, ClientError> {
        self.text(self.request(Method::GET, "topology.dot")).await
    }

    async fn text(&self, request: RequestBuilder) -> Result<String, ClientError> {
        let url = || self.url.clone();
        let sent = request.send().await;
        let response = sent.map_err(|source| ClientError::Unreachable { url: url(), source })?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        response.text().await.map_err(|source| ClientError::Malformed { url: url(), source })
    }

    pub(crate) async fn query(&self, query: &NewQuery) -> Result<QueryAnswer, ClientError> {
        self.answer(self.request(Method::POST, "queries?wait=true").json(query)).await
    }

    pub(crate) async fn alerts(&self) -> Result<Vec<Alert>, ClientError> {
        self.all("alerts").await
    }

    pub(crate) async fn act(
        &self,
        fingerprint: &str,
        verb: &str,
        act: &AlertAct,
    ) -> Result<Alert, ClientError> {
        let path = format!("alerts/{fingerprint}/{verb}");
        self.answer(self.request(Method::POST, &path).json(act)).await
    }

    pub(crate) async fn channels(&self) -> Result<Vec<NotificationChannel>, ClientError> {
        self.all("notification-channels").await
    }

    pub(crate) async fn add_channel(
        &self,
        new: &NewNotificationChannel,
    ) -> Result<NotificationChannel, ClientError> {
        self.answer(self.request(Method::POST, "notification-channels").json(new)).await
    }

    pub(crate) async fn test_channel(&self, id: &str) -> Result<ChannelTest, ClientError> {
        self.answer(self.request(Method::POST, &format!("notification-channels/{id}/test"))).await
    }

    pub(crate) async fn deliveries(&self, id: &str) -> Result<Vec<Delivery>, ClientError> {
        self.all(&format!("notification-channels/{id}/deliveries")).await
    }

    pub(crate) async fn retry_delivery(&self, id: &str, delivery: u64) -> Result<(), ClientError> {
        let path = format!("notification-channels/{id}/deliveries/{delivery}/retry");
        self.done(self.request(Method::POST, &path)).await
    }

    pub(crate) async fn remove_channel(&self, id: &str) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &format!("notification-channels/{id}"))).await
    }

    pub(crate) async fn events(&self, after: u64) -> Result<Events, ClientError> {
        self.get(&format!("events?after={after}")).await
    }

    pub(crate) async fn command(
        &self,
        node: u32,
        command: &NewCommand,
    ) -> Result<CommandOutcome, ClientError> {
        self.answer(self.request(Method::POST, &format!("nodes/{node}/commands")).json(command)).await
    }

    pub(crate) async fn name(&self, node: u32, name: &NewName) -> Result<Node, ClientError> {
        self.answer(self.request(Method::PUT, &format!("nodes/{node}/name")).json(name)).await
    }

    /// The node that is meant: by its id, or by a name that one node has.
    pub(crate) async fn find(&self, node: &str) -> anyhow::Result<u32> {
        if let Ok(id) = node.parse() {
            return Ok(id);
        }
        let nodes = self.nodes().await?;
        let named: Vec<u32> =
            nodes.iter().filter(|known| known.name.as_deref() == Some(node)).map(|known| known.id).collect();
        match named[..] {
            [id] => Ok(id),
            [] => anyhow::bail!("no node is called `{node}`: take an id or a name from `meshward nodes`"),
            _ => anyhow::bail!("{} nodes are called `{node}`: take the id of one", named.len()),
        }
    }

    /// Asks with a body.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.answer(self.request(method, path).json(body)).await
    }

    /// Takes something away.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), ClientError> {
        let sent = self.request(Method::DELETE, path).send().await;
        let response = sent.map_err(|source| ClientError::Unreachable { url: self.url.clone(), source })?;
        if response.status().is_success() { Ok(()) } else { Err(refused(response).await) }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/api/v1/{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A short list, which comes as one page.
    pub(crate) async fn items<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ClientError> {
        let page: Page<T> = self.get(path).await?;
        Ok(page.items)
    }

    /// What is answered, to be read piece by piece.
    pub(crate) async fn download(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Response, ClientError> {
        let sent = self.request(Method::GET, path).query(query).send().await;
        let response = sent.map_err(|source| ClientError::Unreachable { url: self.url.clone(), source })?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// A list, page after page.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ClientError> {
        let mut page: Page<T> = self.get(&format!("{path}?limit=1000")).await?;
        let mut items = page.items;
        while let Some(cursor) = page.next_cursor {
            page = self.get(&format!("{path}?limit=1000&cursor={cursor}")).await?;
            items.append(&mut page.items);
        }
        Ok(items)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(self.request(Method::GET, path)).await
    }

    /// What is answered without a body.
    async fn done(&self, request: RequestBuilder) -> Result<(), ClientError> {
        let url = || self.url.clone();
        let response =
            request.send().await.map_err(|source| ClientError::Unreachable { url: url(), source })?;
        if response.status().is_success() { Ok(()) } else { Err(refused(response).await) }
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let url = || self.url.clone();
        let response =
            request.send().await.map_err(|source| ClientError::Unreachable { url: url(), source })?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(|source| ClientError::Malformed { url: url(), source });
        }
        Err(refused(response).await)
    }
}

/// A name as a part of a path.
pub(crate) fn in_path(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// What an answer says instead of what was asked for.
async fn refused(response: reqwest::Response) -> ClientError {
    let status = response.status();
    let problem: Problem = response.json().await.unwrap_or(Problem { detail: None, errors: Vec::new() });
    let mut detail = problem.detail.unwrap_or_else(|| "the gateway gave no reason".to_owned());
    // One mistake is in the detail already; of several each has its line.
    for part in problem.errors.iter().filter(|_| problem.errors.len() > 1) {
        detail.push_str(&format!("\n  {}: {}", part.pointer.as_deref().unwrap_or_default(), part.detail));
    }
    ClientError::Refused { status, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(in_path("a-b_c.d@e"), "a-b_c.d@e");
        assert_eq!(in_path("a/b ?#%ö"), "a%2Fb%20%3F%23%25%C3%B6");
    }

    #[test]
    fn the_local_token_goes_to_this_machine_alone() {
        for (url, port) in [
            ("http://127.0.0.1:8080", Some(8080)),
            ("http://localhost:1/", Some(1)),
            ("http://[::1]:7", Some(7)),
            ("https://127.0.0.1", Some(443)),
            ("http://192.0.2.1:8080", None),
            ("http://localhost.evil.example:8080", None),
            ("http://127.0.0.1@evil.example:8080", None),
            ("http://127.0.0.1.evil.example:8080", None),
            ("nonsense", None),
        ] {
            assert_eq!(own_port(url), port, "{url}");
        }
    }
}
