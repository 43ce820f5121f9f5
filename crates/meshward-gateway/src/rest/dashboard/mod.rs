//! Serves the dashboard: the files of `dashboard/dist`, which this program carries when they were built before it.
//!
//! They say nothing about any mesh, so they are for everybody who reaches the gateway, the log-in page among them; the
//! [`guard`](super::access::guard) asks here before it asks who somebody is. A page is a path, and every page is the
//! same file, which reads the path itself. What is under `/api` is never answered here, nor is anything but reading.
//! `/topology` is a page and the short name of a resource: who prefers HTML, as browsers do, gets the page.

mod files;

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse as _;

use super::conditional::{every, lists};
use super::problem::Problem;
use files::{File, Files};

/// The dashboard's pages.
const PAGES: &[&str] = &[
    "/",
    "/topology",
    "/nodes",
    "/firmware",
    "/alerts",
    "/events",
    "/audit",
    "/login",
    "/setup",
    "/account",
];
/// Before a number they are pages too: `/nodes/{id}`, `/rollouts/{id}`.
const NUMBERED: &[&str] = &["/nodes/", "/rollouts/"];
/// Those that are also short names of resources.
const SHARED: &[&str] = &["/topology"];
/// The file that every page is.
const PAGE: &str = "index.html";
/// Where the build puts what never changes.
const ASSETS: &str = "/assets/";

/// What a page may load and do: what this gateway serves, and nothing of anybody else's. Pictures may be made in the
/// page itself, for it exports them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'self'";

/// See the module's page. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dashboard {
    files: Arc<Files>,
    unbuilt: Arc<File>,
}

impl Dashboard {
    /// The one that this program carries. Without one every page says how to build it.
    pub fn embedded() -> Self {
        Self::with(Files::embedded())
    }

    /// Of these files, by their paths in the built folder.
    pub fn of(files: impl IntoIterator<Item = (String, Cow<'static, [u8]>)>) -> Self {
        Self::with(Files::new(files))
    }

    fn with(files: Files) -> Self {
        let unbuilt = File::new(PAGE, Cow::Borrowed(include_bytes!("unbuilt.html")));
        Self { files: Arc::new(files), unbuilt: Arc::new(unbuilt) }
    }

    /// Whether there is one.
    pub fn is_built(&self) -> bool {
        self.files.get(PAGE).is_some()
    }

    /// The answer, if a request is for a page or a file of the dashboard.
    pub(super) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let head = *method == Method::HEAD;
        if is_page(path) {
            if SHARED.contains(&path.trim_end_matches('/')) && !prefers_html(headers) {
                return None;
            }
            let page = self.files.get(PAGE).unwrap_or(&self.unbuilt);
            let mut response = send(page, headers, head);
            let vary = HeaderValue::from_static("accept, accept-encoding");
            response.headers_mut().insert(header::VARY, vary);
            return Some(response);
        }
        let name = path.strip_prefix('/')?;
        match self.files.get(name) {
            Some(file) => Some(send(file, headers, head)),
            // A page of before an update asks for files of before it.
            None if path.starts_with(ASSETS) => Some(
                Problem::not_found("there is no such file of the dashboard: load the page again")
                    .into_response(),
            ),
            None => None,
        }
    }
}

/// Whether a path is one of the dashboard's pages.
fn is_page(path: &str) -> bool {
    let clean = match path.trim_end_matches('/') {
        "" => "/",
        clean => clean,
    };
    let is_id = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit()) && id.parse::<u32>().is_ok();
    path.starts_with('/')
        && !path.starts_with("//")
        && (PAGES.contains(&clean)
            || NUMBERED.iter().any(|before| clean.strip_prefix(before).is_some_and(is_id)))
}

/// Whether a request wants a page rather than data. Browsers name HTML first; programs name JSON, or anything.
fn prefers_html(headers: &HeaderMap) -> bool {
    let Some(accept) = every(headers, header::ACCEPT) else { return false };
    let quality = |wanted: &str| {
        let kinds = accept.split(',').filter_map(|kind| {
            let mut parts = kind.split(';').map(str::trim);
            parts.next().filter(|kind| kind.eq_ignore_ascii_case(wanted))?;
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            Some(quality.map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0)))
        });
        kinds.fold(0.0_f32, f32::max)
    };
    let html = quality("text/html");
    html > 0.0 && html > quality("application/json")
}

/// Whether gzip may be sent.
fn takes_gzip(headers: &HeaderMap) -> bool {
    every(headers, header::ACCEPT_ENCODING).is_some_and(|listed| {
        listed.split(',').any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)));
            named && !refused
        })
    })
}

