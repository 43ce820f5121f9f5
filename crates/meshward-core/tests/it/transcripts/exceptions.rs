//! The one table of everything in which our node may differ from what was recorded, and why.
//!
//! Each row says how often it applies. A row that applies more or less often fails the test, so nothing
//! changes in silence.

use std::ops::Range;

use meshward_core::mesh::CloseReason;

use super::text::Kind;

/// Why our node differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its clock and its timers are its own, exact to the microsecond.
    OwnClock,
    /// It does better on purpose: `docs/protocol.md`, section 10.
    Better,
    /// The harness does what an application or the machine did.
    Harness,
}

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The real node sent it, ours doesn't. Answers to it are not played either.
    NotSent,
    /// Ours sends this next after a message of that kind, the real node sent nothing. Times of its own clock
    /// are 0 here.
    Extra(&'static str, Kind),
    /// Ours sends this after a message of that kind, although nobody asked.
    Unasked(Sent, Kind),
    /// Ours sends this instead. Times of its own clock are 0 here.
    Instead(&'static str),
    /// Ours passes it on as it came, the real node has written it anew.
    AsItCame,
    /// Ours sends the same, but by then its clock is another one.
    OtherClock,
    /// The link stood this much earlier (in microseconds) than the proxy noted.
    StoodEarlier(u64),
    /// Ours closes the link in this span of time, the real node kept it.
    Refuses(CloseReason),
    /// Ours is given a longer bound for a frame; counts the frames that needed it.
    LongerFrames(usize),
    /// The C++ library gave it to the application, our node doesn't.
    NotDelivered,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// This; times of its own clock are 0.
    Text(&'static str),
    /// The part of this number, as it is recorded on this link.
    Part(u32),
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) struct Exception {
    /// The beginning of the file's name, and which conversation in it.
    pub(super) file: (&'static str, usize),
    /// Whose part our node plays.
    pub(super) node: &'static str,
    /// At the other end of the link; `*` for everybody.
    pub(super) peer: &'static str,
    /// What is sent; `None` where it is about no single message.
    pub(super) kind: Option<Kind>,
    /// When, in milliseconds of the recording.
    pub(super) ms: Range<u64>,
    /// What is different.
    pub(super) effect: Effect,
    /// How often.
    pub(super) count: usize,
    /// Why, in a word and in a sentence.
    pub(super) why: (Why, &'static str),
}

const ALL: Range<u64> = 0..u64::MAX;
const DISCARDS: &str =
    "after five replies in a row that break the 85 × rule the sixth is used, the seventh settles";
const IMPOSTORS: &str = "a neighbour with our own id, or with our own id in its tree, never becomes a neighbour, \
                         so there is nothing to tell the others";
const TARGETED: &str = "firmware is offered to one node at a time";
const EAGER: &str = "an overdue request is not awaited for 30 s: the part and the one behind it go again, each with a \
                     probe, from the second time on behind an Announce";

const OFFER_TO_C: &str = "{\"from\":2748091201,\"routing\":1,\"type\":10,\"md5\":\"6b74213310b3814759b444e3e7b2529d\",\
     \"hardware\":\"ESP32\",\"role\":\"sensor\",\"noPart\":5,\"broadcasted\":false,\"dest\":3662815033}";
const PROBE_TO_C: &str = "{\"type\":3,\"dest\":3662815033,\"from\":2748091201,\"msg\":{\"type\":1,\"t0\":0}}";
const AUTHORITY_REPLY: &str = "{\"nodeId\":2748091201,\"hasTimeAuthority\":true,\"type\":6,\"dest\":1093410022,\
     \"from\":2748091201}";
const REQUEST_TO_A: &str =
    "{\"type\":4,\"dest\":2748091201,\"from\":1093410022,\"msg\":{\"type\":1,\"t0\":0}}";

/// Everything that differs.
#[rustfmt::skip]
pub(super) const EXCEPTIONS: &[Exception] = &[
    row(("02", 0), "A", "B", None, ALL, Effect::StoodEarlier(5_000), 1,
        (Why::OwnClock, "A's first type 5 comes 9 995 ms after the first line: its 10 s began before")),
    row(("02", 0), "A", "B", Some(Kind::SyncRequest), 189_997..189_998, Effect::NotSent, 1,
        (Why::OwnClock, "due at the same time as B's, whose request comes 0.1 ms before and puts it off")),
    row(("07", 0), "A", "B", Some(Kind::SyncReply), ALL, Effect::Instead(AUTHORITY_REPLY), 3,
        (Why::Better, "replies carry the time authority like requests, so that it does not come and go")),
    row(("07", 0), "B", "C", Some(Kind::SyncRequest), 60_125..60_126, Effect::NotSent, 1,
        (Why::Better, "A keeps its time authority when a reply lacks it: nothing has changed")),
    row(("07", 0), "B", "A", Some(Kind::TimeAsk), 60_202..60_403, Effect::Instead(REQUEST_TO_A), 2,
        (Why::Better, "A keeps its time authority when a reply lacks it: B still adopts its clock")),
    row(("09", 0), "A", "*", None, ALL, Effect::NotDelivered, 1,
        (Why::Harness, "a broadcast `with self` comes back to the sender inside the C++ library; ours has no such call")),
    row(("10", 0), "S", "M", Some(Kind::Announce), ALL, Effect::Instead(OFFER_TO_C), 1, (Why::Better, TARGETED)),
    row(("10", 0), "S", "M", Some(Kind::DelayRequest), 2_238..2_239, Effect::Extra(PROBE_TO_C, Kind::Announce), 1,
        (Why::Better, "a probe behind the offer tells whether it has arrived")),
    row(("10", 0), "S", "M", Some(Kind::DelayRequest), 2_241..2_242, Effect::Extra(PROBE_TO_C, Kind::Part), 1,
        (Why::Better, "a probe behind the last part tells when it has left the relays' queues")),
    row(("14", 0), "S", "R", Some(Kind::Announce), ALL, Effect::Instead(OFFER_TO_C), 1, (Why::Better, TARGETED)),
    row(("14", 0), "S", "R", Some(Kind::DelayRequest), 2_104..2_105, Effect::Extra(PROBE_TO_C, Kind::Announce), 1,
        (Why::Better, "a probe behind the offer tells whether it has arrived")),
    eager(Kind::Part, 4_106, Sent::Part(2), Kind::Part, 1),
    eager(Kind::DelayRequest, 4_106, Sent::Text(PROBE_TO_C), Kind::Part, 2),
    eager(Kind::Part, 4_106, Sent::Part(3), Kind::DelayRequest, 1),
    eager(Kind::Announce, 6_106, Sent::Text(OFFER_TO_C), Kind::DelayRequest, 1),
    eager(Kind::DelayRequest, 6_106, Sent::Text(PROBE_TO_C), Kind::Announce, 1),
    eager(Kind::Part, 6_106, Sent::Part(2), Kind::DelayRequest, 1),
    eager(Kind::DelayRequest, 6_106, Sent::Text(PROBE_TO_C), Kind::Part, 2),
    eager(Kind::Part, 6_106, Sent::Part(3), Kind::DelayRequest, 1),
    eager(Kind::Announce, 10_106, Sent::Text(OFFER_TO_C), Kind::SyncRequest, 1),
    eager(Kind::DelayRequest, 10_106, Sent::Text(PROBE_TO_C), Kind::Announce, 1),
    eager(Kind::Part, 10_106, Sent::Part(2), Kind::DelayRequest, 1),
    eager(Kind::DelayRequest, 10_106, Sent::Text(PROBE_TO_C), Kind::Part, 2),
    eager(Kind::Part, 10_106, Sent::Part(3), Kind::DelayRequest, 1),
    eager(Kind::Announce, 18_106, Sent::Text(OFFER_TO_C), Kind::DelayRequest, 1),
    eager(Kind::DelayRequest, 18_106, Sent::Text(PROBE_TO_C), Kind::Announce, 1),
    eager(Kind::Part, 18_106, Sent::Part(2), Kind::DelayRequest, 1),
    eager(Kind::DelayRequest, 18_106, Sent::Text(PROBE_TO_C), Kind::Part, 2),
    eager(Kind::Part, 18_106, Sent::Part(3), Kind::DelayRequest, 1),
    eager(Kind::Announce, 26_106, Sent::Text(OFFER_TO_C), Kind::DelayRequest, 1),
    eager(Kind::DelayRequest, 26_106, Sent::Text(PROBE_TO_C), Kind::Announce, 1),
    eager(Kind::Part, 26_106, Sent::Part(2), Kind::DelayRequest, 1),
    eager(Kind::Part, 28_106, Sent::Part(2), Kind::Part, 1),
    eager(Kind::DelayRequest, 28_106, Sent::Text(PROBE_TO_C), Kind::Part, 2),
    eager(Kind::Part, 28_106, Sent::Part(3), Kind::DelayRequest, 1),
    eager(Kind::Announce, 30_106, Sent::Text(OFFER_TO_C), Kind::DelayRequest, 1),
    eager(Kind::DelayRequest, 30_106, Sent::Text(PROBE_TO_C), Kind::Announce, 1),
    eager(Kind::Part, 30_106, Sent::Part(2), Kind::DelayRequest, 1),
    eager(Kind::DelayRequest, 30_106, Sent::Text(PROBE_TO_C), Kind::Part, 2),
    eager(Kind::Part, 30_106, Sent::Part(3), Kind::DelayRequest, 1),
    row(("14", 0), "S", "R", Some(Kind::DelayRequest), 32_107..32_108, Effect::Extra(PROBE_TO_C, Kind::Part), 1,
        (Why::Better, "a probe behind the last part tells when it has left the relays' queues")),
    row(("22", 0), "B", "P", None, ALL, Effect::LongerFrames(128 * 1024), 3,
        (Why::Better, "frames are bounded; here the bound is set beyond what the probes try")),
    row(("22", 0), "B", "Q", Some(Kind::Single), 1_352..1_594, Effect::AsItCame, 3,
        (Why::Better, "canonical frames are forwarded as the same bytes: escapes, decimals and a second `msg` stay")),
    row(("22", 0), "B", "R", None, 12_224..12_225, Effect::Refuses(CloseReason::ClaimsOurId), 1,
        (Why::Better, IMPOSTORS)),
    row(("22", 0), "B", "R3", None, 14_626..14_627, Effect::Refuses(CloseReason::Ring), 1,
        (Why::Better, IMPOSTORS)),
    row(("22", 0), "B", "*", Some(Kind::SyncRequest), 12_224..15_228, Effect::NotSent, 12,
        (Why::Better, IMPOSTORS)),
    row(("22", 0), "B", "*", Some(Kind::SyncReply), 12_224..15_228, Effect::NotSent, 2,
        (Why::Better, IMPOSTORS)),
    row(("22", 0), "B", "R6", Some(Kind::TimeAsk), 56_871..56_872, Effect::NotSent, 1,
        (Why::OwnClock, "the link is closed exactly 10 s after the unanswered type 5, 0.3 ms before this is due")),
    row(("23", 0), "B", "P", Some(Kind::TimeRequest), 1_200..1_300, Effect::OtherClock, 1, (Why::Better, DISCARDS)),
    row(("23", 0), "B", "P", Some(Kind::TimeRequest), 1_300..6_000, Effect::NotSent, 23, (Why::Better, DISCARDS)),
    row(("23", 1), "B", "P", Some(Kind::TimeRequest), 1_200..1_300, Effect::OtherClock, 1, (Why::Better, DISCARDS)),
    row(("23", 1), "B", "P", Some(Kind::TimeRequest), 1_300..6_000, Effect::NotSent, 23, (Why::Better, DISCARDS)),
    row(("26", 0), "B", "A", Some(Kind::TimeRequest), 1_200..1_300, Effect::OtherClock, 1, (Why::Better, DISCARDS)),
    row(("26", 0), "B", "A", Some(Kind::TimeRequest), 1_300..16_000, Effect::NotSent, 66, (Why::Better, DISCARDS)),
];

/// What holds in all recordings, and how often over all of them together.
#[rustfmt::skip]
pub(super) const EVERYWHERE: &[(Everywhere, usize, Why, &str)] = &[
    (Everywhere::OwnStamps, 272, Why::OwnClock,
        "t0 of a request and t1, t2 of an answer are what our clock shows; it is set to the real node's once, at the start"),
    (Everywhere::HeldAnswers, 155, Why::Better,
        "a time answer is held for 1 ms, and up to 16 ms when the neighbour asks again within a second"),
    (Everywhere::RepliesDiscarded, 51, Why::OwnClock,
        "time replies carry our t0; where the real node threw one away (or found an offset of exactly 0), t2 - t1 is 0"),
    (Everywhere::RepliesNear, 50, Why::OwnClock,
        "where the real node was content, t2 - t1 is long enough, and the offset is not 0 and below 5 ms"),
    (Everywhere::RepliesFar, 6, Why::OwnClock,
        "where the real node set its clock, t2 - t1 is long enough, and t2 as it was"),
];

/// What is counted over all recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Everywhere {
    OwnStamps,
    HeldAnswers,
    RepliesDiscarded,
    RepliesNear,
    RepliesFar,
}

/// A link that a real node closed because the protocol says so. Ours must close it by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnClose {
    pub(super) file: &'static str,
    pub(super) node: &'static str,
    pub(super) link: &'static str,
    pub(super) reason: CloseReason,
}

/// All of those.
pub(super) const OWN_CLOSES: &[OwnClose] = &[
    own_close("19", "B", "C-B#1", CloseReason::NoSyncReply),
    own_close("20", "A", "B-A#2", CloseReason::AlreadyConnected),
    own_close("20", "A", "C-A#1", CloseReason::AlreadyConnected),
    own_close("20", "C", "A-C#1", CloseReason::AlreadyConnected),
    own_close("22", "B", "R2-B#1", CloseReason::InvalidTree),
    own_close("22", "B", "R5-B#1", CloseReason::NoSyncReply),
    own_close("22", "B", "R6-B#1", CloseReason::NoSyncReply),
];

const fn own_close(
    file: &'static str,
    node: &'static str,
    link: &'static str,
    reason: CloseReason,
) -> OwnClose {
    OwnClose { file, node, link, reason }
}

#[expect(clippy::too_many_arguments, reason = "a row has that many columns")]
const fn row(
    file: (&'static str, usize),
    node: &'static str,
    peer: &'static str,
    kind: Option<Kind>,
    ms: Range<u64>,
    effect: Effect,
    count: usize,
    why: (Why, &'static str),
) -> Exception {
    Exception { file, node, peer, kind, ms, effect, count, why }
}

/// Recording 14: R has lost a part, and asks again only after 30 s.
const fn eager(kind: Kind, ms: u64, what: Sent, after: Kind, count: usize) -> Exception {
    row(
        ("14", 0),
        "S",
        "R",
        Some(kind),
        ms..ms + 1,
        Effect::Unasked(what, after),
        count,
        (Why::Better, EAGER),
    )
}

impl Exception {
    /// Whether the row is about this part of a recording.
    pub(super) fn is_in(&self, (file, conversation, node): (&str, usize, &str)) -> bool {
        file.starts_with(self.file.0) && self.file.1 == conversation && self.node == node
    }

    /// Whether it is about this message to `peer`, or with `None` about the link.
    pub(super) fn is_about(&self, peer: &str, kind: Option<Kind>, at: u64) -> bool {
        (self.peer == "*" || self.peer == peer) && self.kind == kind && self.ms.contains(&(at / 1_000))
    }
}
