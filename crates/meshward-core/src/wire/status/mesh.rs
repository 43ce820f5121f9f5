//! What a node says of the mesh (types 600 to 603), and what bridges say to it (610 to 614, 620 to 622).
//!
//! The library itself sends 610 to 613 not as packages but as text in messages of types 8 and 9; it is read
//! alike. Sources as in [`node`](super::node), and `gateway.hpp`, `plugin.hpp` and `arduino/wifi.hpp`.

use super::field::{List, Text, record};

/// Most nodes of a [`NodeList`], as in C++.
pub const NODES_MAX: usize = 50;
/// Most connections of a [`Topology`], as in C++.
pub const CONNECTIONS_MAX: usize = 100;
/// Most alerts of an [`Alerts`], as in C++.
pub const ALERTS_MAX: usize = 20;
/// Most peers of a [`Coordination`].
pub const PEERS_MAX: usize = 32;
/// Bytes kept of what a [`Bridged`] or a [`GatewayData`] carries.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024;

record! {
    /// Type 600: the nodes that one node sees.
    NodeList {
        /// The nodes.
        nodes: List<ListedNode, NODES_MAX> = "nodes",
        /// How many.
        count: u8 = "nodeCount",
        /// Which mesh.
        mesh_id: Text = "meshId",
        /// 600.
        message_type: u16 = "message_type",
    }
}

record! {
    /// One node of a [`NodeList`].
    ListedNode {
        /// Its id.
        node: u32 = "nodeId",
        /// 0 off line, 1 on line, 2 unreachable.
        status: u8 = "status",
        /// Civil time, s.
        last_seen: u32 = "lastSeen",
        /// dBm.
        rssi: i8 = "rssi",
    }
}

record! {
    /// Type 601: the links that one node sees.
    Topology {
        /// The links.
        connections: List<Connection, CONNECTIONS_MAX> = "connections",
        /// How many.
        count: u8 = "totalConnections",
        /// The root.
        root: u32 = "rootNode",
        /// 601.
        message_type: u16 = "message_type",
    }
}

record! {
    /// One link of a [`Topology`].
    Connection {
        /// One end.
        from: u32 = "from",
        /// The other.
        to: u32 = "to",
        /// 0 to 1; others say 0 to 100.
        quality: f64 = "quality",
        /// ms.
        latency_ms: u16 = "latency",
        /// How long the way is.
        hops: u8 = "hops",
    }
}

record! {
    /// Type 602: what a node complains of.
    Alerts {
        /// The complaints.
        alerts: List<Alert, ALERTS_MAX> = "alerts",
        /// How many.
        count: u8 = "alertCount",
        /// 602.
        message_type: u16 = "message_type",
    }
}

record! {
    /// One complaint of [`Alerts`].
    Alert {
        /// 0 low memory, 1 node off line, 2 connection lost, and others.
        kind: u8 = "type",
        /// 0 information, 1 warning, 2 critical.
        severity: u8 = "severity",
        /// In words.
        message: Text = "msg",
        /// The node that it is about.
        node: u32 = "nodeId",
        /// What was measured.
        value: f64 = "value",
        /// What it should have stayed on the right side of.
        threshold: f64 = "threshold",
        /// Its number.
        id: u32 = "alertId",
    }
}

