//! The boot loader's rule, the records, and when a trial ends.

use super::*;
use crate::flash::{Region, UNIT};

const BOOKS: Books = Books::FOUR_MEGABYTES;
const OLD: BootRecord = BootRecord { sequence: 3, slot: Slot::A, size: 9, md5: Md5Sum([1; 16]) };

fn record(state: TrialState) -> TrialRecord {
    let (md5, sha256) = (Md5Sum([2; 16]), Sha256Sum([3; 32]));
    TrialRecord { state, attempts: 1, gateway: true, slot: Slot::B, size: 10, md5, sha256, ended: None }
}

fn copies(state: TrialState) -> TrialCopies {
    TrialCopies { sequence: 4, record: Some(record(state)) }
}

#[test]
fn a_record_survives_flash() {
    for state in [TrialState::New, TrialState::PendingVerify, TrialState::Valid, TrialState::Aborted] {
        let mut before = copies(TrialState::Invalid);
        let [_, FlashOp::Program { address, data }] = before.write(&BOOKS, record(state)) else { panic!() };
        let Region { start, .. } = BOOKS.trial[1];
        assert_eq!((address, data.len() as u32), (start, TrialCopies::LEN.next_multiple_of(UNIT)));
        assert_eq!(TrialCopies::read(&[], &data), before);
        assert_eq!(TrialCopies::read(&data[..70], &[0xFF; 72]), TrialCopies::default(), "torn");
    }
    for (index, ended) in Ended::ALL.into_iter().enumerate() {
        let mut before = TrialCopies::default();
        let record = TrialRecord { ended: Some(ended), ..record(TrialState::Invalid) };
        let [_, FlashOp::Program { data, .. }] = before.write(&BOOKS, record) else { panic!() };
        assert_eq!(TrialCopies::read(&[], &data).record, Some(record));
        assert_eq!(usize::from(ended.code()), 96 + index);
    }
}

#[test]
fn the_boot_loader_starts_an_image_under_trial_once() {
    let boot = |state, whole: fn(&BootRecord) -> bool| {
        let choice = choose(Some(&BOOKS), [None, Some(OLD)], copies(state), whole)?;
        let state = choice.write.map(|[_, op]| match op {
            FlashOp::Program { data, .. } => TrialCopies::read(&[], &data).record.unwrap(),
            _ => panic!("no record"),
        });
        Some((choice.start.slot, state.map(|record| (record.state, record.attempts))))
    };
    let all: fn(&BootRecord) -> bool = |_| true;
    assert_eq!(boot(TrialState::New, all), Some((Slot::B, Some((TrialState::PendingVerify, 2)))));
    assert_eq!(boot(TrialState::New, |image| image.slot == Slot::A), Some((Slot::A, None)));
    assert_eq!(boot(TrialState::PendingVerify, all), Some((Slot::A, Some((TrialState::Aborted, 1)))));
    for state in [TrialState::Aborted, TrialState::Invalid, TrialState::Valid] {
        assert_eq!(boot(state, all), Some((Slot::A, None)));
        assert_eq!(boot(state, |image| image.slot == Slot::B), Some((Slot::B, None)), "the last resort");
        assert_eq!(boot(state, |_| false), None);
    }
    let committed = record(TrialState::New).boot_record(4);
    let choice = choose(Some(&BOOKS), [Some(committed), Some(OLD)], copies(TrialState::PendingVerify), all);
    let choice = choice.unwrap();
    assert_eq!((choice.start, choice.write), (committed, None), "confirmed but for a word");
}

#[test]
fn a_board_without_books_starts_the_newest_whole_image() {
    let newer = BootRecord { sequence: 4, slot: Slot::B, ..OLD };
    let start = |whole: fn(&BootRecord) -> bool| {
        let choice = choose(None, [Some(OLD), Some(newer)], copies(TrialState::New), whole)?;
        assert_eq!((choice.write, choice.start), (None, choice.committed));
        Some(choice.start)
    };
    assert_eq!(start(|_| true), Some(newer));
    assert_eq!(start(|image| image.slot == Slot::A), Some(OLD));
    assert_eq!(start(|_| false), None);
}

#[test]
fn the_power_quarantines_nothing() {
    use ResetReason::*;
    for reason in [PowerOn, BrownOut, Sleep, External, Software] {
        assert_eq!(after_reset(reason, 2), AfterReset::Retry, "{reason:?}");
        assert_eq!(after_reset(reason, 3), AfterReset::GiveUp, "{reason:?}");
    }
    assert_eq!(after_reset(Panic, 1), AfterReset::Quarantine);
    assert_eq!(after_reset(Watchdog, 1), AfterReset::Quarantine);
}

const WELL: Health = Health {
    self_test: Some(true),
    joined: true,
    gateway_in_tree: true,
    gateway_reached: true,
    neighbour_reached: true,
};

/// Health from a second on, whether the gateway is needed; the verdict and its second, within a day.
#[track_caller]
fn check(gateway: bool, story: &[(u64, Health)], expected: Option<(u64, Verdict)>) {
    let mut trial = Trial::new(Instant::ORIGIN, TrialRules::default(), gateway);
    let mut verdict = None;
    for second in 0..86_400 {
        let now = Instant::from_micros(second * 1_000_000);
        if let Some((_, health)) = story.iter().find(|(from, _)| *from == second) {
            trial.handle_health(now, *health);
        }
        verdict = trial.verdict(now).map(|verdict| (second, verdict));
        if verdict.is_some() {
            break;
        }
        assert!(trial.poll_timeout().is_none_or(|at| at > now), "an alarm in the past");
    }
    assert_eq!(verdict, expected);
}

#[test]
fn when_a_trial_ends() {
    let absent = Health { gateway_in_tree: false, gateway_reached: false, ..WELL };
    let unreached = Health { gateway_reached: false, ..WELL };
    let alone = Health { self_test: Some(true), ..Health::default() };
    let revert = |second, failure| Some((second, Verdict::Revert(failure)));
    check(true, &[(10, WELL)], Some((70, Verdict::Confirm)));
    check(true, &[(10, WELL), (40, absent), (50, WELL)], Some((110, Verdict::Confirm)));
    check(true, &[(10, absent)], None);
    check(true, &[(10, absent), (80_000, WELL)], Some((80_060, Verdict::Confirm)));
    check(true, &[(100, absent), (50_000, unreached)], revert(50_800, TrialFailure::Unreached));
    check(false, &[(10, absent)], Some((70, Verdict::Confirm)));
    check(false, &[(10, alone)], revert(900, TrialFailure::Alone));
    check(true, &[(10, Health { self_test: None, ..absent })], revert(900, TrialFailure::Unreached));
    check(true, &[(10, Health { self_test: Some(false), ..WELL })], revert(10, TrialFailure::SelfTest));
    check(true, &[], revert(900, TrialFailure::Alone));
    check(true, &[(890, WELL)], Some((950, Verdict::Confirm)));
}
