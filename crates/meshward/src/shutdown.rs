//! When the operator wants the program to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ready at Ctrl-C or SIGTERM.
pub(crate) async fn requested() {
    listen().await;
}

/// Ready at Ctrl-C or SIGTERM, also at one that comes before this is waited for: from this call on they do not kill the
/// program.
pub(crate) fn listen() -> impl Future<Output = ()> {
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        tokio::select! {
            () = comes(interrupt) => {}
            () = comes(terminate) => {}
        }
    }
}

async fn comes(signal: std::io::Result<Signal>) {
    match signal {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_unavailable) => std::future::pending().await,
    }
}
