//! What a Meshward receiver refuses, and what it survives: every row ends with a node that runs the old image or
//! has completed the right one.

use meshward_core::codec::Codec;
use meshward_core::hash::Sha256Sum;
use meshward_core::ota::receiver::{ChunkOutcome, Event, State, WRONG_BLOCK_EVERY, WRONG_BLOCKS_AT_ONCE};
use meshward_core::ota::trial::{Health, ResetReason, TrialFailure};
use meshward_core::ota::trust::{Refusal, Verb};
use meshward_core::time::{Duration, Instant, UnixTime};
use meshward_fleet::payload::{self, Options};
use meshward_sim::powercut::{Board, End, Kind, Kit, WELL};

const NOW: Instant = Instant::ORIGIN;

/// A node that has started and has done nothing.
fn started(kit: &Kit) -> Board<'_> {
    let mut board = Board::new(kit, kit.chip());
    board.start(ResetReason::PowerOn).unwrap();
    board
}

/// A node that took the offer and the first `count` chunks.
fn receiving(kit: &Kit, count: u32) -> Board<'_> {
    let mut board = started(kit);
    board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap();
    board.flash().unwrap();
    for index in 0..count {
        assert_eq!(board.receiver().handle_chunk(index, &kit.chunk(index).unwrap()), ChunkOutcome::Taken);
        board.flash().unwrap();
    }
    board
}

fn done(board: &mut Board<'_>) -> Option<(u32, u32)> {
    match board.receiver().state() {
        State::Receiving { done, chunks } => Some((done, chunks)),
        _ => None,
    }
}

#[test]
fn offers_are_refused_with_a_reason_and_nothing_is_lost() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let other = Kit::new(Kind::Delta, 20 * 1024);
    let swapped =
        payload::build(&kit.new, None, &Options { codec: Codec::None, ..Options::default() }).unwrap();
    let tiny = payload::build(&kit.new, None, &Options { chunk_size: 132, ..Options::default() }).unwrap();
    let base = vec![9; 5_000];
    let foreign = payload::build(&kit.new, Some(&base), &Options::default()).unwrap();
    let descriptor = || kit.descriptor.clone();
    let rows: Vec<(u8, Vec<u8>, Vec<u8>)> = vec![
        (9, kit.sign_manifest(|manifest| manifest.sequence = 0), descriptor()),
        (10, kit.sign_manifest(|manifest| manifest.hardware = "ESP8266".to_owned()), descriptor()),
        (11, kit.sign_manifest(|manifest| manifest.role = "pump".to_owned()), descriptor()),
        (12, kit.sign_manifest(|manifest| manifest.size = 1 << 20), descriptor()),
        (13, kit.sign_manifest(|manifest| manifest.protocol = (2, 3)), descriptor()),
        (14, kit.manifest.clone(), other.descriptor.clone()),
        (15, kit.manifest.clone(), kit.sign_descriptor(&foreign)),
        (20, kit.manifest.clone(), kit.sign_descriptor(&tiny)),
        (22, kit.manifest.clone(), kit.sign_descriptor(&swapped)),
        (7, kit.descriptor.clone(), descriptor()),
        (1, Vec::new(), descriptor()),
    ];
    for (code, manifest, descriptor) in rows {
        let mut board = receiving(&kit, 5);
        let before = done(&mut board);
        let refusal = board.receiver().offer(&manifest, &descriptor).unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
        assert!(refusal.to_string().len() > 15, "{refusal}");
        board.flash().unwrap();
        assert_eq!(done(&mut board), before, "{refusal}");
        assert_eq!(board.power_on(), End::Done, "{refusal}");
    }
}

#[test]
fn a_signed_message_that_is_cut_off_or_changed_anywhere_is_refused() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = started(&kit);
    for at in (0..kit.manifest.len()).step_by(7) {
        let mut flipped = kit.manifest.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(board.receiver().offer(&flipped, &kit.descriptor).is_err(), "bit of {at}");
        assert!(board.receiver().offer(&kit.manifest[..at], &kit.descriptor).is_err(), "cut at {at}");
    }
    for at in (0..kit.descriptor.len()).step_by(7) {
        let mut flipped = kit.descriptor.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(board.receiver().offer(&kit.manifest, &flipped).is_err(), "bit of {at}");
        assert!(board.receiver().offer(&kit.manifest, &kit.descriptor[..at]).is_err(), "cut at {at}");
    }
    assert!(matches!(board.receiver().state(), State::Refused(_)));
    assert_eq!(board.power_on(), End::Done);
}

