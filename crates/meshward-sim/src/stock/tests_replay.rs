//! The model plays the part of each real node in the firmware recordings.
//!
//! It is fed what the real node got, at those times, and must send what that node sent: the same messages of
//! types 10, 11 and 12, byte for byte, in the same order on each link, at the same times. The rest of the
//! conversation is not compared here (the core's own tests do); the harness keeps it going: it answers the
//! model's node syncs itself, as the neighbour last described itself, and leaves time syncs out.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshward_core::mesh::{LinkId, LinkRole, Outgoing};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, peek};
use serde_json::Value;

use super::tests_recording::{Message, Part, image, part};
use super::{StockConfig, StockEvent, StockNode, StockOffer};

/// How far from the recorded time the model may send, in microseconds: the recording machine was busy at
/// times, and TCP held back second messages for 40 to 50 ms in 13 and 25.
const APART_MAX: u64 = 100_000;
/// The recording's beginning on the model's clock, in microseconds.
const BEGIN: u64 = 10_000_000;
/// A part that has not ended after so many inputs is spinning.
const INPUTS_MAX: usize = 100_000;

/// Who plays what, and how many messages are compared.
struct Role {
    file: &'static str,
    node: &'static str,
    job: Job,
    root: bool,
    compared: usize,
    /// What the firmware layer reported.
    reports: &'static [Report],
}

/// What a node's sketch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    /// Offers what it announces.
    Sends,
    /// The same, and sleeps 1 s in its loop.
    SendsSlowly,
    /// Takes firmware for the role `sensor`.
    Receives,
    /// Neither, or another role.
    Relays,
}

/// An event of the firmware layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    Started,
    Installed,
    Md5Failed,
    GaveUp,
    Restart,
}

use Job::{Receives, Relays, Sends, SendsSlowly};
use Report::{GaveUp, Installed, Md5Failed, Restart, Started};

const DONE: &[Report] = &[Started, Installed, Restart];

const fn role(
    file: &'static str,
    node: &'static str,
    job: Job,
    compared: usize,
    reports: &'static [Report],
) -> Role {
    Role { file, node, job, root: false, compared, reports }
}

const fn root(role: Role) -> Role {
    Role { root: true, ..role }
}

const F10: &str = "10_ota_unicast_two_hops";
const F11: &str = "11_ota_broadcast_3recv_root_receiver";
const F12: &str = "12_ota_broadcast_sender_is_root_stalls";
const F13: &str = "13_ota_broadcast_one_part_lost";
const F14: &str = "14_ota_unicast_data_lost_retry_30s";
const F15: &str = "15_ota_unicast_all_data_lost_10_tries";
const F16: &str = "16_ota_unicast_forced_compressed";
const F16B: &str = "16b_ota_compressed_flag_gzip_payload";
const F24: &str = "24_ota_stock_example_sender_loop_1s";
const F25: &str = "25_ota_new_firmware_announced_mid_update";

#[rustfmt::skip]
const ROLES: &[Role] = &[
    role(F10, "S", Sends, 6, &[]),
    role(F10, "M", Relays, 11, &[]),
    role(F10, "R", Receives, 5, DONE),
    role(F11, "S", Sends, 12, &[]),
    root(role(F11, "R1root", Receives, 5, DONE)),
    role(F11, "R2", Receives, 6, DONE),
    role(F11, "R3", Receives, 0, DONE),
    root(role(F12, "S", Sends, 6, &[])),
    role(F12, "R1", Receives, 0, &[Started]),
    role(F12, "R2", Receives, 3, &[Started]),
    role(F12, "R3", Receives, 0, &[Started]),
    role(F13, "S", Sends, 44, &[]),
    root(role(F13, "R1root", Receives, 5, DONE)),
    // Gives up after 270 s; the next Announce is taken, and nothing comes of it.
    role(F13, "R2", Receives, 31, &[Started, GaveUp, Started]),
    role(F13, "R3", Receives, 10, &[Started, GaveUp, Started]),
    role(F14, "S", Sends, 7, &[]),
    role(F14, "R", Receives, 6, DONE),
    role(F15, "S", Sends, 24, &[]),
    role(F15, "R", Receives, 16, &[Started, GaveUp, Started]),
    role(F16, "S", Sends, 6, &[]),
    role(F16, "R", Receives, 5, DONE),
    role(F16B, "S", Sends, 2, &[]),
    role(F16B, "R", Receives, 1, DONE),
    role(F24, "S", SendsSlowly, 6, &[]),
    role(F24, "R", Receives, 5, DONE),
    role(F25, "S1", Sends, 14, &[]),
    // Each minute anew: firmware one, then two from the middle, then wrong.
    role(F25, "R", Receives, 26, &[Started, Started, Md5Failed, Started, Started, Md5Failed]),
    role(F25, "S2", Sends, 12, &[]),
];

