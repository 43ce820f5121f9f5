//! Keys, flash files and a database in a folder of their own, and what is started with them: nodes with a real image and
//! the gateways that look after them.

use serde_json::Value;

use crate::program::{Gateway, Running, run, testdata, text};

/// What a chip is given that takes signed updates.
pub(crate) const KEYS: &[&str] = &["author.pub", "operator.pub"];

/// See the module's page.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// With a key of each of these kinds, which is a file of that name.
    pub(crate) fn new(kinds: &[&str]) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        for kind in kinds {
            let made = run(&["firmware", "keygen", "--kind", kind, "-o", &bench.path(kind)]);
            assert!(made.status.success(), "{}", text(&made.stderr));
        }
        bench
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file; its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// Starts a node below the one that listens at `parent`; a chip that is new has 1.4.2 and is given these keys. It,
    /// and where it listens.
    pub(crate) fn node(&self, id: u32, role: &str, parent: Option<&str>, keys: &[&str]) -> (Running, String) {
        let (id, flash, old) = (id.to_string(), self.path(&format!("{id}.flash")), image("1.4.2"));
        let keys: Vec<String> = keys.iter().map(|key| self.path(key)).collect();
        let mut args = vec!["node", "--id", &id, "--listen", "127.0.0.1:0", "--role", role];
        args.extend(["--flash", &flash, "--image", &old]);
        args.extend(parent.iter().flat_map(|parent| ["--connect", *parent]));
        args.extend(keys.iter().flat_map(|key| ["--key", key]));
        let running = Running::start(&args);
        let port = running.port();
        (running, port)
    }
}

/// A node of a [`Mesh`]: its id, its role, below which one before it, with which keys.
pub(crate) type Member<'a> = (u32, &'a str, Option<usize>, &'a [&'a str]);

/// Nodes below the first one, and a gateway's key and database, which outlive it.
pub(crate) struct Mesh {
    pub(crate) bench: Bench,
    pub(crate) nodes: Vec<Running>,
    /// Where the first one listens.
    pub(crate) port: String,
}

impl Mesh {
    pub(crate) fn new(members: &[Member<'_>]) -> Self {
        let bench = Bench::new(&["author", "operator"]);
        let (mut nodes, mut ports) = (Vec::new(), Vec::<String>::new());
        for (id, role, below, keys) in members {
            let (node, port) = bench.node(*id, role, below.map(|place| &*ports[place]), keys);
            nodes.push(node);
            ports.push(port);
        }
        Self { bench, nodes, port: ports.swap_remove(0) }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.bench.path(name)
    }

    /// Starts one.
    pub(crate) fn gateway(&self) -> Gateway {
        let (key, store) = (self.path("operator"), self.path("mesh.db"));
        Gateway::start_with(&self.port, &["--operator-key", &key, "--store", &store, "--learning", "5"])
    }

    /// How often each node has started.
    pub(crate) fn boots(&self) -> Vec<usize> {
        let boot = |line: &String| line.split(": boot ").nth(1)?.split(',').next()?.parse().ok();
        let boots = |running: &Running| running.said_so_far().iter().filter_map(boot).max().unwrap_or(0);
        self.nodes.iter().map(boots).collect()
    }
}

/// A real image.
pub(crate) fn image(version: &str) -> String {
    testdata(&format!("firmware/node-c3-v{version}.bin")).to_str().unwrap().to_owned()
}

/// How many nodes of a roll-out run its image. A trial of these takes a minute.
pub(crate) fn running(rollout: &Value) -> u64 {
    let count = |outcome: &str| rollout["progress"]["counts"][outcome].as_u64().unwrap_or(0);
    count("updated") + count("trial")
}

/// Without warning.
pub(crate) fn kill(gateway: Gateway) {
    gateway.process.signal("KILL");
    assert_eq!(gateway.process.ended(), None, "a signal ended it");
}
