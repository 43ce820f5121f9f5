//! Images and their manifests.

use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use meshward_core::hash::Sha256Sum;
use meshward_fleet::deployment::SignedManifest;
use meshward_fleet::firmware::{self, ImageInfo};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Principal;
use super::super::api::Api;
use super::super::extract::{PathOf, QueryOf, RawBody};
use super::super::model::{Firmware, Page};
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::super::{FIRMWARE_MAX, convert};
use super::{Handle, page};
use crate::service::{self, Gateway, RolloutError};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_firmware, add_firmware))
        .routes(routes!(put_manifest))
        .layer(DefaultBodyLimit::max(FIRMWARE_MAX))
}

/// The images that are kept, the oldest first.
#[utoipa::path(get, path = "/api/v1/firmware", tag = "firmware", responses(
    (status = 200, description = "Images: the last eight that were uploaded or used. Older ones stay in the database, if there is one, and can be rolled out by their SHA-256.", body = Page<Firmware>),
))]
async fn list_firmware(State(gateway): Handle) -> Answer<Json<Page<Firmware>>> {
    let list = |gateway: &crate::service::Gateway| gateway.firmware().map(convert::firmware).collect();
    Ok(page(gateway.with(move |_, _, gateway| list(gateway)).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Upload {
    /// What the file is called; what is longer than 128 characters is cut.
    #[serde(default)]
    #[param(required = false)]
    name: String,
}

impl Api {
    /// The manifest of an image that the gateway has, and whether somebody has said that it takes updates.
    async fn known(&self, sum: [u8; 32]) -> Answer<(Option<SignedManifest>, bool)> {
        let known = self.gateway.with(move |_, _, gateway| {
            let known = gateway.firmware().find(|known| known.info.sha256 == sum);
            (known.and_then(|known| known.manifest.clone()), gateway.is_confirmed(&sum))
        });
        Ok(known.await?)
    }
}

/// Keeps an image.
///
/// The body is the image, as the compiler wrote it or packed by gzip or zlib, of at most 16 MiB. Uploading one twice
/// keeps it once, with the manifest that it had. The ninth pushes out the oldest, which then is in the database alone.
#[utoipa::path(post, path = "/api/v1/firmware", tag = "firmware", params(Upload),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The image."),
    responses((status = 201, description = "What it says of itself.", body = Firmware), Is::<400>, Is::<413>))]
async fn add_firmware(
    State(api): State<Api>,
    who: Principal,
    QueryOf(upload): QueryOf<Upload>,
    RawBody(body): RawBody,
) -> Answer<(StatusCode, Json<Firmware>)> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    if body.is_empty() {
        return Err(bad("the image is empty: send its bytes as the body".to_owned()));
    }
    // Unpacking and hashing take a while: not in the node's task.
    let image = firmware::plain(&body).map_err(|error| bad(error.to_string()))?;
    let info = ImageInfo::of(&image);
    let image: Arc<[u8]> = Arc::from(&image[..]);
    let name: String = upload.name.chars().take(128).collect();
    let sum = info.sha256;
    let (manifest, confirmed) = api.known(sum).await?;
    api.audit(&who, "firmware.add", convert::hex(&sum), json!({ "name": name })).await?;
    let new = service::Firmware { name: name.clone(), info: info.clone(), image: image.clone(), manifest };
    api.keep_firmware(&new, confirmed).await?;
    let added = api.gateway.with(move |_, _, gateway| gateway.add_firmware(name, image, info)).await?;
    Ok((StatusCode::CREATED, Json(convert::firmware(&added))))
}

/// Says what an image is, by its author's manifest.
///
/// The body is a signed manifest (COSE). The nodes judge whether it is signed as it must be; here it is only read.
#[utoipa::path(put, path = "/api/v1/firmware/{sha256}/manifest", tag = "firmware",
    params(("sha256" = String, Path, description = "The image's SHA-256: 64 hexadecimal digits.")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The manifest."),
    responses((status = 200, description = "The image with its manifest.", body = Firmware),
        Is::<400>, Is::<404>, Is::<413>, Is::<422>))]
async fn put_manifest(
    State(api): State<Api>,
    who: Principal,
    PathOf(sha256): PathOf<String>,
    RawBody(body): RawBody,
) -> Answer<Json<Firmware>> {
    let unreadable = || format!("firmware `{sha256}` is not a SHA-256 in hexadecimal");
    let sum = convert::parse_sha256(&sha256).ok_or_else(|| Problem::parameter("sha256", unreadable()))?;
    let manifest = SignedManifest::read(body.to_vec(), Sha256Sum(sum));
    let manifest =
        manifest.map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    api.fetch_firmware(sum).await?;
    let missing = || Problem::not_found(RolloutError::UnknownFirmware.to_string());
    let find = move |gateway: &Gateway| gateway.firmware().find(|known| known.info.sha256 == sum).cloned();
    let known = api.gateway.with(move |_, _, gateway| find(gateway)).await?.ok_or_else(missing)?;
    let (_, confirmed) = api.known(sum).await?;
    api.audit(&who, "firmware.manifest", &sha256, json!({})).await?;
    api.keep_firmware(&service::Firmware { manifest: Some(manifest.clone()), ..known }, confirmed).await?;
    let added = api.gateway.with(move |_, _, gateway| gateway.add_manifest(&sum, manifest)).await?;
    Ok(Json(convert::firmware(&added.ok_or_else(missing)?)))
}
