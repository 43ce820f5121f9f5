//! The gateway under a service manager: it says when it is ready, that it lives, that it stops; it reads its
//! configuration again when it is told to, and ends in time.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::configuration::file;
use crate::program::{Gateway, PATIENCE, Running, meshward};

/// A service manager's end of the conversation.
struct Manager(UnixDatagram);

impl Manager {
    fn new(folder: &Path) -> Self {
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next message with this in it; all that came before is skipped.
    fn hears(&self, needle: &str) -> String {
        let mut buffer = [0; 4_096];
        loop {
            let length = self.0.recv(&mut buffer).unwrap_or_else(|_| panic!("nobody said {needle}"));
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.contains(needle) {
                return said;
            }
        }
    }
}

/// A gateway below this manager, with a node that it reaches.
fn managed(folder: &Path, more: &str) -> (Manager, Running, Gateway) {
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let content = format!("[mesh]\npeers = [\"{}\"]\n[http]\nlisten = \"127.0.0.1:0\"\n{more}", node.port());
    let path = file(folder, &content);
    let manager = Manager::new(folder);
    let mut command = meshward(&["gateway", "--config", path.to_str().unwrap()]);
    command.env("NOTIFY_SOCKET", folder.join("notify")).env("WATCHDOG_USEC", "300000");
    (manager, node, Gateway::greeted(Running::spawn(command)))
}

#[test]
fn a_service_manager_hears_how_the_gateway_is() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, _node, gateway) = managed(folder.path(), "");
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=gateway ") && ready.contains(&gateway.url), "{ready}");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    gateway.process.signal("TERM");
    manager.hears("STOPPING=1");
    assert_eq!(gateway.process.ended(), Some(0));
}

#[test]
fn a_reload_takes_up_what_is_safe_and_names_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, _node, gateway) = managed(folder.path(), "[status]\nbudget_percent = 2\n");
    gateway.sees(1);
    let path = folder.path().join("meshward.toml");
    let before = std::fs::read_to_string(&path).unwrap();
    let reload = |content: &str| {
        std::fs::write(&path, content).unwrap();
        gateway.process.signal("HUP");
        assert!(manager.hears("RELOADING=1").contains("MONOTONIC_USEC="));
        manager.hears("READY=1");
        gateway.json(&["status"])["overhead"].clone()
    };
    // One with a mistake changes nothing.
    let overhead = reload(&before.replace("budget_percent = 2", "budget_percent = 5\nnonsense = 1"));
    assert_eq!((&overhead["budget_percent"], &overhead["period_seconds"]), (&2.0.into(), &30.0.into()));
    gateway.process.logs("nothing is changed: the configuration cannot be used");
    let live = "budget_percent = 5\nquery_interval = 20\n[log]\nlevel = \"debug\"";
    let overhead = reload(&before.replace("budget_percent = 2", live));
    assert_eq!((&overhead["budget_percent"], &overhead["period_seconds"]), (&5.0.into(), &20.0.into()));
    gateway.process.logs("what holds now");
    reload(&before.replace("[http]", "name = \"other\"\n[http]"));
    gateway.process.logs("has changed: that takes effect when the gateway is started again");
    assert_eq!(gateway.process.terminate(), Some(0));
}

#[test]
fn whoever_holds_a_request_open_does_not_hold_up_the_end() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let (_manager, _node, gateway) = managed(folder.path(), "[service]\nstop_timeout = 1\n");
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut open = std::net::TcpStream::connect(address).unwrap();
    // A body that never comes.
    let head = format!("POST /api/v1/firmware HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000\r\n");
    write!(open, "{head}Expect: 100-continue\r\nAuthorization: Bearer {}\r\n\r\n", gateway.token()).unwrap();
    // It is asked for the body when the request has been taken up.
    let mut answer = [0; 12];
    open.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    open.write_all(b"x").unwrap();
    let begun = std::time::Instant::now();
    gateway.process.signal("TERM");
    gateway.process.logs("they are cut off");
    assert_eq!(gateway.process.ended(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
