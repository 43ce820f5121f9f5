//! The access table: who may ask what, and how long a body may be.
//!
//! Every route has a row. A route without one is refused ([`guard`](super::guard) fails closed), and a test walks the
//! interface's description and finds it.

use axum::http::Method;

use super::super::FIRMWARE_MAX;
use super::super::extract::JSON_MAX;
use super::role::Role;

/// Longest signed manifest that may be uploaded, in bytes.
const MANIFEST_MAX: usize = 64 * 1024;
/// Longest body of a route that lets strangers in, in bytes: a name, a password, a token.
const STRANGER_MAX: usize = 4 * 1024;

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Everybody who can reach the gateway.
    Nothing,
    /// Whoever has this role, or more.
    Role(Role),
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// In capitals; `GET` holds for `HEAD` too.
    pub method: &'static str,
    /// The path with its parameters in braces, as in the description.
    pub path: &'static str,
    /// Who may.
    pub need: Need,
    /// Longest body, in bytes.
    pub body_max: usize,
}

const fn rule(method: &'static str, path: &'static str, need: Need, body_max: usize) -> Rule {
    Rule { method, path, need, body_max }
}

const fn anybody(method: &'static str, path: &'static str) -> Rule {
    rule(method, path, Need::Nothing, STRANGER_MAX)
}

/// Looks at something, or does something for itself alone.
const fn viewer(method: &'static str, path: &'static str) -> Rule {
    rule(method, path, Need::Role(Role::Viewer), JSON_MAX)
}

/// Does something to the mesh, or spends its channel time.
const fn operator(method: &'static str, path: &'static str) -> Rule {
    rule(method, path, Need::Role(Role::Operator), JSON_MAX)
}

/// Says who may do what.
const fn admin(method: &'static str, path: &'static str) -> Rule {
    rule(method, path, Need::Role(Role::Admin), JSON_MAX)
}

