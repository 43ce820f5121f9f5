//! Why a node was not updated, in words.

use core::fmt;

use meshward_core::ota::FailReason;

use crate::forecast::Unfit;

/// What a reason's number means, to follow "it says that". Numbers are those of
/// [`Refusal`](meshward_core::ota::trust::Refusal), [`Failure`](meshward_core::ota::receiver::Failure) and
/// [`Ended`](meshward_core::ota::trial::Ended): nodes tell nothing but the number.
pub const fn words(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "a signed message was cut off",
        2 => "a signed message was malformed",
        3 => "a signed message had a format that it does not know",
        4 => "it does not know the key that signed the image or its payload",
        5 => "the key that signed the image or its payload has been revoked there",
        6 => "a key signed what it may not sign",
        7 => "a signature was wrong",
        8 => "the time of the image is over",
        9 => "the image's sequence is not above that of what it runs",
        10 => "the image is for other hardware",
        11 => "the image is for another role",
        12 => "the image does not fit its slot",
        13 => "the image speaks another protocol than it does",
        14 => "the payload is of another image",
        15 => "the payload is a patch of an image that it does not run",
        16 => "the payload does not fit beside the image",
        17 => "the order's counter is not above the last one",
        18 => "the order was for other nodes",
        19 => "its keys cannot be changed so",
        20 => "it cannot keep account of so many chunks, or of chunks of that size",
        21 => "the image is in quarantine there",
        22 => "it was at something else: another update, a trial or a restart",
        23 => "there is no way back",
        24 => "the payload is sealed in a way that it does not know",
        25 => "it does not have the group key that the payload is sealed with",
        26 => "its supply is too weak, or has not been measured",
        27 => "updates are switched off there, by an operator's policy",
        64 => "its flash refused a command",
        65 => "the payload is not the one of its descriptor",
        66 => "the payload does not unpack",
        67 => "the payload makes another image than the manifest's",
        68 => "the image's header names another chip",
        69 => "the image before is not there any more",
        70 => "too many wrong chunks came, and it waits before it looks at more",
        96 => "the image's self-test failed",
        97 => "the image did not come to work in time",
        98 => "the image found no neighbour in time",
        99 => "the image crashed or hung on trial",
        100 => "the power went in each of its trials",
        101 => "it was ordered",
        _ => return None,
    })
}

/// Why a node is not updated, to follow its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing could be sent to it, or need be.
    Unfit(Unfit),
    /// The stock protocol's reason.
    Stock(FailReason),
    /// It is a stock node, and nobody has said that the image takes updates itself.
    Unconfirmed,
    /// It refused the payload, with this reason.
    Refused(u8),
    /// Its update ended, with this reason.
    Ended(u8),
    /// It went back from the image, with this reason; 0 while it may try again.
    Reverted(u8),
    /// It stopped receiving, by an order.
    Paused,
    /// It said nothing, or nothing new, for too long.
    Silent,
    /// It was ordered to start the image, again and again, and did not.
    Disobeyed,
    /// It left to start the image and did not come back.
    DidNotReturn,
    /// What was said of it before the gateway restarted.
    Recorded(String),
    /// It came back, and does not say that it runs the image.
    Unproven,
    /// The operator ended the roll-out.
    Aborted,
    /// The roll-out could not be started for it.
    NotStarted(String),
    /// The roll-out of this number has it.
    Elsewhere(u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |f: &mut fmt::Formatter<'_>, what: &str, code: u8| match words(code) {
            Some(words) => write!(f, "{what}: {words} (reason {code})"),
            None if code == 0 => f.write_str(what),
            None => write!(f, "{what}, for a reason that this version does not know ({code})"),
        };
        match self {
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Stock(reason) => reason.fmt(f),
            Self::Unconfirmed => f.write_str(
                "is a stock node, and nobody has said that the image takes updates itself: --confirm-receiver says it",
            ),
            Self::Refused(code) => told(f, "refused the payload", *code),
            Self::Ended(code) => told(f, "gave the update up", *code),
            Self::Reverted(code) => told(f, "went back from the image", *code),
            Self::Paused => f.write_str("stopped receiving: somebody ordered so"),
            Self::Silent => f.write_str("has said nothing new for too long"),
            Self::Disobeyed => f.write_str("has the image and does not obey the order to start it"),
            Self::DidNotReturn => f.write_str(
                "left to start the image and did not come back in 5 minutes; one that cannot join goes back by itself \
                 after 15",
            ),
            Self::Recorded(words) => f.write_str(words),
            Self::Unproven => f.write_str("came back and does not say that it runs the image"),
            Self::Aborted => f.write_str("the roll-out was aborted"),
            Self::Elsewhere(id) => write!(f, "is in roll-out {id}, which is under way"),
            Self::NotStarted(why) => write!(f, "the roll-out could not be started: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::codec::CodecError;
    use meshward_core::ota::receiver::Failure;
    use meshward_core::ota::trial::{Ended, TrialFailure};
    use meshward_core::ota::trust::Refusal;

    #[test]
    fn every_reason_has_words() {
        let known: Vec<u8> = (1..=u8::MAX).filter(|code| words(*code).is_some()).collect();
        let all: Vec<u8> = (1..=27).chain(64..=70).chain(96..=101).collect();
        assert_eq!(known, all);
        // The words are those of what the numbers stand for.
        for (code, needle) in [
            (Refusal::SwitchedOff.code(), "switched off"),
            (Refusal::Role.code(), "another role"),
            (Refusal::Occupied.code(), "something else"),
            (Failure::NoPrevious.code(), "the image before"),
            (Failure::Codec(CodecError::Sizes).code(), "unpack"),
            (Ended::Failed(TrialFailure::Alone).code(), "no neighbour"),
            (Ended::Ordered.code(), "ordered"),
        ] {
            assert!(words(code).unwrap().contains(needle), "{code}");
        }
    }

    #[test]
    fn a_reason_is_said_with_its_number() {
        let check = |why: Why, expected: &str| assert_eq!(why.to_string(), expected);
        check(Why::Refused(11), "refused the payload: the image is for another role (reason 11)");
        check(Why::Reverted(0), "went back from the image");
        check(Why::Ended(200), "gave the update up, for a reason that this version does not know (200)");
        check(Why::Stock(FailReason::Absent), "is not in the mesh");
    }
}
