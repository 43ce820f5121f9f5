//! Our node plays the part of each real node in the recordings.
//!
//! For every scenario and every real node in it: our node is fed what that node received, at those times,
//! and must send what that node sent: the same messages, in the same order on each link, byte for byte but
//! for the times of its own clock, within a tolerance of time. What differs on purpose is listed in
//! [`exceptions`], and how many messages are compared in [`cast`].

mod cast;
mod exceptions;
mod judge;
mod part;
mod recording;
mod script;
mod text;
mod verdicts;

use std::collections::BTreeMap;

use base64::Engine as _;

use cast::{Gift, SCENARIOS, Scenario};
use exceptions::{EVERYWHERE, EXCEPTIONS, Effect, Everywhere, OWN_CLOSES};
use judge::{ANSWER_LATE_MAX, CLOCK_APART_MAX, EARLY_MAX, LATE_MAX, Report};
use part::{How, Sabotage};
use recording::{Recording, What};
use script::Script;
use text::Kind;

macro_rules! scenarios {
    ($($name:ident $number:literal)*) => { $(
        mod $name {
            #[test]
            fn is_played_as_recorded() {
                super::check($number);
            }

            #[test]
            fn any_wrong_message_is_noticed() {
                super::check_the_check($number);
            }
        }
    )* };
}

scenarios! {
    sync_of_two "01" idling_for_200_s "02" chain_of_five "03" chain_rooted_at_the_first "04" root_joins_last "05"
    three_clocks "06" time_authority "07" delays "08" user_messages "09" firmware_over_two_hops "10"
    lost_firmware_part "14" cut_and_redialled "18" frozen_peer "19" rings_refused "20" star "21" odd_input "22"
    fast_time_answers "23" slow_link "26"
}

/// One part of a scenario, ready to be played.
struct Role {
    script: Script,
    image: Vec<u8>,
}

impl Role {
    fn play(&self, sabotage: Option<Sabotage>) -> Report {
        part::play(&self.script, self.image.clone(), sabotage)
    }
}

fn roles(scenario: &Scenario) -> Vec<Role> {
    let mut roles = Vec::new();
    for (conversation, recording) in recording::conversations(scenario.file).iter().enumerate() {
        for cast in scenario.nodes {
            let script = script::script(scenario, conversation, recording, *cast);
            roles.push(Role { script, image: image(recording) });
        }
    }
    roles
}

/// The image that is brought in a recording: the data of its parts, in order.
fn image(recording: &Recording) -> Vec<u8> {
    let mut parts = BTreeMap::new();
    for line in &recording.lines {
        if let What::Message { bytes, .. } = &line.what
            && Kind::of(bytes) == Kind::Part
        {
            let message: serde_json::Value = serde_json::from_slice(bytes).expect("a part is JSON");
            let data = message["data"].as_str().expect("a part has data");
            let data = base64::engine::general_purpose::STANDARD.decode(data).expect("data is base64");
            parts.insert(message["partNo"].as_u64(), data);
        }
    }
    parts.into_values().flatten().collect()
}

/// Plays all parts of a scenario: nothing may differ but what the table lists, as often as it lists it.
fn check(number: &str) {
    let scenario = cast::scenario_numbered(number);
    let reports: Vec<Report> = roles(scenario).iter().map(|role| role.play(None)).collect();
    let failures: Vec<&str> =
        reports.iter().flat_map(|report| &report.failures).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
    let compared: usize = reports.iter().map(|report| report.compared).sum();
    assert_eq!(compared, scenario.compared, "messages compared in {}", scenario.file);
    let not_sent = EXCEPTIONS.iter().filter(|row| row.file.0 == number && row.effect == Effect::NotSent);
    let not_sent: usize = not_sent.map(|row| row.count).sum();
    assert_eq!(compared + not_sent, recorded(scenario), "every message of a real node is accounted for");
    for (index, row) in EXCEPTIONS.iter().enumerate().filter(|(_, row)| row.file.0 == number) {
        let applied: usize = reports.iter().map(|report| report.applied[index]).sum();
        let expected = if row.effect == Effect::NotDelivered { 0 } else { row.count };
        assert_eq!(applied, expected, "how often this applies: {row:?}");
    }
    let refuses = |effect: Effect| matches!(effect, Effect::Refuses(_));
    let own_closes = OWN_CLOSES.iter().filter(|own| own.file == number).count()
        + EXCEPTIONS.iter().filter(|row| row.file.0 == number && refuses(row.effect)).count();
    assert_eq!(reports.iter().map(|report| report.own_closes).sum::<usize>(), own_closes, "links closed");
}

/// How many messages the real nodes of a scenario sent.
fn recorded(scenario: &Scenario) -> usize {
    let by_a_node = |what: &What| match what {
        What::Message { from, .. } => scenario.nodes.iter().any(|cast| cast.name == from),
        _ => false,
    };
    let lines = recording::conversations(scenario.file).into_iter().flat_map(|recording| recording.lines);
    lines.filter(|line| by_a_node(&line.what)).count()
}