/// The table. `/healthz` and `/readyz` say a word, for whoever restarts what hangs and sends others there; with `login` and `setup` strangers become
/// somebody. The description and its page say what a program can do to the mesh, so they are for those who may look,
/// like everything else.
pub const TABLE: &[Rule] = &[
    anybody("GET", "/healthz"),
    anybody("GET", "/readyz"),
    anybody("POST", "/api/v1/login"),
    anybody("POST", "/api/v1/setup"),
    viewer("POST", "/api/v1/logout"),
    viewer("GET", "/api/v1/session"),
    viewer("PUT", "/api/v1/session/password"),
    viewer("GET", "/api/v1/tokens"),
    viewer("POST", "/api/v1/tokens"),
    viewer("DELETE", "/api/v1/tokens/{id}"),
    admin("GET", "/api/v1/users"),
    admin("POST", "/api/v1/users"),
    admin("PATCH", "/api/v1/users/{name}"),
    admin("DELETE", "/api/v1/users/{name}"),
    viewer("GET", "/api/v1/openapi.json"),
    viewer("GET", "/api/v1/docs"),
    viewer("GET", "/api/v1/docs/"),
    viewer("GET", "/api/v1/docs/{*rest}"),
    viewer("GET", "/health"),
    viewer("GET", "/status"),
    viewer("GET", "/topology"),
    viewer("GET", "/metrics"),
    viewer("GET", "/api/v1/health"),
    viewer("GET", "/api/v1/alert-rules"),
    viewer("GET", "/api/v1/alert-rules/{name}"),
    viewer("GET", "/api/v1/alert-rules/{name}/test"),
    viewer("GET", "/api/v1/alerts/{fingerprint}"),
    viewer("GET", "/api/v1/events/stream"),
    viewer("GET", "/api/v1/ws"),
    // The audit is for admins there too.
    viewer("GET", "/api/v1/export"),
    viewer("GET", "/api/v1/grafana/nodes"),
    viewer("GET", "/api/v1/grafana/edges"),
    viewer("GET", "/api/v1/maintenance-windows"),
    viewer("GET", "/api/v1/maintenance-windows/{id}"),
    viewer("GET", "/api/v1/silences"),
    viewer("GET", "/api/v1/silences/{id}"),
    viewer("GET", "/api/v1/meshes"),
    viewer("GET", "/api/v1/meshes/{mesh}"),
    viewer("GET", "/api/v1/meshes/{mesh}/health"),
    viewer("GET", "/api/v1/meshes/{mesh}/overhead"),
    viewer("GET", "/api/v1/meshes/{mesh}/status"),
    viewer("GET", "/api/v1/meshes/{mesh}/topology"),
    viewer("GET", "/api/v1/meshes/{mesh}/topology.dot"),
    viewer("GET", "/api/v1/meshes/{mesh}/topology/history"),
    viewer("GET", "/api/v1/meshes/{mesh}/topology/changes"),
    viewer("GET", "/api/v1/events/history"),
    viewer("GET", "/api/v1/nodes/{id}/events"),
    viewer("GET", "/api/v1/nodes/{id}/history"),
    admin("GET", "/api/v1/audit"),
    viewer("GET", "/api/v1/nodes/{id}/label"),
    viewer("GET", "/api/v1/queries"),
    viewer("GET", "/api/v1/queries/{id}"),
    viewer("GET", "/api/v1/status"),
    viewer("GET", "/api/v1/topology"),
    viewer("GET", "/api/v1/topology.dot"),
    viewer("GET", "/api/v1/findings"),
    viewer("GET", "/api/v1/incidents"),
    viewer("GET", "/api/v1/nodes"),
    viewer("GET", "/api/v1/nodes/{id}"),
    viewer("GET", "/api/v1/events"),
    viewer("GET", "/api/v1/alerts"),
    viewer("GET", "/api/v1/notification-channels"),
    viewer("GET", "/api/v1/notification-channels/{id}"),
    viewer("GET", "/api/v1/notification-channels/{id}/deliveries"),
    viewer("GET", "/api/v1/notification-routes"),
    // Whoever says where messages go may read all of them, and make the gateway ask any address.
    admin("POST", "/api/v1/notification-channels"),
    admin("PATCH", "/api/v1/notification-channels/{id}"),
    admin("DELETE", "/api/v1/notification-channels/{id}"),
    admin("PUT", "/api/v1/notification-routes"),
    operator("POST", "/api/v1/notification-channels/{id}/test"),
    operator("POST", "/api/v1/notification-channels/{id}/deliveries/{delivery}/retry"),
    operator("POST", "/api/v1/notification-routes/try"),
    viewer("GET", "/api/v1/firmware"),
    viewer("GET", "/api/v1/rollouts"),
    viewer("GET", "/api/v1/rollouts/{id}"),
    viewer("GET", "/api/v1/rollouts/{id}/report"),
    operator("GET", "/status/{id}"),
    operator("DELETE", "/api/v1/maintenance-windows/{id}"),
    operator("DELETE", "/api/v1/nodes/{id}"),
    operator("DELETE", "/api/v1/queries/{id}"),
    operator("DELETE", "/api/v1/silences/{id}"),
    operator("DELETE", "/api/v1/alert-rules/{name}"),
    operator("PUT", "/api/v1/alert-rules/{name}"),
    operator("POST", "/api/v1/alert-rule-tests"),
    operator("PATCH", "/api/v1/nodes/{id}/label"),
    operator("POST", "/api/v1/alerts/{fingerprint}/assign"),
    operator("POST", "/api/v1/maintenance-windows"),
    operator("POST", "/api/v1/silences"),
    operator("GET", "/api/v1/nodes/{id}/status"),
    operator("PUT", "/api/v1/nodes/{id}/name"),
    operator("POST", "/api/v1/nodes/{id}/commands"),
    operator("POST", "/api/v1/queries"),
    operator("POST", "/api/v1/alerts/{fingerprint}/ack"),
    operator("POST", "/api/v1/alerts/{fingerprint}/unack"),
    operator("POST", "/api/v1/alerts/{fingerprint}/clear"),
    operator("POST", "/api/v1/alerts/{fingerprint}/comment"),
    rule("POST", "/api/v1/firmware", Need::Role(Role::Operator), FIRMWARE_MAX),
    rule("PUT", "/api/v1/firmware/{sha256}/manifest", Need::Role(Role::Operator), MANIFEST_MAX),
    operator("POST", "/api/v1/forecasts"),
    operator("POST", "/api/v1/rollouts"),
    operator("POST", "/api/v1/rollouts/{id}/activate"),
    operator("POST", "/api/v1/rollouts/{id}/pause"),
    operator("POST", "/api/v1/rollouts/{id}/resume"),
    operator("POST", "/api/v1/rollouts/{id}/abort"),
    operator("POST", "/api/v1/rollouts/{id}/approve"),
    operator("POST", "/api/v1/rollouts/{id}/rollback"),
    operator("POST", "/api/v1/rollout-previews"),
];

