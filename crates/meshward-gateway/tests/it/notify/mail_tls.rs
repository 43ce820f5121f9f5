//! Mail by TLS, from the first byte on and after a greeting, to a server whose certificate the test has made.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use meshward_fleet::alert::Severity;
use meshward_gateway::notify::{Kind, Mail, Security};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Kit, message};

/// A server of SMTP with a certificate for 127.0.0.1. Its threads end with the connections.
struct Server {
    address: SocketAddr,
    certificate: String,
    /// All that was said to it by TLS.
    heard: Arc<Mutex<String>>,
    /// All that was said to it in the clear.
    clear: Arc<Mutex<String>>,
}

impl Server {
    /// `offers`: what it says that it can do after a greeting in the clear; without, it speaks TLS from the start.
    fn start(offers: Option<&'static str>) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.pem();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, clear) = (Arc::<Mutex<String>>::default(), Arc::<Mutex<String>>::default());
        let (kept, open) = (heard.clone(), clear.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, heard, clear) = (config.clone(), kept.clone(), open.clone());
                // Whoever breaks off has not been believed.
                std::thread::spawn(move || drop(serve(stream, offers, &config, &heard, &clear)));
            }
        });
        Self { address, certificate, heard, clear }
    }

    fn mail(&self, security: Security, ca: Option<String>) -> Mail {
        Mail {
            server: "127.0.0.1".to_owned(),
            port: self.address.port(),
            security,
            user: Some("mesh".to_owned()),
            password: Some("hunter22".to_owned()),
            ca,
            from: "mesh@example.org".to_owned(),
            to: vec!["ops@example.org".to_owned()],
        }
    }
}

fn serve(
    mut stream: TcpStream,
    offers: Option<&str>,
    config: &Arc<ServerConfig>,
    heard: &Mutex<String>,
    clear: &Mutex<String>,
) -> std::io::Result<()> {
    let secured = offers.is_some();
    if let Some(offers) = offers {
        stream.write_all(b"220 sink ESMTP\r\n")?;
        talk(&mut stream, offers, clear)?;
    }
    let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    if !secured {
        stream.write_all(b"220 sink ESMTP\r\n")?;
    }
    talk(&mut stream, "AUTH PLAIN", heard)
}

/// One byte after the other, so that nothing behind STARTTLS is taken that belongs to TLS.
fn line(stream: &mut impl Read) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut reader = BufReader::with_capacity(1, stream);
    reader.read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Until STARTTLS, or the end.
fn talk(stream: &mut (impl Read + Write), offers: &str, heard: &Mutex<String>) -> std::io::Result<()> {
    loop {
        let said = line(stream)?;
        heard.lock().unwrap().push_str(&said);
        let verb = said.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase();
        match &*verb {
            "EHLO" => stream.write_all(format!("250-sink\r\n250 {offers}\r\n").as_bytes())?,
            "STARTTLS" => return stream.write_all(b"220 go on\r\n"),
            "AUTH" => stream.write_all(b"235 2.7.0 welcome\r\n")?,
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                loop {
                    let said = line(stream)?;
                    if said == ".\r\n" {
                        break;
                    }
                    heard.lock().unwrap().push_str(&said);
                }
                stream.write_all(b"250 2.0.0 queued as 4712\r\n")?;
            }
            _ => stream.write_all(b"250 OK\r\n")?,
        }
    }
}

#[tokio::test]
async fn a_mail_goes_by_tls_to_a_server_that_is_believed_and_the_password_never_in_the_clear() {
    let kit = Kit::new().await;
    for (id, security, offers) in
        [("tls", Security::Tls, None), ("starttls", Security::Starttls, Some("STARTTLS"))]
    {
        let server = Server::start(offers);
        let ca = Some(server.certificate.clone());
        kit.add(id, Kind::Email(server.mail(security, ca))).await;
        kit.notifier.accept(vec![message(Severity::Critical, 7)]).await;
        let row = kit.until_ended(id, |row| row.delivered).await;
        assert!(row.why.contains("queued as 4712"), "{id}: {row:?}");
        let heard = server.heard.lock().unwrap().clone();
        // AUTH PLAIN has user and password in base64.
        assert!(heard.contains("AUTH PLAIN AG1lc2gAaHVudGVyMjI="), "{id}: {heard}");
        assert!(heard.contains("node_offline"), "{id}: {heard}");
        let clear = server.clear.lock().unwrap().clone();
        assert!(!clear.contains("AUTH") && !clear.contains("MAIL"), "{id}: {clear}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_believed_or_has_no_tls_gets_no_mail_and_no_password() {
    let kit = Kit::new().await;
    let strange = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert.pem();
    let mut servers = Vec::new();
    for (id, security, offers, ca) in [
        ("unknown", Security::Tls, None, None),
        ("strange", Security::Tls, None, Some(strange.clone())),
        ("later", Security::Starttls, Some("STARTTLS"), Some(strange)),
        // It has no TLS to offer: nothing is sent in the clear instead.
        ("without", Security::Starttls, Some("AUTH PLAIN"), None),
    ] {
        let server = Server::start(offers);
        kit.add(id, Kind::Email(server.mail(security, ca))).await;
        servers.push((id, server));
    }
    kit.notifier.accept(vec![message(Severity::Critical, 7)]).await;
    for (id, server) in servers {
        let rows = kit.until_waiting(id, |rows| rows.iter().any(|row| row.attempts > 0)).await;
        assert!(!rows[0].why.is_empty() && !rows[0].why.contains("hunter22"), "{id}: {}", rows[0].why);
        let said = format!("{}{}", server.heard.lock().unwrap(), server.clear.lock().unwrap());
        assert!(!said.contains("AUTH PLAIN") && !said.contains("RCPT"), "{id}: {said}");
    }
    kit.notifier.close().await;
}
