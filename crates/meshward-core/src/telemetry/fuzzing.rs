//! What must hold for any body of types 210 to 215, and for both ends of telemetry: shared by a fuzz target, the
//! test that replays its corpus, and the story of a whole node (`crate::fuzzing`). It panics when it does not hold;
//! nothing else calls it.

use super::message::seal;
use super::{Body, Collector, Telemetry};
use crate::time::Instant;
use crate::wire::{NodeId, Parcel, To};

/// What is understood survives being written again, in as many bytes; with a right sum too.
pub fn bodies(input: &[u8]) {
    let mut collector = Collector::new(NodeId(1));
    let mut sealed = input.to_vec();
    seal(&mut sealed);
    for (at, body) in [input, &sealed].into_iter().enumerate() {
        for kind in 210..=215 {
            if let Ok(understood) = Body::decode(kind, body) {
                let written = understood.encode();
                assert_eq!((written.len(), understood.kind()), (body.len(), kind));
                assert_eq!(Body::decode(kind, &written), Ok(understood));
            }
            // And a gateway takes it, twice, from two nodes.
            for from in [2, 2, 3] {
                let parcel = Parcel { kind, from: NodeId(from), to: To::One(NodeId(1)), body: body.to_vec() };
                collector.handle_package(Instant::from_micros(at as u64), kind, &parcel.encode());
            }
        }
    }
    while let Some((node, frame)) = collector.poll_transmit() {
        let asked =
            Parcel::decode(&frame).map(|parcel| (parcel.to, Body::decode(parcel.kind, &parcel.body).is_ok()));
        assert_eq!(asked, Ok((To::One(node), true)), "a gateway sends what nodes understand");
    }
}

/// Everything that a node's telemetry holds is bounded, whatever it was sent.
pub(crate) fn bounds(telemetry: &Telemetry) {
    telemetry.check();
}
