//! Commands on their way to nodes (type 400), and what became of them.
//!
//! [`Commands`] gives each a number, `cid`, and the frame to be sent, to that node alone; whatever package answers
//! with that number from that node ends it, and so does time. One command at a time per node: sketches keep one
//! `respTo`, and a node that restarts has forgotten the rest. Refuses a second one, and more than
//! [`PENDING_MAX`](Commands::PENDING_MAX) in all. Driven by whoever owns the gateway's node; who may command
//! whom has been settled before.

use std::collections::{BTreeMap, VecDeque};

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::status::{Answer, Code, Command, PARAMS_BYTES_MAX, Package, Sent};
use meshward_core::wire::{NodeId, To};
use thiserror::Error;

/// How long a node has to answer where nobody says: the guides of the library wait 5 s, and two hops through busy
/// relays may take as long again.
pub const ANSWER_DEFAULT: Duration = Duration::from_secs(10);

/// Why a command is not sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CommandError {
    /// The node has not answered the one before.
    #[error("node {node} has not answered command {cid} yet")]
    Busy {
        /// The node.
        node: NodeId,
        /// The one before.
        cid: u32,
    },
    /// Too many are under way.
    #[error("{} commands are under way, and no more may be", Commands::PENDING_MAX)]
    Full,
    /// Nobody has that id, or everybody.
    #[error("0 is no node: commands go to one node each")]
    Nobody,
    /// The code does not fit its field of 8 bits.
    #[error("code {0} cannot be sent: the field `cmd` has 8 bits")]
    Code(u16),
    /// C++ nodes would not read it all.
    #[error("the parameters have {0} bytes; at most {PARAMS_BYTES_MAX} are sent")]
    Params(usize),
}

/// A command that is to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its number.
    pub cid: u32,
    /// The frame, without its NUL.
    pub frame: Vec<u8>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The node says this to it. Whether it did it is in its words.
    Answered(Answer),
    /// The node restarted, which is what it was told.
    Restarted,
    /// Nothing came in time.
    TimedOut,
    /// Nobody wants to know any more.
    Cancelled,
}

/// A command that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The node.
    pub node: NodeId,
    /// The command's number.
    pub cid: u32,
    /// What was to be done.
    pub code: Code,
    /// How long it took.
    pub took: Duration,
    /// What became of it.
    pub end: End,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    cid: u32,
    code: Code,
    sent: Instant,
    due: Instant,
}

/// What has come that nobody waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandCounts {
    /// Commands sent.
    pub sent: u64,
    /// Answers to none that is under way: late, repeated, or invented.
    pub stray: u64,
    /// Ends that nobody fetched.
    pub dropped: u64,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Commands {
    own: NodeId,
    next: u32,
    pending: BTreeMap<NodeId, Pending>,
    ended: VecDeque<Ended>,
    counts: CommandCounts,
}

impl Commands {
    /// Most commands under way.
    pub const PENDING_MAX: usize = 1_000;
    /// Most ends that wait to be fetched; the oldest go first.
    pub const ENDED_MAX: usize = 2_000;

    /// None yet. Numbers begin at `first`, which should be another one after each start of the gateway, so that
    /// no answer to a former command is taken for one to a new.
    pub fn new(own: NodeId, first: u32) -> Self {
        let counts = CommandCounts::default();
        Self { own, next: first, pending: BTreeMap::new(), ended: VecDeque::new(), counts }
    }

