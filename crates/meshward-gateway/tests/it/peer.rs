//! A neighbour made of one blocking socket: it syncs with whatever tree it is told to claim, answers node
//! syncs, and hands over every other frame. Tests and benchmarks use it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use meshward_core::wire::{NodeId, NodeSync, Splitter, Tree, kind, peek};

/// A neighbour that does not answer for so long has hung.
const PATIENCE: Duration = Duration::from_secs(10);
/// When nothing has come for so long, a mesh of two has settled.
const QUIET: Duration = Duration::from_millis(100);

/// See the module's page.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    tree: Tree,
    splitter: Splitter,
    buffer: Vec<u8>,
}

impl Peer {
    /// Dials a node and syncs with it as the top of `tree`.
    pub(crate) fn join(address: SocketAddr, tree: Tree) -> Self {
        let mut peer = Self::over(TcpStream::connect(address).unwrap(), tree);
        peer.sync(false);
        let mut synced = false;
        while !synced {
            peer.read(|frame| synced |= kind_of(frame) == kind::NODE_SYNC_REPLY);
        }
        peer
    }

    /// Says that this is its part of the mesh from now on.
    #[allow(dead_code, reason = "the benchmark, which shares this file, does not")]
    pub(crate) fn claim(&mut self, tree: Tree) {
        self.tree = tree;
        self.sync(false);
    }

    /// One that says nothing by itself.
    pub(crate) fn over(stream: TcpStream, tree: Tree) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, tree, splitter: Splitter::new(1 << 20), buffer: vec![0; 256 * 1024] }
    }

    fn sync(&mut self, reply: bool) {
        let from = self.tree.top().id;
        let mut frame = NodeSync { reply, dest: NodeId::NONE, from, tree: self.tree.clone() }.encode();
        frame.push(0);
        self.write(&frame);
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads once, answers node syncs, and hands over the frames.
    ///
    /// # Panics
    /// When nothing comes, or the node closes the connection.
    pub(crate) fn read(&mut self, take: impl FnMut(&[u8])) {
        assert!(self.try_read(take), "nothing came");
    }

    fn try_read(&mut self, mut take: impl FnMut(&[u8])) -> bool {
        let count = match self.stream.read(&mut self.buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            other => other.unwrap(),
        };
        assert_ne!(count, 0, "the node has closed the connection");
        let mut input = &self.buffer[..count];
        let mut asked = false;
        while let Some(frame) = self.splitter.split(&mut input).unwrap() {
            asked |= kind_of(frame) == kind::NODE_SYNC_REQUEST;
            take(frame);
        }
        if asked {
            self.sync(true);
        }
        true
    }

    /// Answers what the node asks until it asks no more.
    pub(crate) fn settle(&mut self) {
        self.stream.set_read_timeout(Some(QUIET)).unwrap();
        while self.try_read(|_| {}) {}
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

fn kind_of(frame: &[u8]) -> i32 {
    peek(frame).map_or(0, |envelope| envelope.kind)
}
