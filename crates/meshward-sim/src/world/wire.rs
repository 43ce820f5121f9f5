//! TCP connections between hosts.
//!
//! A wire has two ends, 0 the dialler's and 1 the listener's; direction *n* is what end *n* sends. It may
//! swallow what goes one way or both without a word: a half-open link.

use meshward_core::mesh::LinkId;
use meshward_core::time::Instant;

use super::Seat;

/// A connection. Places are used again, so a name also has the place's generation: what was planned for an
/// older wire in the same place finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireId {
    place: u32,
    generation: u32,
}

impl WireId {
    /// The name as one number, for hashes.
    pub(super) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.place)
    }
}

/// One end.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) seat: Seat,
    /// The host's name for the link; `None` once this end is closed.
    pub(super) link: Option<LinkId>,
    /// It has something to send and stands in line for the channel.
    pub(super) ready: bool,
    /// What this end sends vanishes.
    pub(super) swallowed: bool,
    /// Its direction is sending (independent links).
    pub(super) sending: bool,
    /// When the last frame that this end sent arrives: nothing overtakes on a wire.
    pub(super) last_arrival: Instant,
    /// As `last_arrival`, at a slow receiver's program.
    pub(super) last_processed: Instant,
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) ends: [End; 2],
    pub(super) since: Instant,
    /// Its name in captures.
    pub(super) name: String,
}

impl Wire {
    pub(super) fn new(dialler: Seat, listener: Seat, now: Instant, name: String) -> Self {
        let end = |seat| End {
            seat,
            link: None,
            ready: false,
            swallowed: false,
            sending: false,
            last_arrival: now,
            last_processed: now,
        };
        Self { ends: [end(dialler), end(listener)], since: now, name }
    }

    pub(super) fn joins(&self, a: Seat, b: Seat) -> bool {
        let seats = [self.ends[0].seat, self.ends[1].seat];
        seats == [a, b] || seats == [b, a]
    }

    /// Whether both ends take it for open and nothing is swallowed.
    pub(super) fn is_whole(&self) -> bool {
        self.ends.iter().all(|end| end.link.is_some() && !end.swallowed)
    }
}

/// All connections: every frame looks several up, so they lie in an array.
#[derive(Debug, Default)]
pub(super) struct Wires {
    places: Vec<(u32, Option<Wire>)>,
    free: Vec<u32>,
}

impl Wires {
    pub(super) fn insert(&mut self, wire: Wire) -> WireId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() as u32 - 1
        });
        let (generation, slot) = &mut self.places[place as usize];
        *slot = Some(wire);
        WireId { place, generation: *generation }
    }

    pub(super) fn get(&self, id: WireId) -> Option<&Wire> {
        let (generation, slot) = self.places.get(id.place as usize)?;
        slot.as_ref().filter(|_| *generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: WireId) -> Option<&mut Wire> {
        let (generation, slot) = self.places.get_mut(id.place as usize)?;
        slot.as_mut().filter(|_| *generation == id.generation)
    }

    pub(super) fn remove(&mut self, id: WireId) {
        if self.get(id).is_some() {
            self.places[id.place as usize] = (id.generation.wrapping_add(1), None);
            self.free.push(id.place);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WireId, &Wire)> {
        let named = |(place, (generation, slot)): (usize, &'_ (u32, Option<Wire>))| {
            (WireId { place: place as u32, generation: *generation }, slot.is_some())
        };
        self.places
            .iter()
            .enumerate()
            .map(named)
            .filter(|(_, there)| *there)
            .filter_map(|(id, _)| self.get(id).map(|wire| (id, wire)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_another_name() {
        let wire = |name: &str| Wire::new(Seat(0), Seat(1), Instant::ORIGIN, name.to_owned());
        let mut wires = Wires::default();
        let (a, b) = (wires.insert(wire("a")), wires.insert(wire("b")));
        wires.remove(a);
        wires.remove(a);
        let c = wires.insert(wire("c"));
        assert!(wires.get(a).is_none() && a != c);
        let names: Vec<_> = wires.iter().map(|(id, wire)| (id, wire.name.as_str())).collect();
        assert_eq!(names, [(c, "c"), (b, "b")]);
    }
}
