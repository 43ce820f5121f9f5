//! Mail, to a small server of SMTP that the test runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use meshward_fleet::alert::Severity;
use meshward_gateway::notify::{Kind, Mail, Security};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Kit, message};

/// What the server does.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Takes,
    Hangs,
    Nonsense,
    /// No such person, for good.
    Refuses,
    /// Come again.
    Delays,
    /// Wants to know who asks, and does not believe it.
    Distrusts,
}

/// A server of SMTP (RFC 5321), of what is needed.
struct Server {
    address: SocketAddr,
    mails: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, mails) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let kept = mails.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(talk(stream, does, kept.clone()));
            }
        });
        Self { address, mails }
    }

    fn mail(&self) -> Mail {
        Mail {
            server: "127.0.0.1".to_owned(),
            port: self.address.port(),
            security: Security::None,
            user: None,
            password: None,
            ca: None,
            from: "Mesh <mesh@example.org>".to_owned(),
            to: vec!["ops@example.org".to_owned(), "Ann <ann@example.org>".to_owned()],
        }
    }
}

async fn talk(stream: TcpStream, does: Does, mails: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    if does == Does::Hangs {
        return std::future::pending().await;
    }
    let greeting = if does == Does::Nonsense { "\u{0}\u{1} hello?" } else { "220 sink ESMTP" };
    stream.write_all(format!("{greeting}\r\n").as_bytes()).await.unwrap();
    let (mut line, mut letter) = (String::new(), None::<String>);
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(text) = &mut letter {
            if line == ".\r\n" {
                mails.lock().unwrap().extend(letter.take());
                stream.write_all(b"250 2.0.0 queued as 4711\r\n").await.unwrap();
            } else {
                text.push_str(line.strip_prefix('.').unwrap_or(&line));
            }
            continue;
        }
        let verb = line.split([' ', '\r']).next().unwrap().to_ascii_uppercase();
        let answer = match (&*verb, does) {
            ("EHLO", _) => "250-sink\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
            ("AUTH", Does::Distrusts) => "535 5.7.8 who are you",
            ("RCPT", Does::Refuses) => "550 5.1.1 no such person",
            ("RCPT", Does::Delays) => "451 4.7.1 come again",
            ("DATA", _) => {
                letter = Some(String::new());
                "354 go on"
            }
            ("QUIT", _) => "221 bye",
            _ => "250 OK",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_mail_arrives_as_text_and_html() {
    let (kit, server) = (Kit::new().await, Server::start(Does::Takes).await);
    kit.add("mail", Kind::Email(server.mail())).await;
    kit.notifier.accept(vec![message(Severity::Critical, 7)]).await;
    let row = kit.until_ended("mail", |row| row.delivered).await;
    assert!(row.why.contains("queued as 4711"), "{row:?}");
    let mails = server.mails.lock().unwrap().clone();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    for part in [
        "From: Mesh <mesh@example.org>\r\n",
        "To: ops@example.org, Ann <ann@example.org>\r\n",
        "Subject: [critical] home: node_offline: roof (node 7) raised\r\n",
        &format!("Message-ID: <home-{}@example.org>\r\n", row.id),
        "References: <home.node_offline.alerts@example.org>\r\n",
        "Content-Type: text/plain",
        "Content-Type: text/html",
        "its neighbour says so",
        "<table",
    ] {
        assert!(mail.contains(part), "{part} is not in {mail}");
    }
}

#[tokio::test]
async fn servers_that_do_not_take_mail_are_told_apart() {
    let kit = Kit::new().await;
    for (id, does) in [
        ("hangs", Does::Hangs),
        ("nonsense", Does::Nonsense),
        ("refuses", Does::Refuses),
        ("delays", Does::Delays),
        ("distrusts", Does::Distrusts),
    ] {
        let mut mail = Server::start(does).await.mail();
        if does == Does::Distrusts {
            (mail.user, mail.password) = (Some("mesh".to_owned()), Some("hunter22".to_owned()));
        }
        kit.add(id, Kind::Email(mail)).await;
    }
    // The port was free a moment ago.
    let mut nobody = Server::start(Does::Takes).await.mail();
    nobody.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    kit.add("nobody", Kind::Email(nobody)).await;
    kit.notifier.accept(vec![message(Severity::Critical, 7)]).await;
    let dead = kit.until_ended("refuses", |_| true).await;
    assert!(!dead.delivered && dead.why.contains("no such person"), "{dead:?}");
    for (id, why) in [
        ("nobody", "refused"),
        ("nonsense", ""),
        ("delays", "come again"),
        ("distrusts", "who are you"),
        ("hangs", ""),
    ] {
        let rows = kit.until_waiting(id, |rows| rows.iter().any(|row| row.attempts > 0)).await;
        assert!(rows[0].why.contains(why) && !rows[0].why.is_empty(), "{id}: {}", rows[0].why);
        assert!(!rows[0].why.contains("hunter22"));
    }
    kit.notifier.close().await;
}
