//! What a node tells of itself, and what its board and its operator decide for it.

use meshward_core::codec::Codec;
use meshward_core::flash::Marks;
use meshward_core::ota::receiver::{BootLoader, State};
use meshward_core::ota::trial::{Ended, ResetReason, TrialState};
use meshward_core::ota::trust::{Policy, Refusal, Running, Verb};
use meshward_core::time::Duration;
use meshward_fleet::payload::{self, Options};
use meshward_sim::powercut::{Board, End, Kind, Kit, WELL};

use super::{NOW, deliver, done, receiving, started};

#[test]
fn a_node_tells_what_it_can_take() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = started(&kit);
    let slot = kit.setup.layout.slots[1].len;
    let before = board.receiver().capabilities();
    assert_eq!((before.protocol, before.slot, before.staging), ((1, 1), slot, slot - 16 * 1024));
    assert_eq!(before.codecs, [Codec::None, Codec::Heatshrink, Codec::Lzma]);
    assert_eq!(before.chunks, (4_096 - 1_408) / 4);
    let size = kit.old.len() as u32;
    assert_eq!(before.running, Some(Running { sha256: kit.old_image(), size }));
    assert_eq!((before.sequence, before.boot, before.updates), (0, None, true));
    assert_eq!(before.boot_loader, BootLoader::Rollback);
    assert!(before.counters.iter().all(|(_, counter)| *counter == 0) && before.counters.len() == 3);

    board.stop_when_confirmed = true;
    assert_eq!(board.power_on(), End::Done);
    board.start(ResetReason::PowerOn).unwrap();
    let after = board.receiver().capabilities();
    assert_eq!((after.running.map(|image| image.sha256), after.sequence), (Some(kit.image()), 2));
    assert_eq!(after.boot.map(|record| record.state), Some(TrialState::Valid));
    let counter = after.counters.iter().find(|(id, _)| *id == kit.signers.operator.id());
    assert_eq!(counter.map(|(_, counter)| *counter), Some(1), "a new gateway begins behind it");
}

#[test]
fn every_state_is_shown_with_its_reason() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = Board::new(&kit, kit.chip());
    board.states = Some(Vec::new());
    board.start(ResetReason::PowerOn).unwrap();
    board.receiver().offer(&[], &[]).unwrap_err();
    board.flash().unwrap();
    receiving(&mut board, &kit, 3);
    for (counter, verb) in [(1, Verb::Pause(kit.image())), (2, Verb::Resume(kit.image()))] {
        board.receiver().handle_order(NOW, &kit.order(counter, verb)).unwrap();
        board.flash().unwrap();
    }
    assert_eq!(board.power_on(), End::Done);
    // The image of another chip, in the end.
    let mut other = Kit::new(Kind::Lzma, 16 * 1024);
    other.new[12] = 9;
    other.payload = payload::build(&other.new, None, &Options::default()).unwrap();
    other.manifest = other.sign_manifest(|manifest| manifest.sequence = 3);
    other.descriptor = other.sign_descriptor(&other.payload);
    deliver(&mut board, &other);
    let states = board.states.take().unwrap();
    let mut shown: Vec<(&str, u8)> = states.iter().map(|state| (state.name(), state.reason())).collect();
    shown.sort_unstable();
    shown.dedup();
    let ordered = Ended::Ordered.code();
    let expected = [
        ("activating", 0),
        ("confirmed", 0),
        ("failed", 68),
        ("idle", 0),
        ("installing", 0),
        ("offered", 0),
        ("paused", ordered),
        ("ready", 0),
        ("receiving", 0),
        ("refused", 1),
        ("reverted", ordered),
        ("starting", 0),
        ("trial", 0),
        ("verifying", 0),
    ];
    assert_eq!(shown, expected);
    let text = |name| states.iter().rfind(|state| state.name() == name).unwrap().to_string();
    assert_eq!(text("refused"), "refused: the signed message is cut off");
    assert_eq!(text("paused"), "paused: it was ordered");
    assert_eq!(text("reverted"), "reverted: it was ordered");
    assert!(text("receiving").starts_with("receiving (") && text("installing").ends_with(" %)"));
}

