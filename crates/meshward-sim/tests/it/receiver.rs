//! What a Meshward receiver refuses, survives, and tells of itself.

mod abilities;
mod bad_input;

use meshward_core::hash::Sha256Sum;
use meshward_core::ota::receiver::{ChunkOutcome, Event, State};
use meshward_core::ota::trial::{Ended, Health, ResetReason, TrialFailure};
use meshward_core::ota::trust::{Refusal, Verb};
use meshward_core::time::{Duration, Instant};
use meshward_sim::powercut::{Board, End, Kind, Kit, LINK, WELL};

const NOW: Instant = Instant::ORIGIN;

/// A node that has started and has done nothing.
fn started(kit: &Kit) -> Board<'_> {
    let mut board = Board::new(kit, kit.chip());
    board.start(ResetReason::PowerOn).unwrap();
    board
}

/// Lets a node take the offer and the first `count` chunks.
fn receiving(board: &mut Board<'_>, kit: &Kit, count: u32) {
    board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap();
    board.flash().unwrap();
    for index in 0..count {
        assert_eq!(
            board.receiver().handle_chunk(LINK, index, &kit.chunk(index).unwrap()),
            ChunkOutcome::Taken
        );
        board.flash().unwrap();
    }
}

/// Lets a node take the offer and whatever chunks it lacks, the last one first.
fn deliver(board: &mut Board<'_>, kit: &Kit) {
    receiving(board, kit, 0);
    let chunks = (0..).take_while(|index| kit.chunk(*index).is_some()).count() as u32;
    for index in (0..chunks).rev() {
        board.receiver().handle_chunk(LINK, index, &kit.chunk(index).unwrap());
        board.flash().unwrap();
    }
}

fn done(board: &mut Board<'_>) -> Option<(u32, u32)> {
    match board.receiver().state() {
        State::Receiving { done, chunks } => Some((done, chunks)),
        _ => None,
    }
}

#[test]
fn a_forged_block_table_is_wanted_again() {
    let kit = Kit::new(Kind::Full, 16 * 1024);
    let mut board = started(&kit);
    board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap();
    board.flash().unwrap();
    let forged = vec![0; kit.chunk(0).unwrap().len()];
    assert_eq!(board.receiver().handle_chunk(LINK, 0, &forged), ChunkOutcome::Taken);
    board.flash().unwrap();
    assert!(matches!(done(&mut board), Some((0, _))));
    assert_eq!(board.power_on(), End::Done);
}

#[test]
fn the_chunks_come_in_any_order() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = started(&kit);
    receiving(&mut board, &kit, 0);
    let (_, chunks) = done(&mut board).unwrap();
    for index in (0..chunks).rev() {
        assert_eq!(
            board.receiver().handle_chunk(LINK, index, &kit.chunk(index).unwrap()),
            ChunkOutcome::Taken
        );
        board.flash().unwrap();
    }
    assert_eq!(board.receiver().state(), State::Ready);
    assert_eq!(board.power_on(), End::Done);
}

#[test]
fn orders_are_obeyed_once() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = started(&kit);
    receiving(&mut board, &kit, 3);
    let order = |board: &mut Board<'_>, counter, verb| {
        let outcome = board.receiver().handle_order(NOW, &kit.order(counter, verb));
        board.flash().unwrap();
        outcome
    };
    let image = kit.image();
    assert_eq!(order(&mut board, 5, Verb::Pause(image)), Ok(()));
    assert_eq!(board.receiver().state(), State::Paused);
    assert_eq!(board.receiver().handle_chunk(LINK, 3, &kit.chunk(3).unwrap()), ChunkOutcome::Unwanted);
    board.start(ResetReason::PowerOn).unwrap();
    assert_eq!(board.receiver().state(), State::Paused, "over a power cut");
    let replayed = Err(Refusal::Replayed { counter: 5, last: 5 });
    assert_eq!(order(&mut board, 5, Verb::Resume(image)), replayed);
    assert_eq!(order(&mut board, 6, Verb::Resume(image)), Ok(()));
    assert!(matches!(done(&mut board), Some((3, _))));
    let stranger = Sha256Sum::of(b"another");
    assert_eq!(order(&mut board, 7, Verb::Activate(stranger)), Err(Refusal::OtherImage(stranger)));
    assert_eq!(order(&mut board, 7, Verb::Revert(image)), Err(Refusal::NoWayBack(image)));
    assert_eq!(order(&mut board, 8, Verb::Cancel(image)), Ok(()));
    assert_eq!(board.receiver().state(), State::Idle);
    board.start(ResetReason::PowerOn).unwrap();
    assert_eq!(board.receiver().state(), State::Idle, "over a power cut");
    assert_eq!(order(&mut board, 9, Verb::Quarantine(image)), Ok(()));
    board.start(ResetReason::PowerOn).unwrap();
    let refused = board.receiver().offer(&kit.manifest, &kit.descriptor);
    assert_eq!(refused, Err(Refusal::Quarantined(image)));
    assert_eq!(order(&mut board, 10, Verb::Unquarantine(image)), Ok(()));
    assert_eq!(board.power_on(), End::Done);
}

