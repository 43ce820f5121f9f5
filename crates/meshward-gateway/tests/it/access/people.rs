//! People: the first admin, logging in and out, sessions, other sites' pages, users.

use serde_json::{Value, json};

use super::kit::{Kit, PASSWORD, cookie};

/// Logs in, and gives the cookie and the session's token.
async fn log_in(kit: &Kit, name: &str) -> (String, String) {
    let response = kit.login(name, PASSWORD).await;
    assert_eq!(response.status(), 200);
    let cookie = cookie(&response);
    let session: Value = response.json().await.unwrap();
    (cookie, session["csrf_token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_first_admin_is_made_by_a_link_that_works_once() {
    let kit = Kit::start().await;
    let old = kit.access.set_up().unwrap().unwrap().reveal();
    let link = kit.access.set_up().unwrap().unwrap().reveal();
    let set_up = async |token: &str, password: &str| {
        let body = json!({"token": token, "name": "anna", "password": password});
        kit.request("POST", "/api/v1/setup").json(&body).send().await.unwrap()
    };
    for (token, password, status) in [
        (&old, PASSWORD, 403),
        (&"0".repeat(64), PASSWORD, 403),
        (&link, "short", 422),
        (&link, PASSWORD, 200),
    ] {
        let response = set_up(token, password).await;
        assert_eq!(response.status(), status, "{token} {password}");
    }
    assert_eq!(set_up(&link, PASSWORD).await.status(), 403, "it works once");
    assert!(kit.access.set_up().unwrap().is_none(), "there is an admin");
    log_in(&kit, "anna").await;
    kit.stop().await;

    let kit = Kit::start().await;
    let link = kit.access.set_up().unwrap().unwrap().reveal();
    kit.wait(3_600);
    let body = json!({"token": link, "name": "anna", "password": PASSWORD});
    let late = kit.request("POST", "/api/v1/setup").json(&body).send().await.unwrap();
    assert_eq!(late.status(), 403, "it works for an hour");
    kit.stop().await;
}

#[tokio::test]
async fn a_session_lasts_until_it_rests_is_old_or_is_ended() {
    let kit = Kit::start().await;
    kit.user("anna", "viewer").await;
    let (session, token) = log_in(&kit, "anna").await;
    let nodes = async |session: &str| {
        kit.request("GET", "/api/v1/nodes").header("cookie", session).send().await.unwrap().status().as_u16()
    };
    let hours = |hours: i64| hours * 3_600;
    for wait in [0, 11, 11, 11] {
        kit.wait(hours(wait));
        assert_eq!(nodes(&session).await, 200, "after {wait} h");
    }
    kit.wait(hours(12));
    assert_eq!(nodes(&session).await, 401, "half a day of rest ends it");
    let (session, _) = log_in(&kit, "anna").await;
    for _ in 0..16 {
        kit.wait(hours(10));
        assert_eq!(nodes(&session).await, 200);
    }
    kit.wait(hours(8));
    assert_eq!(nodes(&session).await, 401, "a week ends it");
    let (session, token) = {
        drop(token);
        log_in(&kit, "anna").await
    };
    let out = kit.request("POST", "/api/v1/logout").header("cookie", &session);
    let out =
        out.header("sec-fetch-site", "same-origin").header("x-csrf-token", &token).send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(nodes(&session).await, 401);
    kit.stop().await;
}

#[tokio::test]
async fn other_sites_pages_do_nothing_with_a_session() {
    let kit = Kit::start().await;
    kit.user("anna", "admin").await;
    let (session, token) = log_in(&kit, "anna").await;
    let own = ("sec-fetch-site", "same-origin");
    let (right, wrong) = (("x-csrf-token", token.as_str()), ("x-csrf-token", "0"));
    let foreign = ("sec-fetch-site", "cross-site");
    let origin = ("origin", kit.url.as_str());
    let elsewhere = ("origin", "http://evil.example");
    for (headers, status) in [
        (&[own, right][..], 404),
        (&[origin, right], 404),
        (&[right], 403),
        (&[own], 403),
        (&[own, wrong], 403),
        (&[foreign, right], 403),
        (&[elsewhere, right], 403),
        (&[], 403),
    ] {
        let request = kit.request("DELETE", "/api/v1/users/nobody").header("cookie", &session);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        assert_eq!(request.send().await.unwrap().status(), status, "{headers:?}");
    }
    // To look is safe; a bearer's token is sent by no browser by itself; to log in is a change.
    let look = kit.request("GET", "/api/v1/users").header("cookie", &session).send().await.unwrap();
    assert_eq!(look.status(), 200);
    assert_eq!(kit.ask("DELETE", "/api/v1/users/nobody", &kit.local()).await.status(), 404);
    let body = json!({"name": "anna", "password": PASSWORD});
    for (headers, status) in [(&[foreign][..], 403), (&[elsewhere], 403), (&[own], 200), (&[], 200)] {
        let request = kit.request("POST", "/api/v1/login").json(&body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        assert_eq!(request.send().await.unwrap().status(), status, "{headers:?}");
    }
    // A name that was bent to point here.
    let bent = kit.request("GET", "/healthz").header("host", "evil.example").send().await.unwrap();
    assert_eq!(bent.status(), 403);
    kit.stop().await;
}

#[tokio::test]
async fn whoever_guesses_passwords_waits_longer_each_time() {
    let kit = Kit::start().await;
    kit.user("anna", "viewer").await;
    for _ in 0..3 {
        assert_eq!(kit.login("anna", "wrong wrong wrong").await.status(), 401);
    }
    assert_eq!(kit.login("anna", "wrong wrong wrong").await.status(), 401);
    for (wait, next) in [(1, "2"), (2, "4"), (4, "8")] {
        let early = kit.login("anna", PASSWORD).await;
        assert_eq!(early.status(), 429, "even the right one has to wait");
        assert_eq!(early.headers()["retry-after"], wait.to_string());
        kit.wait(wait);
        assert_eq!(kit.login("anna", "wrong wrong wrong").await.status(), 401);
        assert_eq!(kit.login("anna", PASSWORD).await.headers()["retry-after"], next);
    }
    kit.wait(8);
    assert_eq!(kit.login("anna", PASSWORD).await.status(), 200);
    assert_eq!(kit.login("anna", "wrong wrong wrong").await.status(), 401, "success forgets the failures");
    // Other names, whether they are anybody's or not, add up too.
    for number in 0..9 {
        assert_eq!(kit.login(&format!("user{number}"), "wrong wrong wrong").await.status(), 401, "{number}");
    }
    assert_eq!(kit.login("user10", "wrong wrong wrong").await.status(), 401);
    assert_eq!(kit.login("user11", "wrong wrong wrong").await.status(), 429);
    assert_eq!(
        kit.ask("GET", "/api/v1/nodes", &kit.local()).await.status(),
        200,
        "tokens are not locked out"
    );
    kit.stop().await;
}

#[tokio::test]
async fn users_are_made_changed_and_deleted_but_for_the_last_admin() {
    let kit = Kit::start().await;
    kit.user("anna", "admin").await;
    kit.user("otto", "operator").await;
    let local = kit.local();
    for (body, status, needle) in [
        (json!({"name": "otto", "role": "viewer", "password": PASSWORD}), 409, "already"),
        (json!({"name": "Otto", "role": "viewer", "password": PASSWORD}), 422, "lower-case"),
        (json!({"name": "local", "role": "viewer", "password": PASSWORD}), 422, "take another"),
        (json!({"name": "emma", "role": "viewer", "password": "short"}), 422, "12 characters"),
        (json!({"name": "emma", "role": "viewer"}), 422, "password"),
    ] {
        let refused = kit.send("POST", "/api/v1/users", &local, body.clone()).await;
        assert_eq!(refused.status(), status, "{body}");
        let said = refused.text().await.unwrap();
        assert!(said.contains(needle), "{said}");
    }
    let list = kit.ask("GET", "/api/v1/users", &local).await.text().await.unwrap();
    assert!(list.contains("anna") && list.contains("otto") && !list.contains("argon2"), "{list}");
    let (session, _) = log_in(&kit, "otto").await;
    let role = async || {
        let who = kit.request("GET", "/api/v1/session").header("cookie", &session).send().await.unwrap();
        who.json::<Value>().await.unwrap()["role"].as_str().map(str::to_owned)
    };
    assert_eq!(role().await.as_deref(), Some("operator"));
    let down = kit.send("PATCH", "/api/v1/users/otto", &local, json!({"role": "viewer"})).await;
    assert_eq!(down.status(), 200);
    assert_eq!(role().await.as_deref(), Some("viewer"), "it holds at once");
    let other = json!({"password": "another long password"});
    assert_eq!(kit.send("PATCH", "/api/v1/users/otto", &local, other).await.status(), 200);
    assert_eq!(role().await, None, "another password ends the sessions");
    for (method, body) in [("DELETE", json!({})), ("PATCH", json!({"role": "viewer"}))] {
        let last = kit.send(method, "/api/v1/users/anna", &local, body).await;
        assert_eq!(last.status(), 409);
        assert!(last.text().await.unwrap().contains("last admin"));
    }
    assert_eq!(kit.ask("DELETE", "/api/v1/users/otto", &local).await.status(), 204);
    assert_eq!(kit.ask("DELETE", "/api/v1/users/otto", &local).await.status(), 404);
    kit.stop().await;
}

#[tokio::test]
async fn ones_own_password_is_changed_by_whoever_knows_the_old_one() {
    let kit = Kit::start().await;
    kit.user("anna", "viewer").await;
    let (session, token) = log_in(&kit, "anna").await;
    let change = async |old: &str, new: &str| {
        let request = kit.request("PUT", "/api/v1/session/password").header("cookie", &session);
        let request = request.header("sec-fetch-site", "same-origin").header("x-csrf-token", &token);
        request.json(&json!({"old": old, "new": new})).send().await.unwrap()
    };
    let new = "another long password";
    assert_eq!(change("wrong wrong wrong", new).await.status(), 401);
    assert_eq!(change(PASSWORD, "short").await.status(), 422);
    let changed = change(PASSWORD, new).await;
    assert_eq!(changed.status(), 200);
    let fresh = cookie(&changed);
    let nodes = async |cookie: &str| {
        kit.request("GET", "/api/v1/nodes").header("cookie", cookie).send().await.unwrap().status().as_u16()
    };
    assert_eq!((nodes(&session).await, nodes(&fresh).await), (401, 200));
    assert_eq!(kit.login("anna", PASSWORD).await.status(), 401);
    assert_eq!(kit.login("anna", new).await.status(), 200);
    kit.stop().await;
}
