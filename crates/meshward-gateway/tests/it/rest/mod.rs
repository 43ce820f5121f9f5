//! A real gateway with one real node, asked over HTTP.

mod answers;
mod events;
mod export;
mod failing;
mod kept;
mod lists;
mod schema;
mod socket;
mod stream;
mod waves;
mod windows;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::ota::trust::KeyKind;
use meshward_core::wire::NodeId;
use meshward_fleet::fleet::Settings;
use meshward_fleet::signing::SigningKey;
use meshward_gateway::keep::Keeper;
use meshward_gateway::rest::access::limit::Rate;
use meshward_gateway::rest::access::{self, Access};
use meshward_gateway::rest::{self, Api, Http};
use meshward_gateway::service::{self, Gateway};
use meshward_gateway::shell::{Application, Clock, NodeHandle, Shell, ShellConfig, Traffic};
use meshward_gateway::store::{Retention, Store};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The node below the gateway.
const NODE: u32 = 21;

#[derive(Debug)]
struct Nothing;

impl Application for Nothing {
    type Machine = Node;

    fn on_event(&mut self, _now: meshward_core::time::Instant, _node: &mut Node, _event: &Event) {}
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A problem document of this status; its `errors`.
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["instance"].as_str().unwrap().starts_with('/'), "{problem}");
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {problem}");
        }
        problem["errors"].clone()
    }
}

/// A gateway that serves, and the node below it.
struct Service {
    http: reqwest::Client,
    url: String,
    /// What lets in: the value of `Authorization`.
    bearer: String,
    /// Where nodes are accepted.
    mesh: SocketAddr,
    gateway: NodeHandle<Gateway>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Service {
    /// Starts both, and waits until the gateway has seen the node. It keeps nothing.
    async fn start() -> Self {
        Self::start_on(None).await
    }

    /// The same, with what a database has kept.
    async fn start_on(store: Option<Store>) -> Self {
        let settings = Settings { history: store.is_some(), ..Settings::default() };
        Self::start_with(settings, store).await
    }

    /// The same, with these settings.
    async fn start_with(settings: Settings, store: Option<Store>) -> Self {
        let keeper = match &store {
            Some(store) => Some(Keeper::open(store.clone(), Retention::default()).await.unwrap()),
            None => None,
        };
        let remembered = match &keeper {
            Some(keeper) => keeper.remembered().await.unwrap(),
            None => service::Remembered::default(),
        };
        let (stop, stopped) = watch::channel(false);
        let until = |mut stopped: watch::Receiver<bool>| async move {
            drop(stopped.wait_for(|stop| *stop).await);
        };
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let traffic = Arc::new(Traffic::default());
        let config = ShellConfig { listen: Some(loopback), ..ShellConfig::default() };
        let operator = SigningKey::from_seed(KeyKind::Operator, [7; 32]).unwrap();
        let mesh = MeshConfig::gateway(NodeId(1), 1);
        let joined =
            service::join(mesh, config, traffic, operator, settings, service::Allowed::default(), remembered)
                .await;
        let (shell, handle) = joined.unwrap();
        let entry = shell.local_addr().unwrap();
        let bound = rest::bind(&Http::at(loopback)).await.unwrap();
        let url = bound.url().unwrap();
        let plenty = Rate { per_second: 1e6, burst: 1e6 };
        let access = access::Settings { requests: plenty, ..access::Settings::default() };
        let access = Access::open(None, access).await.unwrap();
        let token = access.local().reveal_token();
        let mut tasks = JoinSet::new();
        let until_stopped = until(stopped.clone());
        tasks.spawn(async move {
            shell.run(until_stopped).await;
        });
        if let Some(keeper) = keeper {
            let (handle, until_stopped) = (handle.clone(), until(stopped.clone()));
            tasks.spawn(async move { keeper.run(handle, until_stopped).await.unwrap() });
        }
        let http =
            rest::serve(bound, Api::new(handle.clone(), access).with_store(store), until(stopped.clone()));
        tasks.spawn(async move { http.await.unwrap() });

        let dial = vec![entry.to_string().parse().unwrap()];
        let node = Node::new(NodeConfig::new(MeshConfig::node(NodeId(NODE), 2)));
        let config = ShellConfig { dial, ..ShellConfig::default() };
        let traffic = Arc::new(Traffic::default());
        let (shell, below) = Shell::bind(config, node, Nothing, None, Clock::start(), traffic).await.unwrap();
        let until_stopped = until(stopped);
        tasks.spawn(async move {
            shell.run(until_stopped).await;
            drop(below);
        });
        // The client wants one even where it speaks no TLS; another test may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {token}");
        headers.insert("authorization", bearer.parse().unwrap());
        let http = reqwest::Client::builder().default_headers(headers).build().unwrap();
        let service = Self { http, url, bearer, mesh: entry, gateway: handle, stop, tasks };
        service.until("/api/v1/nodes", |nodes| nodes["items"][0]["id"] == NODE).await;
        service
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).timeout(PATIENCE)
    }

    async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    async fn ok(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK.as_u16(), "{path}: {}", answer.text);
        answer.json()
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// Asks until the answer is as it should be.
    async fn until(&self, path: &str, found: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ok(path).await;
            if found(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} stays {answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops everything; fails when that takes too long.
    async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the service stops");
    }
}
