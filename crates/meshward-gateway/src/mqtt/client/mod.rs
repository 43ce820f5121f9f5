//! A connection to a broker, in either version of the protocol, behind one small trait.
//!
//! One connection is one [`Connection`]: when it is lost it is thrown away, and what was under way with it is known by
//! the [`Notice`]s that never came. Each has a task of its own that reads and writes, so that nothing of ours is ever
//! cancelled in the middle of a packet. It decides nothing.

mod v4;
mod v5;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::message::{Incoming, Message};
use super::settings::{Broker, Tls, Version};

/// What comes from a connection and waits.
const WAITING_MAX: usize = 64;
/// Requests that a connection takes before it has written them.
const REQUESTS_MAX: usize = 128;
/// So long a broker may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest packet that a broker of version 5 is to send us, in bytes.
const PACKET_MAX: u32 = 1024 * 1024;
/// The same of 3.1.1, which cannot be told: longer ones end the connection.
const PACKET_MAX_V4: usize = 16 * 1024 * 1024;
/// Longest packet of ours, in bytes: what the protocol can say.
const OUTGOING_MAX: usize = 268_435_455;
/// So long a broker keeps what is sent to us while we are away, in seconds.
const SESSION_S: u32 = 3_600;

/// Why there is no connection to be had.
#[derive(Debug, Error)]
pub enum Problem {
    /// A file for TLS cannot be read.
    #[error("cannot read {what} from {}", .path.display())]
    File {
        /// What was to be read.
        what: &'static str,
        /// From where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// This machine's own list of certificates, or ours, is of no use.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// A certificate of ours needs to be told whom to believe.
    #[error(
        "a client certificate (mqtt.certificate) needs mqtt.ca as well: the certificates of those whom we believe"
    )]
    NoCa,
    /// What the broker was to be told makes no sense.
    #[error("the broker cannot be spoken to like this: {0}")]
    Options(String),
    /// It is not there, or refuses.
    #[error("{0}")]
    Refused(String),
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) why: String,
    /// The broker holds a packet that we cannot take: only without its memory we get on.
    pub(crate) poisoned: bool,
    /// Somebody else has our name.
    pub(crate) taken_over: bool,
}

/// What comes from a connection.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    /// The broker has let us in.
    Up {
        /// Longest packet that it takes, in bytes.
        packet_max: Option<u32>,
        /// Whether it keeps messages.
        keeps: bool,
    },
    /// A message.
    Message(Incoming),
    /// The end.
    Lost(Lost),
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The broker has it.
    Taken,
    /// It does not want it.
    Refused(String),
    /// Nobody knows, and the connection is gone.
    Unknown,
}

/// Comes when it is known what became of a message.
pub(crate) type Notice = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// There is no room for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// See the module's page.
pub(crate) trait Client: Send {
    /// Hands a message over.
    fn publish(&mut self, message: &Message) -> Result<Notice, NoRoom>;
    /// Listens to these, with what the broker has kept there.
    fn subscribe(&mut self, filters: &[String]) -> Result<(), NoRoom>;
    /// Listens to these no more.
    fn unsubscribe(&mut self, filters: &[String]) -> Result<(), NoRoom>;
    /// Says good-bye: the will is not to be said.
    fn leave(&mut self);
}

/// A connection that is being made, is there, or is lost.
pub(crate) struct Connection {
    pub(crate) client: Box<dyn Client>,
    pub(crate) happened: mpsc::Receiver<Happened>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How TLS is spoken, read from its files.
#[derive(Clone)]
pub(crate) enum Secure {
    No,
    /// As this machine believes.
    System,
    /// Whom we believe, and who we are.
    Files {
        ca: Vec<u8>,
        client: Option<(Vec<u8>, Vec<u8>)>,
    },
}

impl Secure {
    /// Reads the files.
    pub(crate) fn read(tls: Option<&Tls>) -> Result<Self, Problem> {
        let Some(tls) = tls else { return Ok(Self::No) };
        let read = |what, path: &Path| {
            std::fs::read(path).map_err(|source| Problem::File { what, path: path.to_owned(), source })
        };
        match (&tls.ca, &tls.client) {
            (None, None) => Ok(Self::System),
            (None, Some(_)) => Err(Problem::NoCa),
            (Some(ca), client) => {
                let client = client.as_ref().map(|(certificate, key)| {
                    Ok((read("our certificate", certificate)?, read("our certificate's key", key)?))
                });
                Ok(Self::Files { ca: read("certificates", ca)?, client: client.transpose()? })
            }
        }
    }
}

/// What both versions' event loops come to.
pub(crate) trait Reads: Send + 'static {
    /// The next thing, if it is one for us.
    fn next(&mut self) -> impl Future<Output = Result<Option<Happened>, Lost>> + Send;
}