    /// Tells `node` to do something, `params` being the text of a JSON object; what is to be sent to it.
    ///
    /// # Errors
    /// [`CommandError`] says why it is not sent.
    pub fn send(
        &mut self,
        now: Instant,
        node: NodeId,
        code: Code,
        params: &str,
        patience: Duration,
    ) -> Result<Outgoing, CommandError> {
        if node == NodeId::NONE {
            return Err(CommandError::Nobody);
        }
        if let Some(pending) = self.pending.get(&node) {
            return Err(CommandError::Busy { node, cid: pending.cid });
        }
        if self.pending.len() >= Self::PENDING_MAX {
            return Err(CommandError::Full);
        }
        if params.len() > PARAMS_BYTES_MAX {
            return Err(CommandError::Params(params.len()));
        }
        // A node takes 0 for no command at all.
        let cid = self.next.max(1);
        let command = Command::new(code, node.0, params, cid).ok_or(CommandError::Code(code.number()))?;
        self.next = cid.wrapping_add(1);
        self.pending.insert(node, Pending { cid, code, sent: now, due: now + patience });
        self.counts.sent = self.counts.sent.saturating_add(1);
        Ok(Outgoing { cid, frame: Package::from(command).encode(self.own, To::One(node)) })
    }

    /// A package came; whether it ended a command.
    pub fn handle_sent(&mut self, now: Instant, sent: &Sent) -> bool {
        let Some(answer) = Answer::of(sent) else { return false };
        match self.pending.get(&sent.from) {
            Some(pending) if pending.cid == answer.id => {
                self.end(now, sent.from, End::Answered(answer));
                true
            }
            _ => {
                self.counts.stray = self.counts.stray.saturating_add(1);
                false
            }
        }
    }

    /// The node has restarted: that is the end of a command to do so, and of none other, which it may still have
    /// obeyed before.
    pub fn handle_restart(&mut self, now: Instant, node: NodeId) {
        if self.pending.get(&node).is_some_and(|pending| pending.code == Code::Reset) {
            self.end(now, node, End::Restarted);
        }
    }

