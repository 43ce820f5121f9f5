//! Every route for everybody.

use meshward_gateway::rest::access::Role;
use meshward_gateway::rest::access::table::{Need, TABLE};
use serde_json::json;

use super::kit::Kit;

/// A path of the table with something in it that is not there.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "4294967295" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_lets_in_whom_its_row_says_and_nobody_else() {
    let kit = Kit::start().await;
    let expired = kit.token(Role::Admin, 10).await;
    kit.wait(11);
    let mut tokens = Vec::new();
    for role in Role::ALL {
        tokens.push((role, kit.token(role, 3_600).await));
    }
    let unknown = format!("mw_{}", "0".repeat(64));
    let nobody = ["", "mw_", "nonsense", &unknown, &expired, &expired[..40]];
    for rule in TABLE {
        let path = filled(rule.path);
        let least = match rule.need {
            Need::Nothing => {
                let status = kit.request(rule.method, &path).send().await.unwrap().status().as_u16();
                // Without a body there is nothing to log in with, but nobody asks for a token.
                // Nobody is in the mesh, so it is not ready.
                let expected = match (rule.method, rule.path) {
                    (_, "/readyz") => 503,
                    ("GET", _) => 200,
                    _ => 415,
                };
                assert_eq!(status, expected, "{} {path}", rule.method);
                continue;
            }
            Need::Role(role) => role,
        };
        let bare = kit.request(rule.method, &path).send().await.unwrap();
        assert_eq!(bare.status(), 401, "{} {path} without a token", rule.method);
        assert_eq!(bare.headers()["www-authenticate"], "Bearer realm=\"meshward\"");
        assert_eq!(bare.headers()["content-type"], "application/problem+json");
        for token in nobody {
            let refused = kit.ask(rule.method, &path, token).await;
            assert_eq!(refused.status(), 401, "{} {path} with {token:?}", rule.method);
            let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
            assert!(challenge.contains("error="), "{challenge}");
        }
        for (role, token) in &tokens {
            let status = kit.ask(rule.method, &path, token).await.status().as_u16();
            let may = *role >= least;
            let special = [401, 403, 405, 429].contains(&status) || status >= 500;
            // That a token makes no tokens is said by the route, to whom the table lets through.
            let own = rule.path == "/api/v1/tokens" && status == 415;
            // Without a mesh it is not ready, which it says to whom the table lets through.
            let own = own || (rule.path == "/readyz" && status == 503);
            assert!(
                if may { !special || own } else { status == 403 },
                "{} {path} as {role}: {status}",
                rule.method
            );
        }
    }
    kit.stop().await;
}

#[tokio::test]
async fn what_is_no_route_is_told_only_to_whom_is_let_in() {
    let kit = Kit::start().await;
    let token = kit.token(Role::Viewer, 3_600).await;
    for path in ["/what", "/api", "/api/v1/secrets", "/api/v1/nodes/1/2/3", "/.env", "/api/v2/nodes"] {
        assert_eq!(kit.request("GET", path).send().await.unwrap().status(), 401, "{path}");
        assert_eq!(kit.ask("GET", path, &token).await.status(), 404, "{path}");
    }
    for method in ["DELETE", "PUT", "OPTIONS", "BREW"] {
        assert_eq!(kit.request(method, "/api/v1/rollouts").send().await.unwrap().status(), 401, "{method}");
        let refused = kit.ask(method, "/api/v1/rollouts", &token).await;
        assert_eq!(refused.status(), 405, "{method}");
        assert_eq!(refused.headers()["allow"], "GET, POST");
    }
    assert_eq!(kit.ask("HEAD", "/api/v1/rollouts", &token).await.status(), 200);
    let other =
        kit.request("GET", "/api/v1/nodes").header("authorization", "Basic YTpi").send().await.unwrap();
    assert_eq!(other.status(), 401);
    let hardened = kit.ask("GET", "/api/v1/nodes", &token).await;
    for (name, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
        assert_eq!(hardened.headers()[name], value);
    }
    kit.stop().await;
}

#[tokio::test]
async fn a_token_is_shown_once_and_can_be_withdrawn() {
    let kit = Kit::start().await;
    kit.user("otto", "operator").await;
    let local = kit.local();
    let new = json!({"name": "script", "role": "viewer", "user": "otto"});
    let made = kit.send("POST", "/api/v1/tokens", &local, new).await;
    assert_eq!(
        (made.status().as_u16(), &made.headers()["cache-control"]),
        (201, &"no-store".parse().unwrap())
    );
    let made: serde_json::Value = made.json().await.unwrap();
    let (secret, id) = (made["secret"].as_str().unwrap(), made["token"]["id"].as_str().unwrap());
    assert_eq!(kit.ask("GET", "/api/v1/nodes", secret).await.status(), 200);
    let who: serde_json::Value = kit.ask("GET", "/api/v1/session", secret).await.json().await.unwrap();
    assert_eq!(who, json!({"name": "otto", "role": "viewer", "means": "token"}));
    let list = kit.ask("GET", "/api/v1/tokens", &local).await.text().await.unwrap();
    assert!(list.contains(id) && list.contains("last_used_at") && !list.contains(&secret[3..]), "{list}");
    for (body, status, needle) in [
        (json!({"name": "", "role": "viewer"}), 422, "/name"),
        (json!({"name": "x", "role": "root"}), 422, "/role"),
        (json!({"name": "x", "role": "admin", "user": "otto"}), 422, "more than operator"),
        (json!({"name": "x", "role": "viewer", "user": "nobody"}), 404, "no user `nobody`"),
        (json!({"name": "x", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}), 422, "/expires_at"),
    ] {
        let refused = kit.send("POST", "/api/v1/tokens", &local, body.clone()).await;
        assert_eq!(refused.status(), status, "{body}");
        let said = refused.text().await.unwrap();
        assert!(said.contains(needle), "{said}");
    }
    // A token makes no tokens, and withdraws its user's own.
    let more = kit.send("POST", "/api/v1/tokens", secret, json!({"name": "x", "role": "viewer"})).await;
    assert_eq!(more.status(), 403);
    let stranger = kit.token(Role::Operator, 3_600).await;
    let path = format!("/api/v1/tokens/{id}");
    assert_eq!(kit.ask("DELETE", &path, &stranger).await.status(), 404);
    assert_eq!(kit.ask("DELETE", &path, secret).await.status(), 204);
    assert_eq!(kit.ask("GET", "/api/v1/nodes", secret).await.status(), 401);
    kit.stop().await;
}