/// Everything in which the replay departs from "as recorded, within 100 ms".
struct Exception {
    file: &'static str,
    node: &'static str,
    what: Departure,
    why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departure {
    /// Times may be this far apart, in microseconds.
    Apart(u64),
    /// Recorded time syncs are played: they take passes of the loop.
    TimeSyncs,
    /// The application does its work this much before what it sends is on the wire, in microseconds.
    VerbEarlier(u64),
    /// The image comes from another file, whole.
    ImageOf(&'static str),
}

#[rustfmt::skip]
const EXCEPTIONS: &[Exception] = &[
    Exception { file: F24, node: "S", what: Departure::Apart(1_100_000),
        why: "its loop sleeps 1 s per pass, and which pass takes what the recording does not show" },
    Exception { file: F24, node: "S", what: Departure::TimeSyncs,
        why: "each of them holds the firmware up for a pass" },
    Exception { file: F24, node: "S", what: Departure::VerbEarlier(1_010_000),
        why: "what the application does in one pass is written in the next, and a pass takes a little over 1 s" },
    Exception { file: F12, node: "S", what: Departure::ImageOf(F10),
        why: "nobody asks for a part of it; it has the MD5 of the image in 10" },
    Exception { file: F15, node: "S", what: Departure::ImageOf(F10),
        why: "nobody gets beyond part 1; it has the MD5 of the image in 10" },
    Exception { file: F25, node: "S1", what: Departure::ImageOf(F10),
        why: "nobody gets beyond part 3; it has the MD5 of the image in 10" },
    // The image of S2 is recorded from part 3 on, so its MD5 is not that of the bytes we have: the offer
    // names it (`offer_as`), as all offers here do.
];

fn departures(role: &Role) -> impl Iterator<Item = Departure> + '_ {
    let mine = |one: &&Exception| one.file == role.file && one.node == role.node && !one.why.is_empty();
    EXCEPTIONS.iter().filter(mine).map(|one| one.what)
}

/// What happens to the model next.
enum Step {
    Wake,
    Open(usize),
    Offer,
    Heard(Message),
}

struct Play<'a> {
    role: &'a Role,
    part: &'a Part,
    node: StockNode,
    now: Instant,
    links: BTreeMap<usize, LinkId>,
    /// What is written of a message: the rest comes with the next pass of a slow loop.
    half_sent: BTreeMap<usize, Vec<u8>>,
    /// What the model has sent: when, on which connection, what.
    sent: Vec<Message>,
    reports: Vec<Report>,
    installed: Option<Vec<u8>>,
}

fn instant(at: u64) -> Instant {
    Instant::from_micros(BEGIN + at)
}

fn config(role: &Role, part: &Part) -> StockConfig {
    let id = NodeId(part.id);
    let mut config = match role.job {
        Receives => StockConfig::receiver(id, 1, b"sensor", b"ESP32"),
        _ => StockConfig::node(id, 1),
    };
    config.mesh.root = role.root;
    if role.job == SendsSlowly {
        config.loop_delay = Duration::from_secs(1);
        config.loop_lag = StockConfig::LAG_LINUX;
    }
    config
}

