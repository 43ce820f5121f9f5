//! Message conservation: an application's text reaches whom it is for, and nobody else, once; and it does
//! reach them when nothing is in the way.

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::wire::NodeId;

use super::{Charges, Checker, Findings};
use crate::world::{Happening, Record, Seat, World};

/// Texts of the application begin with this; all else is chatter.
pub(crate) const MARK: &[u8] = b"m:";

#[derive(Debug)]
struct Letter {
    from: NodeId,
    /// `None` for all.
    dest: Option<NodeId>,
    /// Who has got it.
    reached: BTreeSet<Seat>,
    /// Who must get it.
    must_reach: BTreeSet<Seat>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Messages {
    charges: Charges,
    letters: BTreeMap<Vec<u8>, Letter>,
    /// Whom a text must reach that is sent from now on.
    demanded: BTreeMap<Vec<u8>, BTreeSet<Seat>>,
    refused: u64,
}

impl Messages {
    pub(super) fn new(charges: Charges) -> Self {
        Self { charges, letters: BTreeMap::new(), demanded: BTreeMap::new(), refused: 0 }
    }

    /// This text, which will be sent, must be taken and must arrive.
    pub fn demand(&mut self, text: &[u8], seats: BTreeSet<Seat>) {
        self.demanded.insert(text.to_vec(), seats);
    }

    /// Demanded texts that have not reached everybody.
    pub fn outstanding(&self) -> usize {
        let open = |letter: &&Letter| !letter.must_reach.is_subset(&letter.reached);
        self.letters.values().filter(open).count()
    }

    fn sent(&mut self, world: &World, record: &Record, findings: &mut Findings) {
        let Happening::Sent { dest, text, result } = &record.what else { return };
        let must_reach = self.demanded.remove(text).unwrap_or_default();
        if let Err(error) = result {
            self.refused += 1;
            if !must_reach.is_empty() {
                findings.add(format!("node {} could not send: {error}", world.id(record.seat)));
            }
            return;
        }
        let from = world.id(record.seat);
        let letter = Letter { from, dest: *dest, reached: BTreeSet::new(), must_reach };
        self.letters.insert(text.clone(), letter);
    }
}

impl Checker for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn see(&mut self, world: &World, record: &Record, findings: &mut Findings) {
        self.sent(world, record, findings);
        let Happening::Message { from, broadcast, text } = &record.what else { return };
        if !text.starts_with(MARK) {
            return;
        }
        let (id, shown) = (world.id(record.seat), String::from_utf8_lossy(text).into_owned());
        let Some(letter) = self.letters.get_mut(text) else {
            return findings.add(format!("node {id} got {shown:?}, which nobody sent"));
        };
        if (*from, *broadcast) != (letter.from, letter.dest.is_none()) {
            findings.add(format!("node {id} got {shown:?} from {from} and not from {}", letter.from));
        }
        if letter.dest.is_some_and(|dest| dest != id) || letter.from == id {
            findings.add(format!("node {id} got {shown:?}, which is not for it"));
        }
        if !letter.reached.insert(record.seat) && !self.charges.duplicates {
            findings.add(format!("node {id} got {shown:?} twice"));
        }
    }

    fn end(&mut self, world: &World, findings: &mut Findings) {
        for (text, letter) in &self.letters {
            for seat in letter.must_reach.difference(&letter.reached) {
                let (id, shown) = (world.id(*seat), String::from_utf8_lossy(text));
                findings.add(format!("{shown:?} from node {} never reached node {id}", letter.from));
            }
        }
    }
}