    /// Nobody waits for the node's answer any more; whether anybody did.
    pub fn cancel(&mut self, now: Instant, node: NodeId) -> bool {
        self.end(now, node, End::Cancelled)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |(node, pending): (&NodeId, &Pending)| (pending.due <= now).then_some(*node);
        for node in self.pending.iter().filter_map(due).collect::<Vec<_>>() {
            self.end(now, node, End::TimedOut);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }

    /// The next command that is over.
    pub fn poll_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// The commands under way: node, number, what, and since when.
    pub fn pending(&self) -> impl Iterator<Item = (NodeId, u32, Code, Instant)> {
        self.pending.iter().map(|(node, pending)| (*node, pending.cid, pending.code, pending.sent))
    }

    /// What has come that nobody waited for.
    pub const fn counts(&self) -> CommandCounts {
        self.counts
    }

    fn end(&mut self, now: Instant, node: NodeId, end: End) -> bool {
        let Some(Pending { cid, code, sent, .. }) = self.pending.remove(&node) else { return false };
        if self.ended.len() >= Self::ENDED_MAX {
            self.ended.pop_front();
            self.counts.dropped = self.counts.dropped.saturating_add(1);
        }
        self.ended.push_back(Ended { node, cid, code, took: now.since(sent), end });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::wire::status::Status;

    const OWN: NodeId = NodeId(1);

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn answer(from: u32, cid: u32) -> Sent {
        let status = Status { status: 0.into(), ..Status::default() }.answering(cid, "done");
        Sent::decode(&Package::from(status).encode(NodeId(from), To::All)).unwrap()
    }

    fn ends(commands: &mut Commands) -> Vec<(u32, u32, End)> {
        std::iter::from_fn(|| commands.poll_ended())
            .map(|ended| (ended.node.0, ended.cid, ended.end))
            .collect()
    }

    #[test]
    fn a_command_is_the_recorded_one_and_ends_with_its_answer() {
        let mut commands = Commands::new(NodeId(2_748_091_201), 4242);
        let node = NodeId(1_093_410_022);
        let params = "{\"led\":true,\"name\":\"küche\"}";
        let outgoing = commands.send(at(0), node, Code::Wake, params, ANSWER_DEFAULT).unwrap();
        let recorded = r#"{"from":2748091201,"dest":1093410022,"routing":1,"type":400,"cmd":3,"target":1093410022,"params":"{\"led\":true,\"name\":\"küche\"}","cid":4242,"message_type":400}"#;
        assert_eq!(String::from_utf8(outgoing.frame).unwrap(), recorded);
        assert!(commands.handle_sent(at(2), &answer(node.0, 4242)));
        let ended = commands.poll_ended().unwrap();
        assert_eq!((ended.node, ended.code, ended.took), (node, Code::Wake, Duration::from_secs(2)));
        let End::Answered(answer) = ended.end else { panic!("{ended:?}") };
        assert_eq!((answer.id, &*answer.text.to_str()), (4242, "done"));
        assert_eq!((commands.poll_ended(), commands.poll_timeout()), (None, None));
    }

    #[test]
    fn only_its_own_answer_ends_it() {
        for (from, cid, stray) in [(3, 7, 1), (2, 8, 1), (2, 0, 0), (2, 6, 1)] {
            let mut commands = Commands::new(OWN, 7);
            commands.send(at(0), NodeId(2), Code::GetStatus, "{}", ANSWER_DEFAULT).unwrap();
            assert!(!commands.handle_sent(at(1), &answer(from, cid)), "{cid} of {from}");
            assert_eq!(commands.counts().stray, stray);
            commands.handle_timeout(at(10));
            assert_eq!(ends(&mut commands), [(2, 7, End::TimedOut)]);
            assert!(!commands.handle_sent(at(11), &answer(2, 7)), "too late");
        }
    }

    #[test]
    fn a_restart_is_what_a_reset_waits_for() {
        for (code, want) in [(Code::Reset, End::Restarted), (Code::GetStatus, End::TimedOut)] {
            let mut commands = Commands::new(OWN, 1);
            commands.send(at(0), NodeId(2), code, "", ANSWER_DEFAULT).unwrap();
            commands.handle_restart(at(1), NodeId(3));
            commands.handle_restart(at(2), NodeId(2));
            commands.handle_timeout(at(20));
            assert_eq!(ends(&mut commands), [(2, 1, want)]);
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        let mut commands = Commands::new(OWN, u32::MAX);
        let mut send =
            |node, code, params: &str| commands.send(at(0), NodeId(node), code, params, ANSWER_DEFAULT);
        assert_eq!(send(2, Code::Reset, "").unwrap().cid, u32::MAX);
        let busy = send(2, Code::Reset, "").unwrap_err();
        assert_eq!(busy.to_string(), "node 2 has not answered command 4294967295 yet");
        assert_eq!(send(0, Code::Reset, ""), Err(CommandError::Nobody));
        assert_eq!(send(3, Code::GetTopology, ""), Err(CommandError::Code(300)));
        assert_eq!(send(3, Code::SetConfig, &"x".repeat(1_025)), Err(CommandError::Params(1_025)));
        assert_eq!(send(3, Code::Reset, "").unwrap().cid, 1, "0 is no command");
        assert!(commands.cancel(at(1), NodeId(2)) && !commands.cancel(at(1), NodeId(2)));
        assert_eq!(ends(&mut commands), [(2, u32::MAX, End::Cancelled)]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut commands = Commands::new(OWN, 1);
        let all = 2..2 + Commands::PENDING_MAX as u32;
        for round in 0..3 {
            for node in all.clone() {
                commands.send(at(round), NodeId(node), Code::GetStatus, "", Duration::ZERO).unwrap();
            }
            let full = commands.send(at(round), NodeId(1_000_000), Code::GetStatus, "", Duration::ZERO);
            assert_eq!(full, Err(CommandError::Full));
            commands.handle_timeout(at(round));
        }
        assert_eq!(commands.counts().dropped, Commands::PENDING_MAX as u64);
        assert_eq!(ends(&mut commands).len(), Commands::ENDED_MAX);
    }
}
