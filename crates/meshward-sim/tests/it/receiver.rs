//! What a Meshward receiver refuses, survives, and tells of itself.

mod abilities;
mod bad_input;

use meshward_core::hash::Sha256Sum;
use meshward_core::ota::receiver::{ChunkOutcome, Event, State, WRONG_BLOCK_EVERY, WRONG_BLOCKS_AT_ONCE};
use meshward_core::ota::trial::{Ended, Health, ResetReason, TrialFailure};
use meshward_core::ota::trust::{Refusal, Verb};
use meshward_core::time::{Duration, Instant, UnixTime};
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
    let [journal, _] = kit.setup.books.journal;
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
        assert_eq!(
            board.receiver().state(),
            State::Reverted { quarantined: true, why: Some(Ended::Crashed) },
            "a neighbour that offers it again does not hide why it went back"
        );
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
    assert_eq!(board.receiver().state(), State::Trial, "the flash does not have it yet");
    assert!(!board.events.contains(&Event::Confirmed));
    board.flash().unwrap();
    assert_eq!(board.receiver().state(), State::Confirmed);
    assert!(board.events.contains(&Event::Confirmed));

    let mut board = on_trial(&kit);
    board.receiver().handle_health(at(1), Health { self_test: Some(false), ..WELL });
    board.flash().unwrap();
    assert!(board.events.contains(&Event::TrialFailed(TrialFailure::SelfTest)));
    assert_eq!(
        board.receiver().state(),
        State::Reverted { quarantined: true, why: Some(Ended::Failed(TrialFailure::SelfTest)) }
    );
}

/// Somebody never stops: the flash lasts, the right chunks are still taken, and the update ends when he does.
#[test]
fn forged_chunks_do_not_wear_the_flash_out() {
    let kit = Kit::new(Kind::Full, 16 * 1024);
    let mut board = started(&kit);
    receiving(&mut board, &kit, 1);
    let forge = |board: &mut Board<'_>| {
        for index in 1..5 {
            assert_eq!(board.receiver().handle_chunk(LINK, index, &[0x55; 1_024]), ChunkOutcome::Taken);
            board.flash().unwrap();
        }
    };
    let wrong = |board: &Board<'_>| {
        let wrong = |event: &&Event| matches!(event, Event::BadBlock { .. });
        board.events.iter().filter(wrong).count()
    };
    let most = usize::from(WRONG_BLOCKS_AT_ONCE);
    for forged in 1..=most {
        assert!(matches!(board.receiver().state(), State::Receiving { .. }), "after {forged}");
        forge(&mut board);
        assert_eq!(wrong(&board), forged);
    }
    let wary = |board: &mut Board<'_>| match board.receiver().state() {
        State::Wary { done, chunks, until } => (done, chunks, until),
        state => panic!("{state:?}"),
    };
    let (done, chunks, until) = wary(&mut board);
    assert_eq!((done, until), (1, NOW + WRONG_BLOCK_EVERY));
    assert_eq!(board.receiver().poll_timeout(), Some(until));
    forge(&mut board);
    for index in 5..chunks {
        assert!(board.receiver().bitmap().is_some(), "chunks are wanted");
        let right = kit.chunk(index).unwrap();
        assert_eq!(board.receiver().handle_chunk(LINK, index, &right), ChunkOutcome::Taken);
        board.flash().unwrap();
    }
    board.receiver().handle_timeout(until - Duration::from_secs(1));
    board.flash().unwrap();
    assert_eq!((wrong(&board), wary(&mut board)), (most, (chunks, chunks, until)));

    board.receiver().handle_timeout(until);
    board.flash().unwrap();
    let next = until + WRONG_BLOCK_EVERY;
    assert_eq!((wrong(&board), wary(&mut board)), (most + 1, (chunks - 4, chunks, next)));
    for index in 1..5 {
        assert_eq!(
            board.receiver().handle_chunk(LINK, index, &kit.chunk(index).unwrap()),
            ChunkOutcome::Taken
        );
        board.flash().unwrap();
    }
    board.receiver().handle_timeout(next);
    board.flash().unwrap();
    assert_eq!((wrong(&board), board.receiver().state()), (most + 1, State::Ready));
    assert_eq!(board.receiver().poll_timeout(), None);
    assert_eq!(board.power_on(), End::Done);
}

#[test]
fn a_time_far_ahead_is_taken_back_by_a_recovery_key_and_nobody_else() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = started(&kit);
    let order = |board: &mut Board<'_>, signed: &[u8]| {
        let outcome = board.receiver().handle_order(NOW, signed);
        board.flash().unwrap();
        outcome
    };
    let until = kit.sign_manifest(|manifest| manifest.not_after = Some(UnixTime(2_000)));
    let offered = |board: &mut Board<'_>| {
        board.start(ResetReason::PowerOn).unwrap();
        board.receiver().offer(&until, &kit.descriptor)
    };
    let harmless = Verb::Unquarantine(kit.image());
    order(&mut board, &kit.order_at(1, harmless, Some(UnixTime(u64::MAX)))).unwrap();
    let over = Err(Refusal::Expired { not_after: 2_000, now: u64::MAX });
    assert_eq!(offered(&mut board), over);
    order(&mut board, &kit.order_at(2, harmless, Some(UnixTime(1_000)))).unwrap();
    assert_eq!(offered(&mut board), over, "operators only move it forward");
    let right = kit.order(1, Verb::Time(UnixTime(1_000)));
    order(&mut board, &right).unwrap();
    assert_eq!(order(&mut board, &right), Err(Refusal::Replayed { counter: 1, last: 1 }));
    order(&mut board, &kit.order_at(3, harmless, Some(UnixTime(1_500)))).unwrap();
    assert_eq!(offered(&mut board), Ok(()), "and it stays so over a power cut");
    board.flash().unwrap();
    order(&mut board, &kit.order_at(4, harmless, Some(UnixTime(2_001)))).unwrap();
    assert_eq!(offered(&mut board), Err(Refusal::Expired { not_after: 2_000, now: 2_001 }), "time goes on");
}
