//! Brokers that speak TLS and want to know who comes: Debian's Mosquitto, in both versions of the protocol.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meshward_gateway::mqtt::{Broker, Tls, Version, probe};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Longest that the broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

struct Mosquitto(Child);

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A broker with this certificate, which wants one of the same issuer.
fn start(folder: &Path) -> (Mosquitto, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\ncafile {}\ncertfile {}\nkeyfile {}\n\
         require_certificate true\n",
        path("ca.pem"),
        path("server.pem"),
        path("server.key")
    );
    std::fs::write(folder.join("mosquitto.conf"), config).unwrap();
    // Debian keeps it out of the way of ordinary users.
    let usual = "/usr/sbin/mosquitto";
    let mut command = Command::new(if Path::new(usual).exists() { usual } else { "mosquitto" });
    command.arg("-c").arg(folder.join("mosquitto.conf")).stdout(Stdio::null()).stderr(Stdio::null());
    let broker = Mosquitto(command.spawn().expect("mosquitto is installed: apt-get install mosquitto"));
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "the broker listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    (broker, port)
}

/// An issuer, and certificates of it for the broker and for us.
fn certificates(folder: &Path) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Of the same name as its issuer a certificate would be taken for one that vouches for itself.
    params.distinguished_name.push(DnType::CommonName, "issuer");
    write("ca.pem", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    for (name, host) in [("server", "localhost"), ("client", "gateway")] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

#[tokio::test]
async fn a_broker_is_believed_by_its_certificate_and_believes_ours() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(folder.path());
    certificates(other.path());
    // Mosquitto becomes another user when it is started by root.
    for file in std::fs::read_dir(folder.path()).unwrap().map_while(Result::ok) {
        std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    }
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (_broker, port) = start(folder.path());
    let of = |folder: &Path, name: &str| folder.join(name);
    let pair = |folder: &Path| Some((of(folder, "client.pem"), of(folder, "client.key")));
    let (own, strange) = (folder.path(), other.path());
    for version in [Version::V4, Version::V5] {
        let broker = |tls: Option<Tls>| Broker {
            host: "localhost".to_owned(),
            port,
            version,
            client_id: "gateway".to_owned(),
            user: None,
            password: None,
            tls,
            keep_alive_s: 30,
        };
        let tls = |ca: &Path, client| Some(Tls { ca: Some(of(ca, "ca.pem")), client });
        probe(&broker(tls(own, pair(own)))).await.unwrap();
        for (what, tls) in [
            ("without TLS", None),
            ("whom we don't believe", tls(strange, pair(own))),
            ("who does not know us", tls(own, pair(strange))),
            ("without a certificate", tls(own, None)),
            ("without knowing whom to believe", Some(Tls { ca: None, client: pair(own) })),
            ("without a file", tls(&own.join("nowhere"), None)),
        ] {
            let error = probe(&broker(tls)).await.expect_err(what);
            assert!(!error.to_string().is_empty(), "{what}");
        }
    }
}
