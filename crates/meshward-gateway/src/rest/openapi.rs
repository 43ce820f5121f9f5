//! The interface's description: OpenAPI 3.1, made from the routes themselves.
//!
//! It is served at `/api/v1/openapi.json`, for people at `/api/v1/docs` (Swagger UI, which needs no Internet), and
//! kept in the repository as `docs/openapi.json`. A route cannot be added without its description, because both come
//! from one `routes!`. What every operation may answer is added here.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::{HeaderName, header};
use utoipa::openapi::path::Parameter;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{KnownFormat, Schema, SchemaFormat};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr};
use utoipa::{IntoResponses, OpenApi as _};

use super::model::{Problem, ProblemPart, Snapshot};
use super::problem::PROBLEM_JSON;
use super::routes;

/// A problem document of this status, among the answers of an operation.
pub(crate) struct Is<const STATUS: u16>;

impl<const STATUS: u16> IntoResponses for Is<STATUS> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([(STATUS.to_string(), problem(STATUS).into())])
    }
}

fn problem(status: u16) -> Response {
    let meaning = match status {
        400 => "The request cannot be read: `errors` names the parameter, or the body is not JSON.",
        401 => "There is no token or session, or one that lets nobody in any more.",
        403 => "Whoever asks may not: by their role, or because a page elsewhere asks with their session.",
        404 => "There is no such thing.",
        409 => "Not in the state in which that means something.",
        412 => "It is not any more what `If-Match` names.",
        413 => "The body is too long.",
        415 => "The body is of another media type.",
        422 => "The body has the wrong shape or says what makes no sense: `errors` points at it.",
        426 => "The path speaks WebSocket, and the request does not.",
        429 => "Too many at once, or too often: `detail` says of what, `Retry-After` how long to wait.",
        500 => "The gateway has a defect; its log says more.",
        503 => "The gateway is shutting down.",
        504 => "Nobody has answered in time.",
        _ => "Not fulfilled.",
    };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(meaning).content(PROBLEM_JSON, content).build()
}

#[derive(utoipa::OpenApi)]
#[openapi(
    components(schemas(Problem, ProblemPart, Snapshot)),
    tags(
        (name = "mesh", description = "The mesh as a whole: how well it is, its tree, what is lost and why"),
        (name = "nodes", description = "Nodes: what is known of them, and what people say of them"),
        (name = "queries", description = "Asking nodes how they fare, and telling them what to do"),
        (name = "alerts", description = "Alerts and what people do with them"),
        (name = "notifications", description = "By what people are told of alerts, and who is told of what"),
        (name = "events", description = "What has happened"),
        (name = "firmware", description = "Images and their manifests"),
        (name = "rollouts", description = "Bringing images to nodes"),
        (name = "access", description = "Logging in, users, and the tokens of programs"),
        (name = "service", description = "The service itself"),
    )
)]
struct Base;

/// What there is before the routes.
pub(super) fn base() -> OpenApi {
    let mut document = Base::openapi();
    document.info = InfoBuilder::new()
        .title("Meshward")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Firmware updates and monitoring for painlessMesh networks.\n\nTimes are RFC 3339 in UTC, spans are seconds, \
             node ids are decimal 32-bit numbers, hashes lower-case hexadecimal. A metric's name ends with its unit. \
             Errors are problem documents (RFC 9457). Fields may be added to answers; bodies with unknown fields are \
             refused.",
        ))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .build();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("mw_…").build();
    let session = ApiKeyValue::with_description(
        "meshward_session",
        "Set by `/api/v1/login`; by TLS its name begins with `__Host-`. What changes something needs `X-CSRF-Token` too.",
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    let either = ["token", "session"].map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
    document.security = Some(either.into());
    document
}

/// Adds what every operation may answer.
pub(super) fn finish(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            operation.parameters.iter_mut().flatten().for_each(narrow);
            for status in [401, 403, 429, 503] {
                let answers = &mut operation.responses.responses;
                answers.entry(status.to_string()).or_insert_with(|| problem(status).into());
            }
        }
    }
}

/// Says of a parameter what its kind says: how long and wide it may be.
fn narrow(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(parameter) = parameter else { return };
    let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else { return };
    if let Some(SchemaFormat::KnownFormat(KnownFormat::UInt32)) = schema.format {
        schema.maximum = Some(u32::MAX.into());
    }
    let pattern = match parameter.name.as_str() {
        "fingerprint" => "^[0-9a-fA-F]{16}$",
        "sha256" => "^[0-9a-fA-F]{64}$",
        "max_age" | "timeout" | "window" => "^[0-9]+([.][0-9]+)?(ms|s|m|h|d)?$",
        "cursor" => "^[A-Za-z0-9_-]+$",
        _ => return,
    };
    schema.pattern = Some(pattern.to_owned());
}

/// The description as an answer, which is cheap to clone.
pub(super) fn served(document: &OpenApi) -> ([(HeaderName, &'static str); 1], Bytes) {
    // What the routes say of themselves always becomes JSON.
    let text = serde_json::to_vec(document).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text.into())
}

/// The whole description, as it is served.
pub fn document() -> OpenApi {
    routes::described().1
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

    /// To write it anew: `UPDATE_SNAPSHOT=1 cargo test -p meshward-gateway --lib rest::openapi`.
    #[test]
    fn the_description_is_the_one_in_the_repository() {
        let now = format!("{}\n", document().to_pretty_json().unwrap());
        if std::env::var_os("UPDATE_SNAPSHOT").is_some() {
            std::fs::write(KEPT, &now).unwrap();
        }
        let kept = std::fs::read_to_string(KEPT).unwrap_or_default();
        assert!(
            now == kept,
            "docs/openapi.json is not what the routes say; look at the difference and accept it by \
             `UPDATE_SNAPSHOT=1 cargo test -p meshward-gateway --lib rest::openapi`"
        );
    }

    #[test]
    fn every_operation_is_described() {
        let document = document();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in &document.paths.paths {
            let operations = [&item.get, &item.put, &item.post, &item.delete, &item.patch];
            for operation in operations.into_iter().flatten() {
                let id = operation.operation_id.clone().unwrap();
                assert!(operation.summary.as_ref().is_some_and(|summary| !summary.is_empty()), "{path} {id}");
                assert!(operation.tags.as_ref().is_some_and(|tags| tags.len() == 1), "{path} {id}");
                let wrong = operation.responses.responses.iter().filter(|(status, answer)| {
                    let RefOr::T(answer) = answer else { return true };
                    status.starts_with(['4', '5']) && !answer.content.contains_key(PROBLEM_JSON)
                });
                assert_eq!(wrong.count(), 0, "{path} {id} has an error that is no problem document");
                assert!(ids.insert(id.clone()), "two operations are called {id}");
            }
        }
        assert!(ids.len() > 20);
    }
}