fn agenda(role: &Role, part: &Part) -> Vec<(Instant, Step)> {
    let time_syncs = departures(role).any(|what| what == Departure::TimeSyncs);
    // The phase of a slow loop: it writes when it wakes.
    let phase = part.sent.first().map_or(0, |first| first.at % 1_000_000);
    let mut steps = vec![(Instant::from_micros(BEGIN - 1_000_000 + phase), Step::Wake)];
    let opened = part.connections.iter().enumerate();
    steps.extend(opened.map(|(index, connection)| (instant(connection.opened), Step::Open(index))));
    let skipped = |kind: u64| kind == 6 || (kind == 4 && !time_syncs);
    let heard = part.heard.iter().filter(|message| !skipped(message.kind));
    steps.extend(heard.map(|message| (instant(message.at), Step::Heard(message.clone()))));
    let earlier = departures(role).find_map(|what| match what {
        Departure::VerbEarlier(micros) => Some(micros),
        _ => None,
    });
    if let Some((at, _)) = part.offered() {
        steps.push((instant(at - earlier.unwrap_or(0)), Step::Offer));
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}

fn play<'a>(role: &'a Role, part: &'a Part) -> Play<'a> {
    let mut play = Play {
        role,
        part,
        node: StockNode::new(config(role, part)),
        now: Instant::ORIGIN,
        links: BTreeMap::new(),
        half_sent: BTreeMap::new(),
        sent: Vec::new(),
        reports: Vec::new(),
        installed: None,
    };
    let end = instant(part.end);
    let mut steps = agenda(role, part).into_iter().peekable();
    for _ in 0..INPUTS_MAX {
        let timer = play.node.poll_timeout().map(|(due, _)| due.max(play.now));
        match steps.next_if(|(at, _)| *at < end && timer.is_none_or(|due| *at <= due)) {
            Some((at, step)) => play.step(at, step),
            None => match timer.filter(|due| *due < end) {
                Some(due) => play.step(due, Step::Wake),
                None => return play,
            },
        }
    }
    panic!("{} as {} spins", role.file, role.node);
}

impl Play<'_> {
    fn step(&mut self, at: Instant, step: Step) {
        self.now = at;
        match step {
            Step::Wake => self.node.handle_timeout(at),
            Step::Open(index) => {
                let dials = self.part.connections[index].dials;
                let role = if dials { LinkRole::Dialler } else { LinkRole::Listener };
                self.links.insert(index, self.node.handle_link_up(at, role).unwrap());
            }
            Step::Offer => self.offer(),
            Step::Heard(message) => self.hear(message.connection, &message.text),
        }
        self.drain();
    }

    fn hear(&mut self, connection: usize, text: &str) {
        let link = self.links[&connection];
        self.node.handle_data(self.now, link, format!("{text}\0").as_bytes());
    }

    fn offer(&mut self) {
        let (_, announce) = self.part.offered().unwrap();
        let text = |key: &str| announce[key].as_str().unwrap().as_bytes().to_vec();
        let flag = |key: &str| announce[key] == Value::Bool(true);
        let file = departures(self.role).find_map(|what| match what {
            Departure::ImageOf(file) => Some(file),
            _ => None,
        });
        let md5 = announce["md5"].as_str().unwrap();
        let offer = StockOffer {
            image: Arc::from(image(file.unwrap_or(self.role.file), md5)),
            part_size: 1_024,
            role: text("role"),
            hardware: text("hardware"),
            forced: flag("forced"),
            broadcasted: flag("broadcasted"),
            compressed: flag("compressed"),
        };
        self.node.offer_as(self.now, offer, md5.as_bytes());
    }

    /// Does what the model wants, until it wants nothing.
    fn drain(&mut self) {
        self.events();
        let links: Vec<(usize, LinkId)> = self.links.iter().map(|(index, link)| (*index, *link)).collect();
        for (connection, link) in links {
            loop {
                let message = self.half_sent.entry(connection).or_default();
                let count = match self.node.outgoing(link) {
                    Outgoing::Idle => break,
                    Outgoing::Close(reason) => panic!("{}: {reason}", self.part.connections[connection].peer),
                    Outgoing::Bytes(bytes) => {
                        message.extend_from_slice(bytes);
                        bytes.len()
                    }
                };
                self.node.sent(link, count);
                if message.last() == Some(&0) {
                    message.pop();
                    let message = std::mem::take(message);
                    self.leaves(connection, message);
                }
            }
        }
    }

    fn leaves(&mut self, connection: usize, message: Vec<u8>) {
        let kind = peek(&message).map_or(0, |envelope| envelope.kind) as u64;
        let text = String::from_utf8(message).unwrap();
        let at = self.now.as_micros() - BEGIN;
        self.sent.push(Message { at, connection, kind, text });
        if kind == 5 {
            let reply = self.sync_reply(connection);
            self.hear(connection, &reply);
            self.drain();
        }
    }

    /// The neighbour's answer to a node sync: as it last described itself.
    fn sync_reply(&self, connection: usize) -> String {
        let now = self.now.as_micros() - BEGIN;
        let of_peer = |message: &&Message| message.connection == connection && matches!(message.kind, 5 | 6);
        let mut syncs = self.part.heard.iter().filter(of_peer);
        let first = syncs.clone().next().expect("every neighbour syncs");
        let last = syncs.rfind(|message| message.at <= now).unwrap_or(first);
        last.text.replace("\"type\":5", "\"type\":6")
    }

    fn events(&mut self) {
        while let Some(event) = self.node.poll_event() {
            self.reports.extend(match event {
                StockEvent::UpdateStarted => Some(Started),
                StockEvent::Installed { image, .. } => {
                    self.installed = Some(image);
                    Some(Installed)
                }
                StockEvent::Md5Failed => Some(Md5Failed),
                StockEvent::GaveUp => Some(GaveUp),
                StockEvent::Restart => Some(Restart),
                StockEvent::WriteFailed => panic!("a write failed"),
                _ => None,
            });
        }
    }
}

