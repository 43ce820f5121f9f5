//! What a node has seen, sent and refused since its start.

/// Counters of one node; all only ever rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes read from links.
    pub bytes_received: u64,
    /// Bytes written to links.
    pub bytes_sent: u64,
    /// Frames read from links.
    pub frames_received: u64,
    /// Frames put into a link's queue, forwarded ones included, once per link.
    pub frames_queued: u64,
    /// Frames passed on for others, once per link.
    pub frames_forwarded: u64,
    /// Frames that were for this node.
    pub frames_delivered: u64,
    /// Frames that no C++ node would read either: dropped.
    pub frames_unreadable: u64,
    /// Frames longer than [`Limits::frame`](super::Limits::frame): their link was closed.
    pub oversize_frames: u64,
    /// Types 4, 5 and 6 that asked to be routed, or did not come from the neighbour itself: dropped.
    pub frames_misrouted: u64,
    /// Readable frames whose fields make no sense: dropped.
    pub packages_malformed: u64,
    /// Singles for nodes that are not in the tree, or only behind the link they came from: dropped.
    pub frames_without_route: u64,
    /// Firmware chunks, and delay probes queued among them, dropped because a queue was full.
    pub chunks_dropped: u64,
    /// Other routed frames dropped because a queue was full.
    pub messages_dropped: u64,
    /// Connections refused because there were too many links.
    pub links_refused: u64,
    /// Links that ended, for whatever reason.
    pub links_closed: u64,
    /// Time answers not given because too many were waiting on one link.
    pub answers_dropped: u64,
    /// Time replies thrown away by the 85× rule.
    pub time_replies_discarded: u64,
    /// Probe answers that nobody had asked for.
    pub probes_unmatched: u64,
    /// Events dropped because nobody polled them.
    pub events_dropped: u64,
}
