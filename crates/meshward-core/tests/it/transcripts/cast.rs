//! Who plays in which recording, and what each real node was told at its birth.

/// One recorded scenario.
#[derive(Debug)]
pub(super) struct Scenario {
    /// The file's name.
    pub(super) file: &'static str,
    /// The real nodes in it; all others are hand-made peers.
    pub(super) nodes: &'static [Cast],
    /// What the proxy added to the way of every message after it had noted it, in microseconds.
    pub(super) delay: u64,
    /// How many messages of the real nodes our node sends the same.
    pub(super) compared: usize,
}

/// One real node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// Its id.
    pub(super) id: u32,
    /// What makes it special.
    pub(super) gift: Gift,
}

/// What a node is besides an ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gift {
    /// Nothing.
    None,
    /// The root of the mesh.
    Root,
    /// A time authority.
    Authority,
    /// It takes firmware for the role `sensor`.
    Receiver,
}

const A: Cast = cast("A", 2_748_091_201);
const B: Cast = cast("B", 1_093_410_022);
const C: Cast = cast("C", 3_662_815_033);
const D: Cast = cast("D", 840_127_744);
const E: Cast = cast("E", 2_210_998_855);
const SENDER: Cast = cast("S", A.id);
const RELAY: Cast = cast("M", B.id);
const RECEIVER: Cast = cast("R", C.id).with(Gift::Receiver);

const fn cast(name: &'static str, id: u32) -> Cast {
    Cast { name, id, gift: Gift::None }
}

impl Cast {
    const fn with(self, gift: Gift) -> Self {
        Self { gift, ..self }
    }
}

const fn scenario(file: &'static str, nodes: &'static [Cast], compared: usize) -> Scenario {
    Scenario { file, nodes, delay: 0, compared }
}

/// The scenarios, and how many messages are compared in each.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("01_sync_two_nodes", &[A, B], 4),
    scenario("02_idle_two_nodes_200s", &[A, B], 42),
    scenario("03_chain5_join_one_by_one", &[A, B, C, D, E], 42),
    scenario("04_chain5_rooted_at_A", &[A.with(Gift::Root), B, C, D, E], 46),
    scenario("05_chain5_root_joins_last_E", &[A, B, C, D, E.with(Gift::Root)], 46),
    scenario("06_time_sync_chain3", &[A, B, C], 20),
    scenario("07_time_authority_flag", &[A.with(Gift::Authority), B, C], 46),
    scenario("08_time_delay_two_hops", &[A, B, C], 28),
    scenario("09_user_messages_chain3", &[A, B, C], 106),
    scenario("10_ota_unicast_two_hops", &[SENDER, RELAY, RECEIVER], 34),
    scenario("14_ota_unicast_data_lost_retry_30s", &[SENDER, RECEIVER], 20),
    scenario("18_disconnect_reconnect_chain4", &[A, B, C, D], 68),
    scenario("19_frozen_peer_node_timeout", &[A, B, C], 26),
    scenario("20_duplicate_and_loop_refused", &[A, B, C], 21),
    scenario("21_star4_unrooted", &[A, B, C, D], 20),
    scenario("22_probes_forwarding_and_odd_input", &[B], 67),
    scenario("23_probe_time_reply_t1_equals_t2", &[cast("B", 1_000)], 22),
    Scenario { delay: 5_000, ..scenario("26_time_sync_over_5ms_link", &[A, B], 84) },
];

/// The scenario in `file`, by its number.
pub(super) fn scenario_numbered(number: &str) -> &'static Scenario {
    let found = SCENARIOS.iter().find(|scenario| scenario.file.starts_with(number));
    found.unwrap_or_else(|| panic!("no scenario {number}"))
}