/// Compares what was sent on one connection; the number of messages that were the same.
fn compare(recorded: &[&Message], sent: &[&Message], apart_max: u64) -> Result<usize, String> {
    for (number, (theirs, ours)) in recorded.iter().zip(sent).enumerate() {
        let apart = theirs.at.abs_diff(ours.at);
        if theirs.text != ours.text {
            return Err(format!(
                "message {number}:\n    want {:.300}\n    got  {:.300}",
                theirs.text, ours.text
            ));
        }
        if apart > apart_max {
            let (theirs, ours) = (theirs.at, ours.at);
            return Err(format!("message {number} at {ours} instead of {theirs} µs"));
        }
    }
    match recorded.len() == sent.len() {
        true => Ok(sent.len()),
        false => Err(format!("{} messages instead of {}", sent.len(), recorded.len())),
    }
}

fn judge(role: &Role, part: &Part, play: &Play<'_>) -> Result<usize, String> {
    let apart_max = departures(role).find_map(|what| match what {
        Departure::Apart(micros) => Some(micros),
        _ => None,
    });
    let mut compared = 0;
    for (index, connection) in part.connections.iter().enumerate() {
        let recorded: Vec<&Message> = part.firmware().filter(|one| one.connection == index).collect();
        let firmware = |one: &&Message| one.connection == index && (10..=12).contains(&one.kind);
        let sent: Vec<&Message> = play.sent.iter().filter(firmware).collect();
        let name = &connection.name;
        compared += compare(&recorded, &sent, apart_max.unwrap_or(APART_MAX))
            .map_err(|what| format!("{} as {} on {name}: {what}", role.file, role.node))?;
    }
    Ok(compared)
}

fn check(file: &str) {
    for role in ROLES.iter().filter(|role| role.file == file) {
        let part = part(file, role.node);
        let play = play(role, &part);
        let compared = judge(role, &part, &play).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(compared, role.compared, "messages compared in {file} as {}", role.node);
        assert_eq!(play.reports, role.reports, "what {} in {file} reports", role.node);
        if role.job == Receives && role.reports.contains(&Installed) {
            let announce = part.heard.iter().find(|one| one.kind == 10).expect("something was announced");
            let announce: Value = serde_json::from_str(&announce.text).expect("an announce is JSON");
            let wanted = image(file, announce["md5"].as_str().unwrap());
            assert_eq!(play.installed.as_deref(), Some(&wanted[..]), "the image on {}", role.node);
        }
    }
}

macro_rules! replays {
    ($($name:ident $file:ident)*) => { $(
        #[test]
        fn $name() {
            check($file);
        }
    )* };
}

replays! {
    unicast_over_two_hops F10
    broadcast_led_by_a_root F11
    broadcast_without_a_root_stalls F12
    one_part_lost_in_broadcast F13
    one_part_lost_in_unicast F14
    ten_tries_and_then_the_next_announce F15
    forced_and_compressed_are_copied F16
    compressed_is_written_as_it_is F16B
    a_loop_that_sleeps F24
    another_image_in_mid_update F25
}

#[test]
fn every_firmware_message_of_every_node_is_compared() {
    let compared: usize = ROLES.iter().map(|role| role.compared).sum();
    let recorded: usize = ROLES.iter().map(|role| part(role.file, role.node).firmware().count()).sum();
    assert_eq!((compared, recorded), (274, 274));
}

#[test]
fn a_wrong_message_is_noticed() {
    let part = part(F15, "R");
    let recorded: Vec<Message> = part.firmware().cloned().collect();
    let same = |changed: &[Message]| {
        let (recorded, changed): (Vec<_>, Vec<_>) = (recorded.iter().collect(), changed.iter().collect());
        compare(&recorded, &changed, APART_MAX)
    };
    assert_eq!(same(&recorded), Ok(16));
    for number in 0..recorded.len() {
        let mut lost = recorded.clone();
        lost.remove(number);
        assert!(same(&lost).is_err(), "{number} is lost");
        let mut other = recorded.clone();
        other[number].text = other[number].text.replacen("\"part", "\"Part", 1);
        assert!(same(&other).is_err(), "{number} is another");
        let mut late = recorded.clone();
        late[number].at += APART_MAX * 2;
        assert!(same(&late).is_err(), "{number} is late");
    }
}

#[test]
fn another_sketch_is_noticed() {
    for role in ROLES.iter().filter(|role| role.job == Receives && role.compared > 0) {
        // R2 of 11 and 12 sends nothing of its own.
        let silent = role.node == "R2" && role.file != F13;
        let other = Role { job: Relays, ..*role };
        let part = part(role.file, role.node);
        let play = play(&other, &part);
        assert_eq!(judge(&other, &part, &play).is_ok(), silent, "{} as {}", role.file, role.node);
    }
}