/// Spoils each message of each part in three ways: every time something must be noticed.
fn check_the_check(number: &str) {
    for role in roles(cast::scenario_numbered(number)) {
        let clean = role.play(None);
        for message in 0..clean.sent {
            for how in [How::OtherDigit, How::Lost, How::Late] {
                let report = role.play(Some(Sabotage { message, how }));
                let noticed = !report.failures.is_empty() || report.applied != clean.applied;
                let (part, message) = (role.script.part(), message + 1);
                assert!(noticed, "{part:?}: nobody minds that message {message} is spoilt by {how:?}");
            }
        }
    }
}

#[test]
fn every_scenario_has_a_test_and_every_row_a_scenario() {
    let numbers = ["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "14", "18", "19", "20", "21"];
    let numbers: Vec<&str> = numbers.into_iter().chain(["22", "23", "26"]).collect();
    let of_file = |scenario: &Scenario| &scenario.file[..2];
    assert_eq!(SCENARIOS.iter().map(of_file).collect::<Vec<_>>(), numbers);
    let files = EXCEPTIONS.iter().map(|row| row.file.0).chain(OWN_CLOSES.iter().map(|own| own.file));
    assert!(files.into_iter().all(|file| numbers.contains(&file)));
    assert!(EXCEPTIONS.iter().all(|row| row.count > 0 && !row.why.1.is_empty()));
}

#[test]
fn what_holds_everywhere_is_as_often_as_listed() {
    let mut counts = BTreeMap::new();
    for report in SCENARIOS.iter().flat_map(roles).map(|role| role.play(None)) {
        let [discarded, near, far] = report.rebased;
        for (what, count) in [
            (Everywhere::OwnStamps, report.stamped),
            (Everywhere::HeldAnswers, report.held),
            (Everywhere::RepliesDiscarded, discarded),
            (Everywhere::RepliesNear, near),
            (Everywhere::RepliesFar, far),
        ] {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    let listed: BTreeMap<Everywhere, usize> =
        EVERYWHERE.iter().map(|(what, count, ..)| (*what, *count)).collect();
    assert_eq!(counts, listed);
}

#[test]
fn applications_get_what_cpp_applications_got() {
    let got = recording::objects("09_user_messages_chain3.app_received");
    let mut compared = 0;
    for role in roles(cast::scenario_numbered("09")) {
        let cast = role.script.cast;
        let ours = role.play(None).delivered;
        let hidden = role.script.effects().filter(|(_, effect)| *effect == Effect::NotDelivered);
        let hidden: usize = hidden.map(|(row, _)| EXCEPTIONS[row].count).sum();
        let theirs: Vec<_> = got.iter().filter(|line| line["n"] == cast.name).collect();
        let from_others = |line: &&serde_json::Value| line["from"] != cast.id;
        let wanted: Vec<(u32, Vec<u8>)> = theirs
            .iter()
            .copied()
            .filter(from_others)
            .map(|line| (line["from"].as_u64().unwrap() as u32, unhex(line["hex"].as_str().unwrap())))
            .collect();
        assert_eq!(theirs.len() - wanted.len(), hidden, "what {} told itself", cast.name);
        assert_eq!(ours, wanted, "what the application of {} got", cast.name);
        compared += wanted.len();
    }
    assert_eq!(compared, 72);
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn receivers_install_the_recorded_image() {
    for number in ["10", "14"] {
        for role in roles(cast::scenario_numbered(number)) {
            let size = (role.script.cast.gift == Gift::Receiver).then_some(5_120);
            assert_eq!(role.play(None).installed, size, "{:?}", role.script.part());
        }
    }
}

#[test]
fn delays_are_measured() {
    let measured: Vec<usize> =
        roles(cast::scenario_numbered("08")).iter().map(|role| role.play(None).delays.len()).collect();
    assert_eq!(measured, [3, 0, 1], "by A, B and C");
}

#[test]
fn tolerances_are_as_wide_as_they_must_be_and_no_wider() {
    let mut widest: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut clock_apart = 0;
    for report in SCENARIOS.iter().flat_map(roles).map(|role| role.play(None)) {
        clock_apart = clock_apart.max(report.clock_apart);
        for (what, (early, late)) in report.spread {
            let so_far = widest.entry(what).or_default();
            *so_far = (so_far.0.max(early), so_far.1.max(late));
        }
    }
    let (answers, others) = (widest["time answers"], widest["all others"]);
    for (what, used, allowed) in [
        ("early", others.0, EARLY_MAX),
        ("late", others.1, LATE_MAX),
        ("late time answers", answers.1, ANSWER_LATE_MAX),
    ] {
        assert!(used <= allowed, "{what}: {used} of {allowed} µs");
        assert!(allowed < 2 * used, "{what}: {allowed} µs are allowed, and {used} µs would do");
    }
    assert!(answers.0 <= EARLY_MAX, "early time answers: {} µs", answers.0);
    // This one is not measured: it is what the protocol takes for settled.
    assert!(clock_apart <= CLOCK_APART_MAX, "clocks: {clock_apart} µs");
}
