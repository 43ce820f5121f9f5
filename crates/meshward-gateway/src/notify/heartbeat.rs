//! A dead man's switch: as long as the gateway is well it asks a URL once a period, and whoever is behind that URL
//! raises the alarm when nobody asks any more.
//!
//! It says so only when the node's task answers and the database can be read: a gateway that hangs is silent. A beat
//! that could not be sent is not sent later, for then it would not be true.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

use super::send;
use super::timing::Beats;
use crate::service::Gateway;
use crate::shell::NodeHandle;
use crate::store::Store;

/// How long the gateway's parts may take to answer and be well.
const WELL_MAX: Duration = Duration::from_secs(5);

/// Beats until `shutdown` is ready. The URL may be a secret, and is never in the log.
pub async fn run(
    url: String,
    period_seconds: u32,
    gateway: NodeHandle<Gateway>,
    store: Option<Store>,
    shutdown: impl Future<Output = ()>,
) {
    let Ok(http) = send::client() else {
        tracing::error!("there is no HTTP client: no heartbeat is sent");
        return;
    };
    let mut shutdown = std::pin::pin!(shutdown);
    let mut beats = Beats::new(Timestamp::now(), period_seconds);
    let mut well = true;
    loop {
        let now = Timestamp::now();
        if beats.beat(now) {
            let said = beat(&http, &url, &gateway, store.as_ref()).await;
            match &said {
                Ok(()) if !well => tracing::info!("the heartbeat is heard again"),
                Err(why) if well => tracing::warn!(why, "the heartbeat was not heard"),
                _ => {}
            }
            well = said.is_ok();
        }
        let wait = Duration::try_from(beats.next().duration_since(Timestamp::now())).unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = &mut shutdown => return,
        }
    }
}

async fn beat(
    http: &reqwest::Client,
    url: &str,
    gateway: &NodeHandle<Gateway>,
    store: Option<&Store>,
) -> Result<(), String> {
    let answers = async {
        gateway.with(|_, _, _| ()).await.map_err(|_stopped| "the node has ended".to_owned())?;
        match store {
            Some(store) => store.meta("heartbeat").await.map(drop).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    };
    let answered = tokio::time::timeout(WELL_MAX, answers).await;
    answered.map_err(|_elapsed| "the gateway is not well: it does not answer".to_owned())??;
    let response = http.get(url).send().await.map_err(|error| error.without_url().to_string())?;
    if response.status().is_success() { Ok(()) } else { Err(format!("the answer is {}", response.status())) }
}
