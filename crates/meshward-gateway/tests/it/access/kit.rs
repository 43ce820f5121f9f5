//! A gateway without a mesh behind the real sockets, a clock that tests set, and a client that says what it got.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use jiff::Timestamp;
use meshward_core::mesh::MeshConfig;
use meshward_core::ota::trust::KeyKind;
use meshward_core::wire::NodeId;
use meshward_fleet::fleet;
use meshward_fleet::signing::SigningKey;
use meshward_gateway::rest::access::caller::Caller;
use meshward_gateway::rest::access::limit::Rate;
use meshward_gateway::rest::access::password::Cost;
use meshward_gateway::rest::access::principal::How;
use meshward_gateway::rest::access::{Access, Keeper, Principal, Role, Settings};
use meshward_gateway::rest::{self, Api, Dashboard, Http};
use meshward_gateway::service;
use meshward_gateway::shell::{ShellConfig, Traffic};
use reqwest::{Method, RequestBuilder, Response};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) const PASSWORD: &str = "correct horse battery";
/// No test waits longer for what should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The gateway of one test.
pub(crate) struct Kit {
    pub(crate) address: SocketAddr,
    pub(crate) url: String,
    pub(crate) access: Access,
    pub(crate) client: reqwest::Client,
    seconds: Arc<AtomicI64>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// How a test wants it.
pub(crate) struct Wanted {
    pub(crate) http: Http,
    pub(crate) keeper: Option<Arc<dyn Keeper>>,
    pub(crate) requests: Rate,
    pub(crate) strangers: Rate,
    pub(crate) visitors: bool,
    pub(crate) dashboard: Dashboard,
}

impl Default for Wanted {
    fn default() -> Self {
        let plenty = Rate { per_second: 1e6, burst: 1e6 };
        let http = Http::at(SocketAddr::from(([127, 0, 0, 1], 0)));
        let dashboard = Dashboard::of([]);
        Self { http, keeper: None, requests: plenty, strangers: plenty, visitors: false, dashboard }
    }
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::start_with(Wanted::default()).await
    }

    pub(crate) async fn start_with(wanted: Wanted) -> Self {
        provider();
        let seconds = Arc::new(AtomicI64::new(1_790_000_000));
        let clock = Arc::clone(&seconds);
        let settings = Settings {
            cost: Cost { memory_kib: 16, passes: 1 },
            requests: wanted.requests,
            strangers: wanted.strangers,
            visitors: wanted.visitors,
            clock: Arc::new(move || Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap()),
            ..Settings::default()
        };
        let access = Access::open(wanted.keeper, settings).await.unwrap();
        let operator = SigningKey::from_seed(KeyKind::Operator, [7; 32]).unwrap();
        let (mesh, traffic) = (MeshConfig::gateway(NodeId(1), 1), Arc::new(Traffic::default()));
        let joined = service::join(
            mesh,
            ShellConfig::default(),
            traffic,
            operator,
            fleet::Settings::default(),
            service::Allowed::default(),
            service::Remembered::default(),
        );
        let (shell, handle) = joined.await.unwrap();
        let bound = rest::bind(&wanted.http).await.unwrap();
        let (address, url) = (bound.local_addr().unwrap(), bound.url().unwrap());
        let (stop, stopped) = watch::channel(false);
        let until = |mut stopped: watch::Receiver<bool>| async move {
            drop(stopped.wait_for(|stop| *stop).await);
        };
        let mut tasks = JoinSet::new();
        let node = shell.run(until(stopped.clone()));
        tasks.spawn(async move {
            node.await;
        });
        let api = Api::new(handle, access.clone()).with_dashboard(wanted.dashboard);
        let http = rest::serve(bound, api, until(stopped));
        tasks.spawn(async move { http.await.unwrap() });
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { address, url, access, client, seconds, stop, tasks }
    }

    /// So many seconds pass.
    pub(crate) fn wait(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Asks for something as its bearer.
    pub(crate) async fn ask(&self, method: &str, path: &str, token: &str) -> Response {
        self.request(method, path).bearer_auth(token).send().await.unwrap()
    }

    /// Asks for something with a body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: serde_json::Value,
    ) -> Response {
        self.request(method, path).bearer_auth(token).json(&body).send().await.unwrap()
    }

    pub(crate) fn local(&self) -> String {
        self.access.local().reveal_token()
    }

    /// A token of this role, which ends in so many seconds.
    pub(crate) async fn token(&self, role: Role, ends_in: i64) -> String {
        let ends = Timestamp::from_second(self.access.now().as_second() + ends_in).unwrap();
        let new = ("test".to_owned(), None, role);
        let made = self.access.create_token(&caller(), &admin(), new, Some(ends)).await;
        made.unwrap().0.reveal_token()
    }

    /// Makes a user with [`PASSWORD`].
    pub(crate) async fn user(&self, name: &str, role: &str) {
        let body = serde_json::json!({"name": name, "role": role, "password": PASSWORD});
        let made = self.send("POST", "/api/v1/users", &self.local(), body).await;
        assert_eq!(made.status(), 201);
    }

    /// Tries to log in.
    pub(crate) async fn login(&self, name: &str, password: &str) -> Response {
        let body = serde_json::json!({"name": name, "password": password});
        self.request("POST", "/api/v1/login").json(&body).send().await.unwrap()
    }

    /// Ends it, within its time.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        let ends = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.unwrap()
            }
        };
        tokio::time::timeout(PATIENCE, ends).await.unwrap();
    }
}

/// Somebody who may do everything, on this machine.
pub(crate) fn admin() -> Principal {
    Principal { name: "local".to_owned(), user: None, role: Role::Admin, how: How::Local }
}

pub(crate) fn caller() -> Caller {
    Caller { address: [127, 0, 0, 1].into(), secure: false, proxied: false }
}

/// The cookie that an answer sets, as it is sent back.
pub(crate) fn cookie(response: &Response) -> String {
    let set = response.headers()["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// Chooses ring for the clients of the tests.
fn provider() {
    static ONCE: Once = Once::new();
    // Another test may have been first.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
