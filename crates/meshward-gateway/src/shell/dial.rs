//! Keeps dialling the configured peers: at once, then with growing pauses and jitter.

use meshward_core::rng::Rng;
use meshward_core::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::peer::Peer;

/// Pause before the first redial.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between two dials.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A dial that takes longer has failed.
const DIAL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// A link that lived this long was a good one: the next pause is short again.
const GOOD_LINK: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Target {
    peer: Peer,
    pause: Duration,
    /// Whether the last dial failed: only the first failure in a row is worth a warning.
    failing: bool,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Dialler {
    targets: Vec<Target>,
    dials: JoinSet<(usize, std::io::Result<TcpStream>)>,
    rng: Rng,
    started: bool,
}

impl Dialler {
    pub(super) fn new(peers: Vec<Peer>, seed: u64) -> Self {
        let targets =
            peers.into_iter().map(|peer| Target { peer, pause: PAUSE_MIN, failing: false }).collect();
        Self { targets, dials: JoinSet::new(), rng: Rng::new(seed), started: false }
    }

    /// The next connection that stands, with the number of its peer. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> (usize, TcpStream) {
        if !self.started {
            self.started = true;
            for index in 0..self.targets.len() {
                self.dial(index, Duration::ZERO);
            }
        }
        loop {
            match self.dials.join_next().await {
                None => std::future::pending().await,
                Some(Ok((index, Ok(stream)))) => {
                    if let Some(target) = self.targets.get_mut(index) {
                        target.failing = false;
                    }
                    return (index, stream);
                }
                Some(Ok((index, Err(error)))) => {
                    if let Some(target) = self.targets.get_mut(index) {
                        let peer = target.peer.address();
                        if core::mem::replace(&mut target.failing, true) {
                            tracing::debug!(peer, %error, "a dial failed");
                        } else {
                            tracing::warn!(peer, %error, "cannot reach the peer; trying again and again");
                        }
                    }
                    self.again(index);
                }
                Some(Err(error)) => tracing::error!(%error, "a dial ended abnormally"),
            }
        }
    }

    /// The link to a peer has ended after `lived`.
    pub(super) fn lost(&mut self, index: usize, lived: Duration) {
        if let Some(target) = self.targets.get_mut(index).filter(|_| lived >= GOOD_LINK) {
            target.pause = PAUSE_MIN;
        }
        self.again(index);
    }

    fn again(&mut self, index: usize) {
        let Some(target) = self.targets.get_mut(index) else { return };
        // From half to one and a half times the pause, so that a whole branch does not dial in step.
        let pause = target.pause.as_micros();
        target.pause = target.pause.saturating_mul(2).min(PAUSE_MAX);
        let jittered = pause / 2 + self.rng.below(pause);
        self.dial(index, Duration::from_micros(jittered));
    }

    fn dial(&mut self, index: usize, pause: Duration) {
        let Some(target) = self.targets.get(index) else { return };
        let address = target.peer.address().to_owned();
        self.dials.spawn(async move {
            tokio::time::sleep(std::time::Duration::from_micros(pause.as_micros())).await;
            let connect = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(&address));
            let stream = connect.await.map_err(|_late| std::io::ErrorKind::TimedOut.into());
            (index, stream.and_then(|stream| stream))
        });
    }
}