/// What the table says of a route.
pub fn find(method: &Method, path: &str) -> Option<&'static Rule> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    TABLE.iter().find(|rule| rule.path == path && rule.method == method)
}

/// The methods that a path takes, as `Allow` lists them; nothing for a path that is not in the table.
pub fn methods(path: &str) -> Vec<&'static str> {
    TABLE.iter().filter(|rule| rule.path == path).map(|rule| rule.method).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::super::document;
    use super::*;

    /// Routes that serve the description, and so are not in it.
    const UNDESCRIBED: [&str; 4] =
        ["/api/v1/openapi.json", "/api/v1/docs", "/api/v1/docs/", "/api/v1/docs/{*rest}"];

    fn described() -> BTreeSet<(String, String)> {
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap().clone();
        let methods = |(path, item): (String, serde_json::Value)| {
            let methods = item.as_object().unwrap().keys().map(|method| method.to_ascii_uppercase());
            methods.map(|method| (method, path.clone())).collect::<Vec<_>>()
        };
        paths.into_iter().flat_map(methods).collect()
    }

    fn differences(table: &[Rule]) -> Vec<String> {
        let rows: Vec<(String, String)> =
            table.iter().map(|rule| (rule.method.to_owned(), rule.path.to_owned())).collect();
        let known: BTreeSet<_> = rows.iter().cloned().collect();
        let twice = (known.len() != rows.len()).then(|| "a row is there twice".to_owned());
        let described = described();
        let missing =
            described.difference(&known).map(|(method, path)| format!("{method} {path} has no row"));
        let stale = known.difference(&described).filter(|(_, path)| !UNDESCRIBED.contains(&path.as_str()));
        let stale = stale.map(|(method, path)| format!("{method} {path} is no route"));
        missing.chain(stale).chain(twice).collect()
    }

    #[test]
    fn every_route_has_a_row_and_every_row_a_route() {
        assert_eq!(differences(TABLE), Vec::<String>::new());
    }

    #[test]
    fn a_row_too_few_or_too_many_is_found() {
        assert_eq!(differences(&TABLE[1..]), ["GET /healthz has no row"]);
        let more = [TABLE, &[viewer("GET", "/api/v1/secrets")]].concat();
        assert_eq!(differences(&more), ["GET /api/v1/secrets is no route"]);
        assert_eq!(differences(&[TABLE, &TABLE[..1]].concat()), ["a row is there twice"]);
    }

    #[test]
    fn strangers_get_in_by_four_doors_and_change_nothing_else() {
        let open: Vec<&str> =
            TABLE.iter().filter(|rule| rule.need == Need::Nothing).map(|rule| rule.path).collect();
        assert_eq!(open, ["/healthz", "/readyz", "/api/v1/login", "/api/v1/setup"]);
        // What a viewer changes is their own.
        let own = ["/api/v1/logout", "/api/v1/session/password", "/api/v1/tokens", "/api/v1/tokens/{id}"];
        for rule in TABLE.iter().filter(|rule| rule.need == Need::Role(Role::Viewer)) {
            assert!(rule.method == "GET" || own.contains(&rule.path), "{} {}", rule.method, rule.path);
        }
        assert!(find(&Method::HEAD, "/healthz").is_some() && find(&Method::POST, "/healthz").is_none());
        assert_eq!(methods("/api/v1/rollouts"), ["GET", "POST"]);
    }
}