#[test]
fn the_running_image_is_not_received_again() {
    let kit = Kit::new(Kind::InPlace, 16 * 1024);
    let mut board = Board::new(&kit, kit.chip());
    board.stop_when_confirmed = true;
    assert_eq!(board.power_on(), End::Done);
    let mut chip = board.chip.clone();
    let [journal, _] = kit.books.journal;
    chip.execute(&meshward_core::flash::FlashOp::Erase { address: journal.start }).unwrap();
    let mut board = Board::new(&kit, chip);
    board.start(ResetReason::PowerOn).unwrap();
    let refused = board.receiver().offer(&kit.manifest, &kit.descriptor);
    assert!(matches!(refused, Err(Refusal::Sequence { .. })), "{refused:?}");
    board.flash().unwrap();
    board.start(ResetReason::PowerOn).unwrap();
    assert_eq!(board.receiver().running(), Some(kit.image()), "and is whole");
}

/// A node whose new image is on trial; the old one had reached the gateway.
fn on_trial(kit: &Kit) -> Board<'_> {
    let mut board = started(kit);
    deliver(&mut board, kit);
    board.receiver().handle_health(NOW, WELL);
    board.receiver().handle_order(NOW, &kit.order(1, Verb::Activate(kit.image()))).unwrap();
    board.flash().unwrap();
    assert_eq!(board.receiver().state(), State::Trial);
    board
}

#[test]
fn a_crash_on_trial_goes_back_for_good() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    for reason in [ResetReason::Panic, ResetReason::Watchdog] {
        let mut board = on_trial(&kit);
        board.start(reason).unwrap();
        assert_eq!(
            board.receiver().state(),
            State::Reverted { quarantined: true, why: Some(Ended::Crashed) },
            "{reason:?}"
        );
        board.start(ResetReason::PowerOn).unwrap();
        assert_eq!(
            board.receiver().state(),
            State::Reverted { quarantined: true, why: Some(Ended::Crashed) },
            "and stays"
        );
        assert_ne!(board.receiver().running(), Some(kit.image()));
        let refused = board.receiver().offer(&kit.manifest, &kit.descriptor);
        assert_eq!(refused, Err(Refusal::Quarantined(kit.image())));
    }
}

#[test]
fn a_power_blip_on_trial_is_no_verdict() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = on_trial(&kit);
    for reason in [ResetReason::PowerOn, ResetReason::BrownOut] {
        board.start(reason).unwrap();
        assert_eq!(board.receiver().state(), State::Trial, "by way of the old image, {reason:?}");
    }
    board.start(ResetReason::Sleep).unwrap();
    assert_eq!(
        board.receiver().state(),
        State::Reverted { quarantined: false, why: Some(Ended::Power) },
        "three times were enough"
    );
    assert_eq!(board.power_on(), End::Done, "it may be activated again");
}

#[test]
fn an_absent_gateway_reverts_nobody_and_a_failed_self_test_does() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = on_trial(&kit);
    let absent = Health { gateway_in_tree: false, gateway_reached: false, ..WELL };
    let at = |minutes: u64| NOW + Duration::from_secs(60 * minutes);
    for minutes in 1..600 {
        board.receiver().handle_health(at(minutes), absent);
        board.flash().unwrap();
        assert_eq!(board.receiver().state(), State::Trial);
    }
    board.receiver().handle_health(at(600), WELL);
    board.receiver().handle_health(at(602), WELL);
    board.flash().unwrap();
    assert_eq!(board.receiver().state(), State::Confirmed);

    let mut board = on_trial(&kit);
    board.receiver().handle_health(at(1), Health { self_test: Some(false), ..WELL });
    board.flash().unwrap();
    assert!(board.events.contains(&Event::TrialFailed(TrialFailure::SelfTest)));
    assert_eq!(
        board.receiver().state(),
        State::Reverted { quarantined: true, why: Some(Ended::Failed(TrialFailure::SelfTest)) }
    );
}
