//! Alerts and windows of the fleet, as their rows.

use meshward_core::wire::NodeId;
use meshward_fleet::alert::{Fingerprint, Matcher, Purpose, Severity, State};
use meshward_fleet::condition::Subject;
use meshward_fleet::memory::{AlertMemory, CommentMemory, MeshMemory, Stamp, WindowMemory};
use serde::{Deserialize, Serialize};

use super::RowError;

/// The column `state` of an alert. Times in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Alert {
    rule: String,
    /// Nobody is the mesh, one is a node, two a link.
    subject: Vec<u32>,
    severity: String,
    state: String,
    since: u64,
    raised: Option<u64>,
    times: u32,
    value: Option<f64>,
    evidence: String,
    at: u64,
    known_by: Option<String>,
    assigned: Option<String>,
    /// When, who, what.
    comments: Vec<(u64, String, String)>,
    flapping: bool,
    changes: Vec<u64>,
    news: bool,
    told: bool,
    muted: bool,
}

/// The body of a window. Times in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Window {
    purpose: String,
    /// Field, value, whether it is to be equal.
    matchers: Vec<(String, String, bool)>,
    nodes: Vec<u32>,
    from: u64,
    until: u64,
    by: String,
    why: String,
}

/// Numbers that go on counting.
#[derive(Serialize, Deserialize)]
struct Mesh {
    policies: u8,
    incidents: u64,
    notifications: u64,
    windows: u32,
}

/// The state of an alert, to be written.
pub(super) fn written(kept: &AlertMemory) -> Result<String, RowError> {
    let subject = match kept.subject {
        Subject::Mesh => Vec::new(),
        Subject::Node(node) => vec![node.0],
        Subject::Link(one, other) => vec![one.0, other.0],
    };
    let comment = |comment: &CommentMemory| (comment.at.0, comment.by.clone(), comment.text.clone());
    Ok(serde_json::to_string(&Alert {
        rule: kept.rule.clone(),
        subject,
        severity: kept.severity.name().to_owned(),
        state: kept.state.name().to_owned(),
        since: kept.since.0,
        raised: kept.raised.map(|at| at.0),
        times: kept.times,
        value: kept.value.filter(|value| value.is_finite()),
        evidence: kept.evidence.clone(),
        at: kept.at.0,
        known_by: kept.known_by.clone(),
        assigned: kept.assigned.clone(),
        comments: kept.comments.iter().map(comment).collect(),
        flapping: kept.flapping,
        changes: kept.changes.iter().map(|at| at.0).collect(),
        news: kept.news,
        told: kept.told,
        muted: kept.muted,
    })?)
}

/// The alert of that fingerprint, from its state.
pub(super) fn read(fingerprint: &str, state: &str) -> Result<AlertMemory, RowError> {
    let alert: Alert = serde_json::from_str(state)?;
    let unknown = |what: &str| RowError::Unknown(what.to_owned());
    let subject = match alert.subject[..] {
        [] => Subject::Mesh,
        [node] => Subject::Node(NodeId(node)),
        [one, other] => Subject::link(NodeId(one), NodeId(other)),
        _ => return Err(unknown("a subject of more than two nodes")),
    };
    let number = u64::from_str_radix(fingerprint, 16).map_err(|_| unknown(fingerprint))?;
    let comment = |(at, by, text)| CommentMemory { at: Stamp(at), by, text };
    Ok(AlertMemory {
        fingerprint: Fingerprint(number),
        rule: alert.rule,
        subject,
        severity: Severity::named(&alert.severity).ok_or_else(|| unknown(&alert.severity))?,
        state: State::named(&alert.state).ok_or_else(|| unknown(&alert.state))?,
        since: Stamp(alert.since),
        raised: alert.raised.map(Stamp),
        times: alert.times,
        value: alert.value,
        evidence: alert.evidence,
        at: Stamp(alert.at),
        known_by: alert.known_by,
        assigned: alert.assigned,
        comments: alert.comments.into_iter().map(comment).collect(),
        flapping: alert.flapping,
        changes: alert.changes.into_iter().map(Stamp).collect(),
        news: alert.news,
        told: alert.told,
        muted: alert.muted,
    })
}