#[test]
fn forged_chunks_cost_a_block_and_no_more() {
    let kit = Kit::new(Kind::Full, 16 * 1024);
    let mut board = receiving(&kit, 1);
    let (_, chunks) = done(&mut board).unwrap();
    let forged = vec![0x55; 1_024];
    for index in 1..4 {
        assert_eq!(board.receiver().handle_chunk(index, &kit.chunk(index).unwrap()), ChunkOutcome::Taken);
        board.flash().unwrap();
    }
    assert_eq!(board.receiver().handle_chunk(4, &forged), ChunkOutcome::Taken);
    board.flash().unwrap();
    assert!(board.events.contains(&Event::BadBlock(0)), "{:?}", board.events);
    assert_eq!(done(&mut board), Some((1, chunks)), "the block's four chunks are wanted again");
    assert_eq!(board.receiver().handle_chunk(4, &forged[1..]), ChunkOutcome::Malformed);
    assert_eq!(board.receiver().handle_chunk(chunks, &forged), ChunkOutcome::Malformed);
    assert_eq!(board.receiver().handle_chunk(0, &kit.chunk(0).unwrap()), ChunkOutcome::Known);
    assert_eq!(board.power_on(), End::Done);
}

/// Somebody never stops: the flash lasts, the right chunks are still taken, and the update ends when he does.
#[test]
fn forged_chunks_do_not_wear_the_flash_out() {
    let kit = Kit::new(Kind::Full, 16 * 1024);
    let mut board = receiving(&kit, 1);
    let forge = |board: &mut Board<'_>| {
        for index in 1..5 {
            assert_eq!(board.receiver().handle_chunk(index, &[0x55; 1_024]), ChunkOutcome::Taken);
            board.flash().unwrap();
        }
    };
    let wrong = |board: &Board<'_>| {
        let wrong = |event: &&Event| matches!(event, Event::BadBlock(_));
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
        assert_eq!(board.receiver().handle_chunk(index, &right), ChunkOutcome::Taken);
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
        assert_eq!(board.receiver().handle_chunk(index, &kit.chunk(index).unwrap()), ChunkOutcome::Taken);
        board.flash().unwrap();
    }
    board.receiver().handle_timeout(next);
    board.flash().unwrap();
    assert_eq!((wrong(&board), board.receiver().state()), (most + 1, State::Ready));
    assert_eq!(board.receiver().poll_timeout(), None);
    assert_eq!(board.power_on(), End::Done);
}

#[test]
fn a_forged_block_table_is_wanted_again() {
    let kit = Kit::new(Kind::Full, 16 * 1024);
    let mut board = started(&kit);
    board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap();
    board.flash().unwrap();
    let forged = vec![0; kit.chunk(0).unwrap().len()];
    assert_eq!(board.receiver().handle_chunk(0, &forged), ChunkOutcome::Taken);
    board.flash().unwrap();
    assert!(matches!(done(&mut board), Some((0, _))));
    assert_eq!(board.power_on(), End::Done);
}

#[test]
fn the_chunks_come_in_any_order() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = receiving(&kit, 0);
    let (_, chunks) = done(&mut board).unwrap();
    for index in (0..chunks).rev() {
        assert_eq!(board.receiver().handle_chunk(index, &kit.chunk(index).unwrap()), ChunkOutcome::Taken);
        board.flash().unwrap();
    }
    assert_eq!(board.receiver().state(), State::Ready);
    assert_eq!(board.power_on(), End::Done);
}

#[test]
fn orders_are_obeyed_once() {
    let kit = Kit::new(Kind::Lzma, 16 * 1024);
    let mut board = receiving(&kit, 3);
    let order = |board: &mut Board<'_>, counter, verb| {
        let outcome = board.receiver().handle_order(NOW, &kit.order(counter, verb));
        board.flash().unwrap();
        outcome
    };
    let image = kit.image();
    assert_eq!(order(&mut board, 5, Verb::Pause(image)), Ok(()));
    assert_eq!(board.receiver().state(), State::Paused);
    assert_eq!(board.receiver().handle_chunk(3, &kit.chunk(3).unwrap()), ChunkOutcome::Unwanted);
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

#[test]
fn a_journal_of_another_image_of_the_same_size_is_not_resumed() {
    let (first, second) = (Kit::new(Kind::Full, 16 * 1024), Kit::variant(Kind::Full, 16 * 1024));
    assert_eq!(first.new.len(), second.new.len());
    let mut board = receiving(&first, 6);
    let chip = board.chip.clone();
    assert!(matches!(done(&mut board), Some((6, _))));
    let mut board = Board::new(&second, chip);
    board.start(ResetReason::PowerOn).unwrap();
    assert!(matches!(done(&mut board), Some((6, _))), "it is the first's journal");
    let newer = second.sign_manifest(|manifest| manifest.sequence = 3);
    board.receiver().offer(&newer, &second.descriptor).unwrap();
    board.flash().unwrap();
    assert!(matches!(done(&mut board), Some((0, _))), "nothing of the first counts");
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
    let mut board = receiving(kit, 0);
    let (_, chunks) = done(&mut board).unwrap();
    for index in 0..chunks {
        board.receiver().handle_chunk(index, &kit.chunk(index).unwrap());
        board.flash().unwrap();
    }
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
        assert_eq!(board.receiver().state(), State::Reverted { quarantined: true }, "{reason:?}");
        board.start(ResetReason::PowerOn).unwrap();
        assert_eq!(board.receiver().state(), State::Reverted { quarantined: true }, "and stays");
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
    assert_eq!(board.receiver().state(), State::Reverted { quarantined: false }, "three times were enough");
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
    assert_eq!(board.receiver().state(), State::Reverted { quarantined: true });
}