#[test]
fn a_weak_supply_begins_no_update_and_stops_none() {
    let mut kit = Kit::new(Kind::Lzma, 16 * 1024);
    kit.setup.supply_least = Some(3_300);
    let mut board = started(&kit);
    let offer = |board: &mut Board<'_>| board.receiver().offer(&kit.manifest, &kit.descriptor);
    let unknown = offer(&mut board).unwrap_err();
    assert_eq!(unknown, Refusal::Supply { millivolts: None, least: 3_300 });
    assert_eq!(
        unknown.to_string(),
        "an update takes a supply of 3300 mV at least, and it has not been measured"
    );
    board.receiver().handle_supply(3_299);
    let weak = offer(&mut board).unwrap_err();
    assert_eq!(weak.to_string(), "the supply has 3299 mV and an update takes 3300 mV at least");
    assert_eq!(board.receiver().state().reason(), weak.code());
    assert_eq!(board.flash(), Ok(()));
    assert_eq!(board.chip.wear_max(), started(&kit).chip.wear_max(), "not a sector was touched");
    board.receiver().handle_supply(3_300);
    offer(&mut board).unwrap();
    board.flash().unwrap();
    board.receiver().handle_supply(2_000);
    deliver(&mut board, &kit);
    assert_eq!(board.receiver().state(), State::Ready);
}

#[test]
fn a_policy_lasts_and_is_obeyed() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = started(&kit);
    let order = |board: &mut Board<'_>, counter, verb| {
        board.receiver().handle_order(NOW, &kit.order(counter, verb)).unwrap();
        board.flash().unwrap();
    };
    let policy = Policy { updates: false, soak: 5, limit: 60 };
    order(&mut board, 1, Verb::Policy(policy));
    board.start(ResetReason::PowerOn).unwrap();
    assert!(!board.receiver().capabilities().updates);
    let refused = board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap_err();
    assert_eq!(refused.to_string(), "updates are switched off on this node, by an operator's policy");
    order(&mut board, 2, Verb::Policy(Policy { updates: true, ..policy }));
    deliver(&mut board, &kit);
    order(&mut board, 3, Verb::Activate(kit.image()));
    assert_eq!(board.receiver().state(), State::Trial);
    board.receiver().handle_health(NOW, WELL);
    board.receiver().handle_timeout(NOW + Duration::from_secs(4));
    assert_eq!(board.receiver().state(), State::Trial);
    board.receiver().handle_timeout(NOW + Duration::from_secs(5));
    board.flash().unwrap();
    assert_eq!(board.receiver().state(), State::Confirmed, "after the policy's soak, not the board's");
}

#[test]
fn a_boot_loader_without_rollback_gets_no_trial() {
    let mut kit = Kit::new(Kind::Lzma, 16 * 1024);
    kit.setup.rollback = false;
    let mut board = started(&kit);
    assert_eq!(board.receiver().capabilities().boot_loader, BootLoader::NoRollback);
    board.states = Some(Vec::new());
    deliver(&mut board, &kit);
    board.receiver().handle_order(NOW, &kit.order(1, Verb::Activate(kit.image()))).unwrap();
    board.flash().unwrap();
    assert_eq!((board.receiver().state(), board.receiver().running()), (State::Confirmed, Some(kit.image())));
    board.start(ResetReason::Panic).unwrap();
    assert_eq!(board.receiver().running(), Some(kit.image()), "it counts, whatever it does");
    assert_eq!(board.power_on(), End::Done, "the way back by order");
    let reverted = State::Reverted { quarantined: false, why: Some(Ended::Ordered) };
    assert_eq!(board.receiver().state(), reverted);
    let states = board.states.unwrap();
    assert!(!states.contains(&State::Trial), "{states:?}");
}

#[test]
fn marks_of_16_bytes_are_programmed_once() {
    let mut kit = Kit::new(Kind::Full, 16 * 1024);
    kit.setup.books.marks = Marks::Units;
    let mut board = started(&kit);
    receiving(&mut board, &kit, 3);
    board.start(ResetReason::PowerOn).unwrap();
    assert!(matches!(done(&mut board), Some((3, _))), "they last");
    let [journal, _] = kit.setup.books.journal;
    let mark =
        |board: &Board<'_>, chunk: u32| board.chip.read(journal.start + 1_408 + 16 * chunk, 16).unwrap();
    assert_eq!((mark(&board, 2), mark(&board, 3)), (vec![0; 16], vec![0xFF; 16]));
    assert_eq!(board.power_on(), End::Done);
}