record! {
    /// Type 603: a message of some mesh, wrapped.
    Bridged {
        /// 0 painlessMesh, 1 ESP-NOW, 2 Bluetooth mesh, and others.
        protocol: u8 = "protocol",
        /// Who sent it there.
        from_node: u32 = "fromNode",
        /// For whom it was; 0 for all.
        to_node: u32 = "toNode",
        /// Its type there.
        mesh_type: u16 = "meshType",
        /// What it was, in hexadecimal or base64.
        payload: Text<PAYLOAD_BYTES_MAX> = "payload",
        /// dBm.
        rssi: i8 = "rssi",
        /// How long its way was.
        hops: u8 = "hops",
        /// By that mesh's clock.
        mesh_time: u32 = "meshTs",
        /// The node between.
        gateway: u32 = "gateway",
        /// Which mesh.
        mesh_id: Text = "meshId",
        /// 603.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Type 610: a bridge tells how it fares, every 30 s; it is gone when nothing came for 60 s.
    BridgeStatus {
        /// Whether it reaches the Internet.
        internet: bool = "internetConnected",
        /// How it hears its router, dBm.
        router_rssi: i8 = "routerRSSI",
        /// The router's channel.
        router_channel: u8 = "routerChannel",
        /// Since the last reset, in **ms**; wraps every 49.7 days.
        uptime_ms: u32 = "uptime",
        /// Its gateway's address.
        gateway_ip: Text = "gatewayIP",
        /// Node time, µs.
        timestamp: u32 = "timestamp",
        /// 610.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Type 611: a node that would be the bridge.
    Election {
        /// How it hears the router, dBm.
        router_rssi: i8 = "routerRSSI",
        /// Since the last reset, ms.
        uptime_ms: u32 = "uptime",
        /// Free heap, bytes.
        free_memory: u32 = "freeMemory",
        /// Node time, µs.
        timestamp: u32 = "timestamp",
        /// The router's name.
        router_ssid: Text = "routerSSID",
        /// 611.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Type 612: the sender is the bridge now.
    Takeover {
        /// Who was; 0 for nobody.
        previous: u32 = "previousBridge",
        /// In words.
        reason: Text = "reason",
        /// How it hears the router, dBm; the library says 0, because it has not joined yet.
        router_rssi: i8 = "routerRSSI",
        /// Node time, µs.
        timestamp: u32 = "timestamp",
        /// 612.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Type 613: bridges among themselves. In the order of the library's own text.
    Coordination {
        /// 10 highest, 1 lowest.
        priority: u8 = "priority",
        /// `primary`, `secondary` or `standby`.
        role: Text = "role",
        /// %, nodes per possible links.
        load: u8 = "load",
        /// Node time, µs.
        timestamp: u32 = "timestamp",
        /// 613; the package class has none.
        message_type: u16 = "message_type",
        /// The other bridges that it knows.
        peers: List<u32, PEERS_MAX> = "peerBridges",
    }
}

record! {
    /// Type 614: civil time from a bridge.
    NtpTime {
        /// Civil time, s.
        time: u32 = "ntpTime",
        /// By how much it may be wrong, ms.
        accuracy_ms: u16 = "accuracy",
        /// The server.
        source: Text = "source",
        /// When it was asked, of a clock that nobody names.
        timestamp: u32 = "timestamp",
        /// 614.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Type 620: something for the Internet.
    GatewayData {
        /// The sender's low 16 bits and a counter of 16 bits.
        id: u32 = "msgId",
        /// Who wrote it.
        origin: u32 = "origin",
        /// Node time, µs.
        timestamp: u32 = "ts",
        /// 0 critical, 1 high, 2 normal, 3 low.
        priority: u8 = "prio",
        /// Where to.
        destination: Text = "dest_url",
        /// What.
        payload: Text<PAYLOAD_BYTES_MAX> = "payload",
        /// Its MIME type.
        content_type: Text = "content",
        /// How often it was passed on.
        retries: u8 = "retry",
        /// Whether a [`GatewayAck`] is wanted.
        wants_ack: bool = "ack",
    }
}

record! {
    /// Type 621: what has become of a [`GatewayData`].
    GatewayAck {
        /// Of that message.
        id: u32 = "msgId",
        /// Who wrote it.
        origin: u32 = "origin",
        /// Whether it arrived.
        success: bool = "success",
        /// The HTTP status; 0 for none.
        http: u16 = "http",
        /// What went wrong, in words.
        error: Text = "err",
        /// Node time, µs.
        timestamp: u32 = "ts",
    }
}

record! {
    /// Type 622: a gateway is there. The library has the number and no fields.
    GatewayHeartbeat {
        /// 622, if anything.
        message_type: u16 = "message_type",
    }
}
