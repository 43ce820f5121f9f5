//! A server of HTTP that does what a test wants of it: takes, refuses, hangs, breaks off or talks nonsense.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Longest that a test waits for a request.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What is done about it.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An answer with more headers, as lines, and a body.
    Say(u16, &'static str, &'static str),
    /// Nothing, with the connection open.
    Hang,
    /// The connection is closed.
    Close,
    /// Bytes that are no HTTP.
    Nonsense,
    /// A body that never ends.
    Endless,
}

type Answer = Arc<Mutex<Box<dyn FnMut(&Got) -> Reply + Send>>>;

/// See the module's page. Ends when it is dropped.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    news: Arc<Notify>,
    answer: Answer,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    pub(crate) async fn start(answer: impl FnMut(&Got) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (got, news) = (Arc::<Mutex<Vec<Got>>>::default(), Arc::new(Notify::new()));
        let answer: Answer = Arc::new(Mutex::new(Box::new(answer)));
        let (all, told, said) = (got.clone(), news.clone(), answer.clone());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(serve(stream, all.clone(), told.clone(), said.clone()));
            }
        });
        Self { address, got, news, answer, task }
    }

    /// From now on it answers so.
    pub(crate) fn answer(&self, answer: impl FnMut(&Got) -> Reply + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn wait(&self, count: usize) -> Vec<Got> {
        let come = async {
            loop {
                let news = self.news.notified();
                let got = self.got();
                if got.len() >= count {
                    return got;
                }
                news.await;
            }
        };
        let come = tokio::time::timeout(PATIENCE, come).await;
        come.unwrap_or_else(|_| panic!("{} of {count} requests came", self.got().len()))
    }
}

/// A request; `None` when the connection ends.
async fn read(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut buffer = [0; 4_096];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut got = Got { path, headers, body: bytes[end..].to_vec(), at: Instant::now() };
    let length: usize = got.header("content-length").map_or(0, |length| length.parse().unwrap());
    while got.body.len() < length {
        let mut buffer = [0; 65_536];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        got.body.extend_from_slice(&buffer[..count]);
    }
    Some(got)
}

async fn serve(mut stream: TcpStream, all: Arc<Mutex<Vec<Got>>>, news: Arc<Notify>, answer: Answer) {
    while let Some(got) = read(&mut stream).await {
        let reply = (answer.lock().unwrap())(&got);
        all.lock().unwrap().push(got);
        news.notify_waiters();
        match reply {
            Reply::Say(status, headers, body) => {
                let head =
                    format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
                if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Hang => return std::future::pending().await,
            Reply::Close => return,
            Reply::Nonsense => {
                drop(stream.write_all(b"\x00\xff\x17 what is HTTP?\r\n\r\n").await);
                return;
            }
            Reply::Endless => {
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n").await);
                while stream.write_all(&[b'a'; 65_536]).await.is_ok() {}
                return;
            }
        }
    }
}

/// Whoever asks wants ring; another test may have been first.
pub(crate) fn provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
