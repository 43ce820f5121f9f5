//! The dashboard's files for everybody, the pages' policies, and visitors of a demonstration.

use std::borrow::Cow;
use std::net::SocketAddr;

use meshward_gateway::rest::access::Role;
use meshward_gateway::rest::{Dashboard, Http};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::kit::{Kit, Wanted};

const PAGE: &str = "<!doctype html><title>Meshward</title>";

fn dashboard() -> Dashboard {
    let asset = "console.log('mesh');\n".repeat(200);
    Dashboard::of([
        ("index.html".to_owned(), Cow::Borrowed(PAGE.as_bytes())),
        ("assets/index-C3vXk_1a.js".to_owned(), Cow::Owned(asset.into_bytes())),
    ])
}

/// What comes back for a request as it is written, by a client that cleans no path.
async fn raw(kit: &Kit, request: &str) -> String {
    let mut socket = TcpStream::connect(kit.address).await.unwrap();
    let head = format!("{request}\r\nHost: {}\r\nConnection: close\r\n\r\n", kit.address);
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn strangers_get_pages_and_nothing_of_the_mesh() {
    let kit = Kit::start_with(Wanted { dashboard: dashboard(), ..Wanted::default() }).await;
    for path in ["/", "/login", "/nodes", "/nodes/7", "/setup"] {
        let page = kit.request("GET", path).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        let headers = page.headers();
        let policy = headers["content-security-policy"].to_str().unwrap().to_owned();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert!(headers["permissions-policy"].to_str().unwrap().contains("camera=()"));
        assert_eq!(page.text().await.unwrap(), PAGE);
    }
    // A resource keeps its short name, for whoever is let in.
    assert_eq!(kit.request("GET", "/topology").send().await.unwrap().status(), 401);
    let page = kit.request("GET", "/topology").header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.text().await.unwrap().as_str()), (200, PAGE));
    let data = kit.ask("GET", "/topology", &kit.local()).await;
    assert_eq!(data.headers()["content-type"], "application/json");
    for path in ["/api", "/api/v1", "/api/v1/what", "/metrics", "/what", "/assets"] {
        let refused = kit.request("GET", path).header("accept", "text/html").send().await.unwrap();
        assert_eq!(refused.status(), 401, "{path}");
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert_eq!(
            refused.headers()["content-security-policy"],
            "default-src 'none'; frame-ancestors 'none'"
        );
    }
    let gone = kit.request("GET", "/assets/index-00000000.js").send().await.unwrap();
    assert_eq!(
        (gone.status().as_u16(), &gone.headers()["content-type"]),
        (404, &"application/problem+json".parse().unwrap())
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(kit.request(method, "/").send().await.unwrap().status(), 401, "{method}");
    }
    kit.stop().await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_dashboards_files() {
    let kit = Kit::start_with(Wanted { dashboard: dashboard(), ..Wanted::default() }).await;
    let ok = raw(&kit, "GET /assets/index-C3vXk_1a.js HTTP/1.1").await;
    assert!(ok.starts_with("HTTP/1.1 200") && ok.contains("immutable") && ok.contains("console.log"), "{ok}");
    let head = raw(&kit, "HEAD /assets/index-C3vXk_1a.js HTTP/1.1").await;
    assert!(head.contains("content-length: 4200\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for path in [
        "/../Cargo.toml",
        "/assets/../../../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%2e%2e/%2e%2e/Cargo.toml",
        "/assets/..\\..\\Cargo.toml",
        "//etc/passwd",
        "/assets//etc/passwd",
        "/assets/index-C3vXk_1a.js/..",
        "/.vite/manifest.json",
        "/nodes/..%2f..%2fetc%2fpasswd",
    ] {
        let answer = raw(&kit, &format!("GET {path} HTTP/1.1")).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["400", "401", "404"].contains(&status), "{path}: {answer}");
    }
    // A name that was bent to point here gets no page either.
    let bent = kit.request("GET", "/").header("host", "evil.example").send().await.unwrap();
    assert_eq!(bent.status(), 403);
    kit.stop().await;
}

#[tokio::test]
async fn without_a_dashboard_a_page_says_how_to_build_it_and_swagger_has_its_own_policy() {
    let kit = Kit::start().await;
    let page = kit.request("GET", "/").send().await.unwrap();
    assert_eq!(page.status(), 200);
    let text = page.text().await.unwrap();
    for needle in ["cargo xtask web", "/api/v1/docs/", "meshward top"] {
        assert!(text.contains(needle), "{text}");
    }
    assert!(!text.contains("<script") && !text.contains("style="), "the policy would refuse it");
    let viewer = kit.token(Role::Viewer, 3_600).await;
    let docs = kit.ask("GET", "/api/v1/docs/", &viewer).await;
    assert_eq!(docs.status(), 200);
    let policy = docs.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("script-src 'self';") && policy.contains("style-src 'self' 'unsafe-inline'"),
        "{policy}"
    );
    assert!(!docs.text().await.unwrap().contains("<script>"), "the policy would refuse it");
    kit.stop().await;
}

#[tokio::test]
async fn visitors_come_in_on_this_machine_if_they_may_and_foreign_pages_do_not() {
    let name = json!({"name": "otto", "role": "viewer", "password": "correct horse battery"});
    for (visitors, proxied) in [(true, false), (false, false), (true, true)] {
        // A proxy on this machine passes on whoever comes.
        let proxies = if proxied { vec!["127.0.0.1".parse().unwrap()] } else { Vec::new() };
        let http = Http { proxies, ..Http::at(SocketAddr::from(([127, 0, 0, 1], 0))) };
        let kit = Kit::start_with(Wanted { http, visitors, ..Wanted::default() }).await;
        let own = format!("http://{}", kit.address);
        let cookie = format!("meshward_session={}", "0".repeat(64));
        let may = visitors && !proxied;
        for (lines, expected) in [
            (&[][..], 200),
            (&[("cookie", cookie.as_str())], 200),
            (&[("authorization", "Bearer mw_0")], 401),
            (&[("host", "evil.example")], if proxied { 401 } else { 403 }),
        ] {
            let mut request = kit.request("GET", "/api/v1/session");
            for (name, value) in lines {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.unwrap();
            let expected = if may || expected != 200 { expected } else { 401 };
            assert_eq!(answer.status(), expected, "{visitors} {proxied} {lines:?}");
        }
        for (lines, expected) in [
            (&[("sec-fetch-site", "cross-site")][..], 403),
            (&[("origin", "http://127.0.0.1:1")], 403),
            (&[("origin", "null")], 403),
            (&[("origin", own.as_str())], 201),
            (&[("sec-fetch-site", "same-origin")], 409),
            (&[], 409),
        ] {
            let mut request = kit.request("POST", "/api/v1/users").json(&name);
            for (name, value) in lines {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.unwrap().status().as_u16();
            // What is no address of this machine is refused before anybody asks who it is.
            let elsewhere = !proxied && *lines == [("origin", "null")];
            let expected = if may || elsewhere { expected } else { 401 };
            assert_eq!(answer, expected, "{visitors} {proxied} {lines:?}");
        }
        kit.stop().await;
    }
}