/// A window, to be written.
pub(super) fn written_window(kept: &WindowMemory) -> Result<String, RowError> {
    let matcher = |one: &Matcher| (one.field.clone(), one.value.clone(), one.equal);
    Ok(serde_json::to_string(&Window {
        purpose: kept.purpose.name().to_owned(),
        matchers: kept.matchers.iter().map(matcher).collect(),
        nodes: kept.nodes.iter().map(|node| node.0).collect(),
        from: kept.from.0,
        until: kept.until.0,
        by: kept.by.clone(),
        why: kept.why.clone(),
    })?)
}

/// The window of that number.
pub(super) fn read_window(number: &str, body: &str) -> Result<WindowMemory, RowError> {
    let window: Window = serde_json::from_str(body)?;
    let unknown = |what: &str| RowError::Unknown(what.to_owned());
    let matcher = |(field, value, equal)| Matcher { field, value, equal };
    Ok(WindowMemory {
        number: number.parse().map_err(|_| unknown(number))?,
        purpose: Purpose::named(&window.purpose).ok_or_else(|| unknown(&window.purpose))?,
        matchers: window.matchers.into_iter().map(matcher).collect(),
        nodes: window.nodes.into_iter().map(NodeId).collect(),
        from: Stamp(window.from),
        until: Stamp(window.until),
        by: window.by,
        why: window.why,
    })
}

/// The fleet's numbers, to be written.
pub(super) fn written_mesh(kept: MeshMemory) -> Result<String, RowError> {
    let MeshMemory { policies, incidents, notifications, windows } = kept;
    Ok(serde_json::to_string(&Mesh { policies, incidents, notifications, windows })?)
}

/// The fleet's numbers.
pub(super) fn read_mesh(text: &str) -> Result<MeshMemory, RowError> {
    let Mesh { policies, incidents, notifications, windows } = serde_json::from_str(text)?;
    Ok(MeshMemory { policies, incidents, notifications, windows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_go_there_and_back() {
        let alert = AlertMemory {
            fingerprint: Fingerprint(0x0123_4567_89AB_CDEF),
            rule: "node_offline".to_owned(),
            subject: Subject::Mesh,
            severity: Severity::Critical,
            state: State::ActiveAck,
            since: Stamp(1),
            raised: Some(Stamp(2)),
            times: 3,
            value: Some(0.25),
            evidence: "is \"gone\"".to_owned(),
            at: Stamp(4),
            known_by: Some("ann".to_owned()),
            assigned: Some("bob".to_owned()),
            comments: vec![CommentMemory { at: Stamp(5), by: "ann".to_owned(), text: "on it".to_owned() }],
            flapping: true,
            changes: vec![Stamp(6), Stamp(7)],
            news: true,
            told: true,
            muted: true,
        };
        let (one, other) = (NodeId(1), NodeId(u32::MAX));
        for subject in [Subject::Mesh, Subject::Node(one), Subject::link(one, other)] {
            let kept = AlertMemory { subject, ..alert.clone() };
            let back = read(&kept.fingerprint.to_string(), &written(&kept).unwrap()).unwrap();
            assert_eq!(back, kept);
        }
        for bad in ["", "{}", "7"] {
            assert!(read("0123456789abcdef", bad).is_err() && read_window("1", bad).is_err(), "{bad}");
        }
        assert!(read("x", &written(&alert).unwrap()).is_err());
    }

    #[test]
    fn windows_and_numbers_go_there_and_back() {
        let kept = WindowMemory {
            number: 9,
            purpose: Purpose::Maintenance,
            matchers: vec![Matcher { field: "rule".to_owned(), value: "a".to_owned(), equal: false }],
            nodes: [NodeId(3)].into(),
            from: Stamp(1),
            until: Stamp(2),
            by: "ann".to_owned(),
            why: "roof".to_owned(),
        };
        assert_eq!(read_window("9", &written_window(&kept).unwrap()).unwrap(), kept);
        let mesh = MeshMemory { policies: 1, incidents: 2, notifications: 3, windows: 4 };
        assert_eq!(read_mesh(&written_mesh(mesh).unwrap()).unwrap(), mesh);
    }
}