/// Reads and writes until the connection is lost.
async fn drive(mut events: impl Reads, happened: mpsc::Sender<Happened>) {
    loop {
        let told = match events.next().await {
            Ok(None) => continue,
            Ok(Some(told)) => told,
            Err(lost) => Happened::Lost(lost),
        };
        let over = matches!(told, Happened::Lost(_));
        if happened.send(told).await.is_err() || over {
            return;
        }
    }
}

/// A connection of a client and what it reads.
fn begin(client: impl Client + 'static, events: impl Reads) -> Connection {
    let (sender, happened) = mpsc::channel(WAITING_MAX);
    let task = tokio::spawn(drive(events, sender));
    Connection { client: Box::new(client), happened, task }
}

/// What the two crates have in common but for their types, which have only names in common. Whoever uses it has
/// `heard`, which makes something of a packet, and `lost`, which makes something of an error.
macro_rules! twin {
    ($rumqttc:ident) => {
        const fn qos(qos: Qos) -> QoS {
            match qos {
                Qos::AtMostOnce => QoS::AtMostOnce,
                Qos::AtLeastOnce => QoS::AtLeastOnce,
            }
        }

        /// Who we are, and how it is kept from others.
        fn introduce(
            options: &mut $rumqttc::MqttOptions,
            broker: &Broker,
            secure: &Secure,
        ) -> Result<(), Problem> {
            use $rumqttc::{TlsConfiguration, Transport};
            options.set_keep_alive(broker.keep_alive_s);
            match (&broker.user, &broker.password) {
                (Some(user), Some(password)) => {
                    options.set_credentials(&**user, password.clone().into_bytes());
                }
                (Some(user), None) => {
                    options.set_username(&**user);
                }
                (None, _) => {}
            }
            match secure {
                Secure::No => {}
                Secure::System => {
                    let tls = TlsConfiguration::try_default_rustls();
                    let tls = tls.map_err(|error| Problem::Tls(chain(&error)))?;
                    options.set_transport(Transport::tls_with_config(tls));
                }
                Secure::Files { ca, client } => {
                    options.set_transport(Transport::tls(ca.clone(), client.clone(), None));
                }
            }
            Ok(())
        }

        /// A client that has not connected yet, and what will read for it.
        fn open(
            options: $rumqttc::MqttOptions,
        ) -> Result<($rumqttc::AsyncClient, $rumqttc::EventLoop), Problem> {
            let built = $rumqttc::AsyncClient::builder(options).capacity(REQUESTS_MAX).try_build();
            built.map_err(|error| Problem::Options(chain(&error)))
        }

        impl Reads for $rumqttc::EventLoop {
            async fn next(&mut self) -> Result<Option<Happened>, Lost> {
                match self.poll().await {
                    Ok($rumqttc::Event::Incoming(packet)) => Ok(heard(packet)),
                    Ok(_) => Ok(None),
                    Err(error) => Err(lost(&error)),
                }
            }
        }
    };
}
use twin;

/// Begins a connection; `clean` asks the broker to forget what it kept for us.
pub(crate) fn connect(
    broker: &Broker,
    secure: &Secure,
    will: &Message,
    clean: bool,
) -> Result<Connection, Problem> {
    match broker.version {
        Version::V4 => v4::connect(broker, secure, will, clean),
        Version::V5 => v5::connect(broker, secure, will, clean),
    }
}

/// Whether the broker lets us in, by a name of its own, so that nobody is pushed out; nothing is published.
///
/// # Errors
/// [`Problem`], which says why not.
pub async fn probe(broker: &Broker) -> Result<(), Problem> {
    let secure = Secure::read(broker.tls.as_ref())?;
    let other = Broker { client_id: format!("{}-probe", broker.client_id), ..broker.clone() };
    // Without the will of a gateway, whose word this is not.
    let will = Message::passing("meshward/probe", "", super::message::Qos::AtMostOnce);
    let mut connection = connect(&other, &secure, &will, true)?;
    let first = tokio::time::timeout(CONNECT, connection.happened.recv()).await;
    match first {
        Ok(Some(Happened::Up { .. })) => {
            connection.client.leave();
            // The good-bye is on its way when the connection ends.
            drop(tokio::time::timeout(Duration::from_secs(1), connection.happened.recv()).await);
            Ok(())
        }
        Ok(Some(Happened::Lost(lost))) => Err(Problem::Refused(lost.why)),
        Ok(_) => Err(Problem::Refused("the connection ended at once".to_owned())),
        Err(_) => Err(Problem::Refused(format!("no answer within {} s", CONNECT.as_secs()))),
    }
}

/// An error and what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        let more = behind.to_string();
        // Some say themselves what is behind them.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = behind.source();
    }
    text
}
