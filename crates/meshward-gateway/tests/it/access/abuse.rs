//! Clients that send too much, too slowly, too often, or claim to be somebody else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meshward_gateway::rest::Http;
use meshward_gateway::rest::access::Role;
use meshward_gateway::rest::access::limit::Rate;
use meshward_gateway::rest::listen::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::kit::{Kit, PASSWORD, PATIENCE, Wanted};

/// Writes this and reads what comes until the gateway closes the connection.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The gateway may have had enough before everything is written.
    drop(stream.write_all(request).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is not closed"));
    String::from_utf8_lossy(&answer).into_owned()
}

fn impatient() -> Wanted {
    let usual = Wanted::default();
    let limits = Limits { head_timeout: Duration::from_millis(300), ..Limits::default() };
    Wanted { http: Http { limits, ..usual.http }, ..usual }
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_read() {
    let kit = Kit::start().await;
    let token = kit.token(Role::Admin, 3_600).await;
    let head = |method: &str, path: &str, more: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        )
    };
    let json = "Content-Type: application/json\r\n";
    for (method, path, length, status) in [
        ("POST", "/api/v1/login", 4 * 1024 + 1, 413),
        ("POST", "/api/v1/queries", 256 * 1024 + 1, 413),
        ("PUT", "/api/v1/nodes/1/name", 1_u64 << 40, 413),
        ("POST", "/api/v1/firmware", 16 * 1024 * 1024 + 1, 413),
    ] {
        let request = head(method, path, &format!("{json}Content-Length: {length}\r\n"));
        let answer = exchange(kit.address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    // What does not say how long it is is cut off at the limit.
    for (path, length) in [("/api/v1/queries", 300 * 1024), ("/api/v1/login", 5 * 1024)] {
        let chunk = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "[".repeat(length));
        let request = head("POST", path, &format!("{json}Transfer-Encoding: chunked\r\n")) + &chunk;
        let answer = exchange(kit.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
    }
    let long = head("GET", "/api/v1/nodes", &format!("X: {}\r\n", "x".repeat(64 * 1024)));
    let many = head("GET", "/api/v1/nodes", &"X: x\r\n".repeat(200));
    let path = head("GET", &format!("/{}", "x".repeat(70_000)), "");
    for request in [long, many, path] {
        let answer = exchange(kit.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414"), "{answer}");
    }
    kit.stop().await;
}

#[tokio::test]
async fn whoever_dawdles_is_cut_off() {
    let kit = Kit::start_with(impatient()).await;
    let token = kit.token(Role::Admin, 3_600).await;
    let body = format!(
        "POST /api/v1/queries HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    let after = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (what, request) in [
        ("nothing at all", ""),
        ("half a head", "GET /healthz HTTP/1.1\r\nHost: loc"),
        ("half a body", body.as_str()),
        ("nothing after an answer", after),
        ("the beginning of HTTP/2", "PRI * HTTP/2.0\r\n"),
    ] {
        let began = Instant::now();

        exchange(kit.address, request.as_bytes()).await;
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
    }
    // A head that trickles, one byte at a time, each in time.
    let mut stream = TcpStream::connect(kit.address).await.unwrap();
    let began = Instant::now();
    let mut sent = 0;
    while stream.write_all(b"x").await.is_ok() && began.elapsed() < PATIENCE {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < PATIENCE && sent > 1, "it took {sent} bytes");
    assert_eq!(kit.request("GET", "/healthz").send().await.unwrap().status(), 200, "others are served");
    kit.stop().await;
}

#[tokio::test]
async fn connections_are_counted() {
    let usual = Wanted::default();
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let kit = Kit::start_with(Wanted { http: Http { limits, ..usual.http }, ..usual }).await;
    let ask = async |stream: &mut TcpStream| {
        drop(stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.is_ok() && answer == *b"HTTP/1.1 200 OK"
    };
    let connect = || TcpStream::connect(kit.address);
    let (mut first, mut second) = (connect().await.unwrap(), connect().await.unwrap());
    assert!(ask(&mut first).await && ask(&mut second).await);
    let mut third = connect().await.unwrap();
    assert!(!ask(&mut third).await, "there are two");
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut next = connect().await.unwrap();
        if ask(&mut next).await {
            break;
        }
        assert!(Instant::now() < deadline, "the place does not come back");
    }
    drop(second);
    kit.stop().await;
}

#[tokio::test]
async fn whoever_asks_too_often_waits() {
    let requests = Rate { per_second: 1.0, burst: 5.0 };
    let strangers = Rate { per_second: 0.5, burst: 3.0 };
    let kit = Kit::start_with(Wanted { requests, strangers, ..Wanted::default() }).await;
    let (one, other) = (kit.token(Role::Viewer, 3_600).await, kit.local());
    for _ in 0..5 {
        assert_eq!(kit.ask("GET", "/api/v1/nodes", &one).await.status(), 200);
    }
    let refused = kit.ask("GET", "/api/v1/nodes", &one).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    assert_eq!(kit.ask("GET", "/api/v1/nodes", &other).await.status(), 200, "each has a limit of their own");
    kit.wait(1);
    assert_eq!(kit.ask("GET", "/api/v1/nodes", &one).await.status(), 200);
    for token in ["mw_1", "mw_2"] {
        assert_eq!(kit.ask("GET", "/api/v1/nodes", token).await.status(), 401);
    }
    assert_eq!(kit.request("GET", "/healthz").send().await.unwrap().status(), 200);
    let refused = kit.ask("GET", "/api/v1/nodes", "mw_3").await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"2".parse().unwrap()));
    kit.stop().await;
}

#[tokio::test]
async fn only_a_declared_proxy_says_where_a_request_comes_from() {
    for (proxies, expected) in [(vec!["127.0.0.0/8".parse().unwrap()], 401), (Vec::new(), 429)] {
        let usual = Wanted::default();
        let kit = Kit::start_with(Wanted { http: Http { proxies, ..usual.http }, ..usual }).await;
        kit.user("anna", "viewer").await;
        // Each attempt claims to come from somewhere else: only by a proxy is that believed.
        let mut last = 0;
        for number in 0..6 {
            let body = serde_json::json!({"name": "anna", "password": "wrong wrong wrong"});
            let request = kit.request("POST", "/api/v1/login").json(&body);
            let sent = request.header("x-forwarded-for", format!("192.0.2.{number}")).send().await.unwrap();
            last = sent.status().as_u16();
        }
        assert_eq!(last, expected);
        let body = serde_json::json!({"name": "anna", "password": PASSWORD});
        let request =
            kit.request("POST", "/api/v1/login").json(&body).header("x-forwarded-for", "192.0.2.99");
        let sent = request.header("x-forwarded-proto", "https").send().await.unwrap();
        if expected == 401 {
            let set = sent.headers()["set-cookie"].to_str().unwrap();
            assert!(set.starts_with("__Host-") && set.contains("Secure"), "{set}");
        }
        kit.stop().await;
    }
}
