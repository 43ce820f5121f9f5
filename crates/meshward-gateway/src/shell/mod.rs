//! The Tokio shell of a node: sockets, timers and a flash file around a [`Machine`], as a rule a
//! [`Node`](meshward_core::node::Node).
//!
//! One task owns the node and all its sockets. It sleeps until a socket is ready, a timer is due, or somebody
//! calls through a [`NodeHandle`]; then it reads at most 64 KB from every readable link, lets the node work
//! on slices of it, and writes what the node has queued, many messages in one write. It decides nothing: what it does with a
//! link is what [`Machine::outgoing`] says.

mod dial;
mod machine;
mod shape;
mod socket;
mod tap;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use meshward_core::flash::Completion;
use meshward_core::mesh::{LinkId, LinkRole, Outgoing};
use meshward_core::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::flash_file::FlashFile;
use crate::peer::Peer;
use dial::Dialler;
pub use machine::{Application, Machine};
pub use shape::Shape;
use socket::{Read, Socket};
pub use tap::{Direction, Missed, Tap, TapEvent, TapReader, Tapped, tap};

/// Calls that may wait for the node's task.
const CALLS_MAX: usize = 64;
/// Most bytes that a node is given before its answers are written and its flash commands executed: of the parts
/// in them, a third is JSON and base64, and the rest fits into the 8 KB that a receiver holds for the flash.
const SLICE: usize = 8 * 1024;

/// Monotonic time since the shell's start, in the core's terms.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: tokio::time::Instant,
    /// What it showed then.
    from: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self::starting_at(Instant::ORIGIN)
    }

    /// A clock that starts now, and shows this: what was before has a place on it too.
    pub fn starting_at(from: Instant) -> Self {
        Self { started: tokio::time::Instant::now(), from }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.from + Duration::from_micros(self.started.elapsed().as_micros() as u64)
    }

    fn wall(&self, at: Instant) -> tokio::time::Instant {
        self.started + std::time::Duration::from_micros(at.since(self.from).as_micros())
    }
}

/// Bytes that shells have written to and read from sockets.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Written.
    pub sent: AtomicU64,
    /// Read.
    pub received: AtomicU64,
}

/// Which links a node has, and who listens in.
#[derive(Clone, Debug, Default)]
pub struct ShellConfig {
    /// Where to accept neighbours, if anywhere. Port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Whom to dial, again and again.
    pub dial: Vec<Peer>,
    /// Slows every link down, for demonstrations.
    pub shape: Option<Shape>,
    /// Seed of the redial jitter.
    pub seed: u64,
    /// Gets a copy of what passes over the links.
    pub tap: Option<Tap>,
}

/// The node's task has ended.
#[derive(Debug, Error)]
#[error("the node has stopped")]
pub struct Stopped;

type Call<A> = Box<dyn FnOnce(Instant, &mut <A as Application>::Machine, &mut A) + Send>;

/// Reaches into a running node from other tasks.
#[derive(Debug)]
pub struct NodeHandle<A: Application> {
    calls: mpsc::Sender<Call<A>>,
}

impl<A: Application> Clone for NodeHandle<A> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone() }
    }
}

impl<A: Application> NodeHandle<A> {
    /// Runs `act` in the node's task and returns what it returns.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(Instant, &mut A::Machine, &mut A) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, answered) = oneshot::channel();
        let call: Call<A> = Box::new(move |now, node, app| {
            // Nobody waits any more: then nobody needs the answer.
            let _unwanted = answer.send(act(now, node, app));
        });
        self.calls.send(call).await.map_err(|_closed| Stopped)?;
        answered.await.map_err(|_dropped| Stopped)
    }
}

/// Why a shell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The node wants to be reset: an update is installed.
    Restart,
    /// The shutdown future was ready.
    Shutdown,
}

/// See the module's page.
#[derive(Debug)]
pub struct Shell<A: Application> {
    node: A::Machine,
    app: A,
    flash: Option<FlashFile>,
    clock: Clock,
    traffic: Arc<Traffic>,
    listener: Option<TcpListener>,
    dialler: Dialler,
    sockets: BTreeMap<LinkId, Socket>,
    shape: Option<Shape>,
    tap: Option<Tap>,
    calls: mpsc::Receiver<Call<A>>,
    restart: bool,
    /// When a shaped link has something to do again.
    shaped_wake: Option<Instant>,
}

