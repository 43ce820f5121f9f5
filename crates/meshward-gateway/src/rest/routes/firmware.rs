//! Images and their manifests.

use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
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
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::super::{FIRMWARE_MAX, convert};
use crate::keep;
use crate::service::{self, Gateway, RolloutError};
use crate::store::FirmwareRow;

/// Images on a page: those that are not at hand are read and looked at.
const DESCRIBED_MAX: u16 = 50;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_firmware, add_firmware))
        .routes(routes!(put_manifest))
        .layer(DefaultBodyLimit::max(FIRMWARE_MAX))
}

/// The images that are kept, the oldest first.
///
/// All of the database, if there is one; else the last eight that were uploaded. A page has at most 50.
#[utoipa::path(get, path = "/api/v1/firmware", tag = "firmware", params(Paging), responses(
    (status = 200, description = "Images.", body = Page<Firmware>,
        headers(("Link" = String, description = "The next page, if there is one (RFC 8288)."))),
    Is::<400>,
))]
async fn list_firmware(State(api): State<Api>, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    let at_hand = |gateway: &Gateway| gateway.firmware().map(convert::firmware).collect::<Vec<_>>();
    let at_hand = api.gateway.with(move |_, _, gateway| at_hand(gateway)).await?;
    let paging = paging.at_most(DESCRIBED_MAX);
    let Some(store) = &api.store else {
        let listed: Vec<(usize, Firmware)> = at_hand.into_iter().enumerate().collect();
        let page = paging.cut(listed, ("at", false), |(at, _)| Place(*at as f64, String::new(), 0))?;
        let items = page.items.into_iter().map(|(_, firmware)| firmware).collect();
        return Ok(linked(&uri, Page { items, next_cursor: page.next_cursor }));
    };
    let place = |row: &FirmwareRow| Place(row.uploaded_at.as_millisecond() as f64, row.sha256.clone(), 0);
    let page = paging.cut(store.firmware().await?, ("uploaded_at", false), place)?;
    let mut items = Vec::with_capacity(page.items.len());
    for row in &page.items {
        match at_hand.iter().find(|known| known.sha256 == row.sha256) {
            Some(known) => items.push(known.clone()),
            // One that was forgotten meanwhile is left out.
            None => {
                items.extend(keep::stored_firmware(store, row).await?.map(|found| convert::firmware(&found)))
            }
        }
    }
    Ok(linked(&uri, Page { items, next_cursor: page.next_cursor }))
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
