//! Gives a fresh node what a node in a capture got, at the same times, and compares what it says.
//!
//! Frames of one type and one maker on one connection must come in the same order and with the same bytes.
//! Any other order is not compared: it depends on when channel and flash were free, which a capture does not
//! tell.
//!
//! A capture of a real run says when the node was made, and from then on when its timers were fired and its
//! flash commands executed, which a busy machine does late; in others timers fire when they are due, and flash
//! takes no time. What an application wants of the node (a roll-out, say) is in neither.

use std::collections::BTreeMap;

use meshward_core::flash::{Completion, FlashOp};
use meshward_core::mesh::{LinkId, LinkRole, Outgoing};
use meshward_core::node::Node;
use meshward_core::time::Instant;
use meshward_core::wire::{NodeId, read};

use super::{Line, What};
use crate::flash::Chip;

/// A frame that the node said in the capture and not now, or the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The connection.
    pub conn: String,
    /// How many frames of its type and maker were the same before it.
    pub index: usize,
    /// What the capture has.
    pub recorded: Option<Vec<u8>>,
    /// What the node says now.
    pub replayed: Option<Vec<u8>>,
}

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Frames that the node was given.
    pub given: usize,
    /// Frames that it said as recorded.
    pub same: usize,
    /// The first difference of each type and maker on each connection.
    pub differences: Vec<Difference>,
}

/// Frames by connection, type and maker.
type Spoken = BTreeMap<(String, i32, NodeId), Vec<Vec<u8>>>;

/// Replays `lines` to `node`, which plays the one called `name`, whose clock starts at `born`, and whose flash
/// is `chip`.
pub fn replay(lines: &[Line], name: &str, mut node: Node, born: Instant, mut chip: Option<Chip>) -> Replayed {
    let mut links: BTreeMap<String, LinkId> = BTreeMap::new();
    let (mut recorded, mut replayed) = (Spoken::new(), Spoken::new());
    let mut given = 0;
    let told = lines.iter().any(|line| matches!(&line.what, What::Boot { node, .. } if node == name));
    for line in lines.iter().filter(|line| line.at >= born) {
        let local = Instant::ORIGIN + line.at.since(born);
        if !told {
            run_timers(&mut node, local, &links, &mut replayed);
        }
        match &line.what {
            What::Open { dialler, listener, conn } if dialler == name || listener == name => {
                let role = if dialler == name { LinkRole::Dialler } else { LinkRole::Listener };
                links.extend(node.handle_link_up(local, role).map(|link| (conn.clone(), link)));
            }
            What::Closed { by, conn, .. } if by == name => {
                if let Some(link) = links.remove(conn) {
                    node.handle_link_down(local, link);
                }
            }
            What::Message { to, conn, bytes, withheld: false, .. } if to == name => {
                if let Some(link) = links.get(conn) {
                    given += 1;
                    node.handle_data(local, *link, &[bytes, &[0][..]].concat());
                }
            }
            What::Message { from, conn, bytes, .. } if from == name => keep(&mut recorded, conn, bytes),
            What::Timers { node: whose } if whose == name => node.handle_timeout(local),
            What::Flash { node: whose } if whose == name => run_flash(&mut node, local, &mut chip),
            _ => {}
        }
        if !told {
            run_flash(&mut node, local, &mut chip);
        }
        drain(&mut node, &links, &mut replayed);
    }
    let (same, differences) = compare(&recorded, &replayed);
    Replayed { given, same, differences }
}

fn run_timers(node: &mut Node, until: Instant, links: &BTreeMap<String, LinkId>, spoken: &mut Spoken) {
    // What is due at the very time of an input may have come after it, so it waits.
    while let Some((due, _)) = node.poll_timeout().filter(|(due, _)| *due < until) {
        node.handle_timeout(due);
        drain(node, links, spoken);
    }
}

fn run_flash(node: &mut Node, local: Instant, chip: &mut Option<Chip>) {
    loop {
        while node.poll_event().is_some() {}
        let Some(op) = node.poll_flash() else { return };
        match (chip.as_mut().map(|chip| chip.execute(&op)), &op) {
            (Some(Ok(bytes)), FlashOp::Read { .. }) => node.handle_flash(local, Completion::Data(&bytes)),
            (Some(Ok(_)), _) => node.handle_flash(local, Completion::Done),
            _ => node.handle_flash(local, Completion::Failed),
        }
    }
}

fn drain(node: &mut Node, links: &BTreeMap<String, LinkId>, spoken: &mut Spoken) {
    while node.poll_event().is_some() {}
    for (conn, link) in links {
        while let Outgoing::Bytes(bytes) = node.outgoing(*link) {
            let bytes = bytes.to_vec();
            node.sent(*link, bytes.len());
            for frame in bytes.split(|byte| *byte == 0).filter(|frame| !frame.is_empty()) {
                keep(spoken, conn, frame);
            }
        }
    }
}

fn keep(spoken: &mut Spoken, conn: &str, frame: &[u8]) {
    let (kind, from) = read(frame).map_or((0, NodeId::NONE), |m| (m.envelope.kind, m.envelope.from));
    spoken.entry((conn.to_owned(), kind, from)).or_default().push(frame.to_vec());
}

/// A capture may end, or a link close, with frames still in the node's queue: more at the end is no
/// difference.
fn compare(recorded: &Spoken, replayed: &Spoken) -> (usize, Vec<Difference>) {
    let nothing = Vec::new();
    let (mut same, mut differences) = (0, Vec::new());
    for (key, want) in recorded {
        let got = replayed.get(key).unwrap_or(&nothing);
        let equal = want.iter().zip(got).take_while(|(want, got)| want == got).count();
        same += equal;
        if equal < want.len() {
            differences.push(Difference {
                conn: key.0.clone(),
                index: equal,
                recorded: want.get(equal).cloned(),
                replayed: got.get(equal).cloned(),
            });
        }
    }
    (same, differences)
}