fn send(file: &File, asked: &HeaderMap, head: bool) -> Response<Body> {
    let packed = file.packed.as_ref().filter(|_| takes_gzip(asked));
    let tag = match packed {
        // Strong tags differ where bytes do.
        Some(_) => format!("{}-gz\"", file.tag.trim_end_matches('"')),
        None => file.tag.clone(),
    };
    let known = every(asked, header::IF_NONE_MATCH).is_some_and(|listed| lists(&listed, &tag, true));
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let caching = if file.lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let body: &Bytes = packed.unwrap_or(&file.body);
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    if !head {
        *response.body_mut() = Body::from(body.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

    fn tiny() -> Dashboard {
        let script = "let a = 1;\n".repeat(500);
        Dashboard::of([
            ("index.html".to_owned(), Cow::Borrowed(&b"<!doctype html>the page"[..])),
            ("favicon.svg".to_owned(), Cow::Borrowed(b"<svg/>")),
            ("assets/index-C3vXk_1a.js".to_owned(), Cow::Owned(script.into_bytes())),
            (".vite/manifest.json".to_owned(), Cow::Borrowed(b"{}")),
        ])
    }

    fn ask(
        dashboard: &Dashboard,
        path: &str,
        lines: &[(header::HeaderName, &str)],
    ) -> Option<Response<Body>> {
        let headers = lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        dashboard.answer(&Method::GET, path, &headers)
    }

    #[test]
    fn pages_are_one_file_and_nothing_else_is_a_page() {
        let dashboard = tiny();
        for (path, there) in [
            ("/", true),
            ("/nodes", true),
            ("/nodes/", true),
            ("/nodes/4294967295", true),
            ("/nodes/4294967296", false),
            ("/nodes/+1", false),
            ("/nodes/1/2", false),
            ("/rollouts/7", true),
            ("/rollouts", false),
            ("/rollouts/seven", false),
            ("/login", true),
            ("/setup", true),
            ("/favicon.svg", true),
            ("/index.html", true),
            ("//", false),
            ("//nodes", false),
            ("/what", false),
            ("/api", false),
            ("/api/v1/nodes", false),
            ("/api/v1/what", false),
            ("/metrics", false),
            ("/healthz", false),
            ("/status", false),
            ("/.vite/manifest.json", false),
            ("/../Cargo.toml", false),
            ("/..%2fCargo.toml", false),
            ("/nodes/../../Cargo.toml", false),
            ("", false),
        ] {
            assert_eq!(ask(&dashboard, path, &[(header::ACCEPT, BROWSER)]).is_some(), there, "{path}");
        }
        // Nobody writes to it.
        assert!(dashboard.answer(&Method::POST, "/", &HeaderMap::new()).is_none());
        for path in ["/assets/../index.html", "/assets/%2e%2e/index.html", "/assets/index-00000000.js"] {
            assert_eq!(ask(&dashboard, path, &[]).unwrap().status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn a_shared_name_is_a_page_for_who_prefers_one() {
        for (accept, page) in [
            (Some(BROWSER), true),
            (Some("text/html"), true),
            (Some("text/html;q=0.5, application/json"), false),
            (Some("text/html, application/json;q=0.5"), true),
            (Some("application/json"), false),
            (Some("*/*"), false),
            (Some("text/html;q=0"), false),
            (Some("text/html;q=nonsense"), false),
            (None, false),
        ] {
            let lines: Vec<_> = accept.iter().map(|accept| (header::ACCEPT, *accept)).collect();
            assert_eq!(ask(&tiny(), "/topology", &lines).is_some(), page, "{accept:?}");
            assert!(ask(&tiny(), "/nodes", &lines).is_some());
        }
    }

    #[test]
    fn what_has_its_hash_in_its_name_is_kept_and_the_rest_is_asked_for_again() {
        let dashboard = tiny();
        let asset = "/assets/index-C3vXk_1a.js";
        for (path, kind, caching) in [
            ("/", "text/html; charset=utf-8", "no-cache"),
            ("/favicon.svg", "image/svg+xml", "no-cache"),
            (asset, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ] {
            let plain = ask(&dashboard, path, &[]).unwrap();
            assert_eq!(
                (&plain.headers()[header::CONTENT_TYPE], &plain.headers()[header::CACHE_CONTROL]),
                (&kind.parse().unwrap(), &caching.parse().unwrap())
            );
            assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
            let tag = plain.headers()[header::ETAG].to_str().unwrap().to_owned();
            let again = ask(&dashboard, path, &[(header::IF_NONE_MATCH, &tag)]).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            let other = ask(&dashboard, path, &[(header::IF_NONE_MATCH, "\"other\"")]).unwrap();
            assert_eq!(other.status(), StatusCode::OK);
        }
        let length = |response: Response<Body>| {
            response.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse::<usize>().unwrap()
        };
        let packed = ask(&dashboard, asset, &[(header::ACCEPT_ENCODING, "br, gzip")]).unwrap();
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        let tag = packed.headers()[header::ETAG].clone();
        assert_ne!(tag, ask(&dashboard, asset, &[]).unwrap().headers()[header::ETAG]);
        let lines = [(header::ACCEPT_ENCODING, "gzip"), (header::IF_NONE_MATCH, tag.to_str().unwrap())];
        assert_eq!(ask(&dashboard, asset, &lines).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert!(
            length(packed) * 10
                < length(ask(&dashboard, asset, &[(header::ACCEPT_ENCODING, "gzip;q=0")]).unwrap())
        );
    }

    #[test]
    fn the_pages_are_those_of_the_dashboard() {
        let router = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboard/src/lib/router.svelte.ts");
        let text = std::fs::read_to_string(router).unwrap();
        let lines = text.lines().skip_while(|line| !line.starts_with("const PAGES")).skip(1);
        let lines = lines.take_while(|line| !line.starts_with('}'));
        let mut known: Vec<&str> = lines.filter_map(|line| line.split('\'').nth(1)).collect();
        let mut served = PAGES.to_vec();
        known.sort_unstable();
        served.sort_unstable();
        assert_eq!(served, known, "a page of {router} is not served, or the other way round");
    }
}
