//! A client of the gateway's REST interface.

use std::fmt;

use clap::Args;
use meshward_gateway::rest::model::{
    Activation, Firmware, Forecast, NewRollout, Node, Page, Rollout, Topology,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Where the gateway is.
#[derive(Args, Clone)]
pub(crate) struct GatewayArgs {
    /// The gateway's address.
    #[arg(long, env = "MESHWARD_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) url: String,
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
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, .. } => {
                write!(f, "no gateway answers at {url}; start one by `meshward gateway`, or name it by --url")
            }
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
}

/// A connection to one gateway.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(crate) fn new(args: &GatewayArgs) -> Self {
        Self { http: reqwest::Client::new(), url: args.url.trim_end_matches('/').to_owned() }
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, ClientError> {
        let page: Page<Node> = self.get("nodes").await?;
        Ok(page.items)
    }

    pub(crate) async fn topology(&self) -> Result<Topology, ClientError> {
        self.get("topology").await
    }

    pub(crate) async fn upload(&self, name: &str, image: Vec<u8>) -> Result<Firmware, ClientError> {
        self.answer(self.request(Method::POST, "firmware").query(&[("name", name)]).body(image)).await
    }

    pub(crate) async fn manifest(&self, sha256: &str, manifest: Vec<u8>) -> Result<Firmware, ClientError> {
        let path = format!("firmware/{sha256}/manifest");
        self.answer(self.request(Method::PUT, &path).body(manifest)).await
    }

    pub(crate) async fn forecast(&self, rollout: &NewRollout) -> Result<Forecast, ClientError> {
        self.answer(self.request(Method::POST, "forecasts").json(rollout)).await
    }

    pub(crate) async fn start(&self, rollout: &NewRollout) -> Result<Rollout, ClientError> {
        self.answer(self.request(Method::POST, "rollouts").json(rollout)).await
    }

    pub(crate) async fn rollout(&self, id: u64) -> Result<Rollout, ClientError> {
        self.get(&format!("rollouts/{id}")).await
    }

    pub(crate) async fn rollouts(&self) -> Result<Vec<Rollout>, ClientError> {
        let page: Page<Rollout> = self.get("rollouts").await?;
        Ok(page.items)
    }

    pub(crate) async fn control(&self, id: u64, verb: &str) -> Result<Rollout, ClientError> {
        self.answer(self.request(Method::POST, &format!("rollouts/{id}/{verb}"))).await
    }

    pub(crate) async fn activate(&self, id: u64, which: &Activation) -> Result<Rollout, ClientError> {
        self.answer(self.request(Method::POST, &format!("rollouts/{id}/activate")).json(which)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1/{path}", self.url))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(self.request(Method::GET, path)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let url = || self.url.clone();
        let response =
            request.send().await.map_err(|source| ClientError::Unreachable { url: url(), source })?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(|source| ClientError::Malformed { url: url(), source });
        }
        let problem: Problem = response.json().await.unwrap_or(Problem { detail: None });
        let detail = problem.detail.unwrap_or_else(|| "the gateway gave no reason".to_owned());
        Err(ClientError::Refused { status, detail })
    }
}