enum Wake<A: Application> {
    Shutdown,
    Call(Call<A>),
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Dialled(usize, TcpStream),
    Ready,
}

impl<A: Application> Shell<A> {
    /// Takes the listening port and prepares the dials.
    ///
    /// # Errors
    /// When the listening address cannot be had.
    pub async fn bind(
        config: ShellConfig,
        node: A::Machine,
        app: A,
        flash: Option<FlashFile>,
        clock: Clock,
        traffic: Arc<Traffic>,
    ) -> io::Result<(Self, NodeHandle<A>)> {
        let listener = match config.listen {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        };
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let shell = Self {
            node,
            app,
            flash,
            clock,
            traffic,
            listener,
            dialler: Dialler::new(config.dial, config.seed),
            sockets: BTreeMap::new(),
            shape: config.shape,
            tap: config.tap,
            calls,
            restart: false,
            shaped_wake: None,
        };
        Ok((shell, NodeHandle { calls: sender }))
    }

    /// Where the shell accepts neighbours.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Runs the node until it wants a restart or `shutdown` is ready; then all links are closed.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Exit {
        let exit = self.serve(shutdown).await;
        let now = self.clock.now();
        for link in self.sockets.keys() {
            self.tapped(now, Tapped::LinkDown { link: *link, lost: false });
        }
        exit
    }

    async fn serve(&mut self, shutdown: impl Future<Output = ()>) -> Exit {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            self.pump();
            if self.restart {
                return Exit::Restart;
            }
            match self.wake(shutdown.as_mut()).await {
                Wake::Shutdown => return Exit::Shutdown,
                Wake::Call(call) => {
                    call(self.clock.now(), &mut self.node, &mut self.app);
                    self.drain();
                }
                Wake::Ready => {}
                Wake::Accepted(Ok((stream, _))) => self.link_up(stream, LinkRole::Listener, None),
                Wake::Accepted(Err(error)) => tracing::warn!(%error, "cannot accept a neighbour"),
                Wake::Dialled(peer, stream) => self.link_up(stream, LinkRole::Dialler, Some(peer)),
            }
        }
    }

    /// Sleeps until there is something to do.
    async fn wake(&mut self, shutdown: impl Future<Output = ()>) -> Wake<A> {
        let timers = [self.node.poll_timeout(), self.app.poll_timeout(), self.shaped_wake];
        let due = timers.into_iter().flatten().min();
        let sleep = due.map(|due| self.clock.wall(due));
        let Self { calls, listener, dialler, sockets, .. } = self;
        tokio::select! {
            biased;
            () = shutdown => Wake::Shutdown,
            call = next_call(calls) => Wake::Call(call),
            accepted = accept(listener.as_ref()) => Wake::Accepted(accepted),
            (peer, stream) = dialler.next() => Wake::Dialled(peer, stream),
            () = socket::any_ready(sockets) => Wake::Ready,
            () = sleep_until(sleep) => Wake::Ready,
        }
    }

    fn link_up(&mut self, stream: TcpStream, role: LinkRole, peer: Option<usize>) {
        let now = self.clock.now();
        let link = self.node.handle_link_up(now, role);
        self.drain();
        match link {
            Some(link) => {
                let socket = Socket::new(stream, peer, self.shape, now);
                self.tapped(now, Tapped::LinkUp { link, role, peer: socket.peer_address() });
                self.sockets.insert(link, socket);
            }
            None => {
                tracing::warn!("a neighbour was turned away: this node has all the links it may have");
                self.redial(peer, Duration::ZERO);
            }
        }
    }

    /// `lost`: the other end closed, or the connection broke.
    fn link_down(&mut self, now: Instant, link: LinkId, lost: bool) {
        if let Some(socket) = self.sockets.remove(&link) {
            self.tapped(now, Tapped::LinkDown { link, lost });
            self.redial(socket.peer, now.since(socket.since));
        }
        self.node.handle_link_down(now, link);
        self.drain();
    }

    fn redial(&mut self, peer: Option<usize>, lived: Duration) {
        if let Some(peer) = peer {
            self.dialler.lost(peer, lived);
        }
    }

    fn tapped(&self, at: Instant, what: Tapped) {
        if let Some(tap) = &self.tap {
            tap.send(at, what);
        }
    }

    /// One round: read what is there, let the node work, write what it has.
    fn pump(&mut self) {
        socket::with_buffer(|buffer| self.read_links(buffer));
        let now = self.clock.now();
        if self.node.poll_timeout().is_some_and(|due| due <= now) {
            self.tapped(now, Tapped::Timers);
            self.node.handle_timeout(now);
            self.drain();
        }
        if self.app.poll_timeout().is_some_and(|due| due <= now) {
            self.app.handle_timeout(now, &mut self.node);
            self.drain();
        }
        self.run_flash();
        self.write_links();
    }

    fn read_links(&mut self, buffer: &mut [u8]) {
        let mut last = None;
        while let Some(link) = self.next_link(last) {
            last = Some(link);
            match self.sockets.get(&link).map(|socket| socket.read(buffer)) {
                Some(Read::Data(count)) => {
                    for slice in buffer.get(..count).unwrap_or_default().chunks(SLICE) {
                        self.take(link, slice);
                    }
                }
                Some(Read::Closed) => self.link_down(self.clock.now(), link, true),
                Some(Read::Nothing) | None => {}
            }
        }
    }

    /// Hands bytes to the node, and does at once what it wants: its queues and its window for the flash are
    /// made for a slice, not for all that a socket may hold.
    fn take(&mut self, link: LinkId, bytes: &[u8]) {
        let now = self.clock.now();
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        let offset = socket.hand_over(bytes.len());
        if let Some(tap) = &self.tap {
            tap.bytes(now, link, Direction::In, offset, bytes);
        }
        self.traffic.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.node.handle_data(now, link, bytes);
        self.drain();
        self.run_flash();
        self.write_links();
    }

    fn next_link(&self, after: Option<LinkId>) -> Option<LinkId> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.sockets.range((start, Bound::Unbounded)).next().map(|(link, _)| *link)
    }

    fn run_flash(&mut self) {
        let mut told = false;
        while let Some(op) = self.node.poll_flash() {
            let result = self.flash.as_ref().map(|flash| flash.execute(&op));
            let now = self.clock.now();
            if !core::mem::replace(&mut told, true) {
                self.tapped(now, Tapped::Flash);
            }
            match &result {
                Some(Ok(bytes)) if bytes.is_empty() => self.node.handle_flash(now, Completion::Done),
                Some(Ok(bytes)) => self.node.handle_flash(now, Completion::Data(bytes)),
                Some(Err(error)) => {
                    tracing::warn!(%error, "a flash command failed");
                    self.node.handle_flash(now, Completion::Failed);
                }
                None => self.node.handle_flash(now, Completion::Failed),
            }
            self.drain();
        }
    }

    fn write_links(&mut self) {
        self.shaped_wake = None;
        let now = self.clock.now();
        let mut last = None;
        while let Some(link) = self.next_link(last) {
            last = Some(link);
            if let Outgoing::Close(reason) = self.node.outgoing(link) {
                tracing::debug!(%link, %reason, "closing a link");
                self.link_down(now, link, false);
                continue;
            }
            let Some(socket) = self.sockets.get_mut(&link) else { continue };
            match socket.write(now, &mut self.node, link, self.tap.as_ref()) {
                Ok(written) => {
                    self.traffic.sent.fetch_add(written.bytes, Ordering::Relaxed);
                    self.shaped_wake = [self.shaped_wake, written.wake].into_iter().flatten().min();
                }
                Err(_closed) => self.link_down(now, link, true),
            }
        }
    }

    /// Tells the application what happened; the node must not be given another input before.
    fn drain(&mut self) {
        while let Some(event) = self.node.poll_event() {
            if A::Machine::is_restart(&event) {
                self.restart = true;
            }
            self.app.on_event(self.clock.now(), &mut self.node, &event);
        }
    }
}

/// When all handles are gone there are no calls any more.
async fn next_call<A: Application>(calls: &mut mpsc::Receiver<Call<A>>) -> Call<A> {
    match calls.recv().await {
        Some(call) => call,
        None => std::future::pending().await,
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
