//! Notification channels, what became of their messages, and the routes that messages take to them.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Principal;
use super::super::api::{Api, Telling};
use super::super::conditional::IfMatch;
use super::super::convert;
use super::super::extract::{JsonBody, PathOf, QueryOf};
use super::super::model::{
    ChannelSettings, ChannelTest, Delivery, DeliveryState, NewNotificationChannel, NotificationChannel,
    NotificationRoute, Page, RouteChoice, RouteQuestion,
};
use super::super::openapi::Is;
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use crate::notify::{self, Notifier, NotifierError};
use crate::store::{DELIVERIES_MAX, OUTBOX_CHANNEL_MAX};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_notification_channels, create_notification_channel))
        .routes(routes!(get_notification_channel, edit_notification_channel, remove_notification_channel))
        .routes(routes!(test_notification_channel))
        .routes(routes!(list_deliveries))
        .routes(routes!(retry_delivery))
        .routes(routes!(get_notification_routes, put_notification_routes))
        .routes(routes!(try_notification_routes))
}

impl From<NotifierError> for Problem {
    fn from(error: NotifierError) -> Self {
        let detail = error.to_string();
        match error {
            NotifierError::Store(error) => error.into(),
            NotifierError::Channel(error) => Self::value(format!("/{}", error.field), detail),
            NotifierError::Routes(error) => Self::value(error.at(), detail),
            NotifierError::Unknown(_) => Self::not_found(detail),
            NotifierError::Exists(_)
            | NotifierError::Configured(_)
            | NotifierError::Full
            | NotifierError::Used(_) => Self::conflict(detail),
            NotifierError::Changed => Self::new(StatusCode::PRECONDITION_FAILED, detail),
            NotifierError::Http(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
        }
    }
}

async fn shown(notifier: &Notifier, id: &str) -> Answer<NotificationChannel> {
    let (channel, version) = notifier.channel(id)?;
    let waiting = notifier.waiting().await?.get(id).copied().unwrap_or_default();
    let source = (version, notifier.is_configured(id));
    Ok(convert::channel(&channel, source, notifier.health(id), waiting, Timestamp::now()))
}

async fn shown_channels(notifier: &Notifier) -> Answer<Vec<NotificationChannel>> {
    let (waiting, now) = (notifier.waiting().await?, Timestamp::now());
    let show = |(channel, version): (notify::Channel, u64)| {
        let waits = waiting.get(&channel.id).copied().unwrap_or_default();
        let source = (version, notifier.is_configured(&channel.id));
        convert::channel(&channel, source, notifier.health(&channel.id), waits, now)
    };
    Ok(notifier.channels().into_iter().map(show).collect())
}

/// Channels by which people are told; none where the gateway keeps nothing (`store.url` is `none`) and tells nobody.
#[utoipa::path(get, path = "/api/v1/notification-channels", tag = "notifications", params(Paging), responses(
    (status = 200, description = "In order of their names.", body = Page<NotificationChannel>), Is::<400>,
))]
async fn list_notification_channels(
    State(api): State<Api>,
    uri: Uri,
    QueryOf(paging): Paged,
) -> Answer<Response> {
    let all = match &api.notifier {
        Some(notifier) => shown_channels(notifier).await?,
        None => Vec::new(),
    };
    let page = paging.cut(all, ("id", false), |channel| Place(0.0, channel.id.clone(), 0))?;
    Ok(linked(&uri, page))
}

/// Adds a channel. Messages go to it from now on, as the routes say.
#[utoipa::path(post, path = "/api/v1/notification-channels", tag = "notifications",
    request_body = NewNotificationChannel,
    responses((status = 201, description = "It is there.", body = NotificationChannel,
            headers(("Location" = String, description = "Where it is to be found."))),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn create_notification_channel(
    State(api): State<Api>,
    Telling(notifier): Telling,
    who: Principal,
    JsonBody(new): JsonBody<NewNotificationChannel>,
) -> Answer<Response> {
    let NewNotificationChannel { id, kind, settings } = new;
    let channel = convert::changed_channel(convert::empty_channel(id.clone(), kind), settings, "/settings")?;
    let detail = serde_json::json!({ "target": channel.target() });
    api.audit(&who, "POST /api/v1/notification-channels", &id, detail).await?;
    notifier.create(channel).await?;
    let location = [(header::LOCATION, format!("/api/v1/notification-channels/{id}"))];
    Ok((StatusCode::CREATED, location, Json(shown(&notifier, &id).await?)).into_response())
}

/// One channel.
#[utoipa::path(get, path = "/api/v1/notification-channels/{id}", tag = "notifications",
    params(("id" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The channel.", body = NotificationChannel), Is::<400>, Is::<404>))]
async fn get_notification_channel(
    Telling(notifier): Telling,
    PathOf(id): PathOf<String>,
) -> Answer<Json<NotificationChannel>> {
    shown(&notifier, &id).await.map(Json)
}

/// Changes a channel.
///
/// What is left out stays as it is, secrets too. What waits goes the new way. A change that somebody else made in
/// between is not overwritten: 412. One of the gateway's configuration is changed there alone: 409.
#[utoipa::path(patch, path = "/api/v1/notification-channels/{id}", tag = "notifications",
    params(("id" = String, Path, description = "Its name."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the channel that was read.")),
    request_body = ChannelSettings,
    responses((status = 200, description = "The channel as it is then.", body = NotificationChannel),
        Is::<400>, Is::<404>, Is::<409>, Is::<412>, Is::<413>, Is::<415>, Is::<422>))]
async fn edit_notification_channel(
    State(api): State<Api>,
    Telling(notifier): Telling,
    who: Principal,
    PathOf(id): PathOf<String>,
    if_match: IfMatch,
    JsonBody(change): JsonBody<ChannelSettings>,
) -> Answer<Json<NotificationChannel>> {
    let (channel, version) = notifier.channel(&id)?;
    let channel = convert::changed_channel(channel, change, "")?;
    if_match.holds(&shown(&notifier, &id).await?)?;
    let detail = serde_json::json!({ "target": channel.target(), "enabled": channel.enabled });
    api.audit(&who, "PATCH /api/v1/notification-channels/{id}", &id, detail).await?;
    notifier.edit(channel, version).await?;
    shown(&notifier, &id).await.map(Json)
}

/// Removes a channel, with everything that waits for it and its dead letters.
#[utoipa::path(delete, path = "/api/v1/notification-channels/{id}", tag = "notifications",
    params(("id" = String, Path, description = "Its name.")),
    responses((status = 204, description = "It is gone."), Is::<400>, Is::<404>, Is::<409>))]
async fn remove_notification_channel(
    State(api): State<Api>,
    Telling(notifier): Telling,
    who: Principal,
    PathOf(id): PathOf<String>,
) -> Answer<StatusCode> {
    notifier.channel(&id)?;
    let action = "DELETE /api/v1/notification-channels/{id}";
    api.audit(&who, action, &id, serde_json::json!({})).await?;
    notifier.remove(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a message that says that this is a test, now and past all routes, and waits for what comes of it.
#[utoipa::path(post, path = "/api/v1/notification-channels/{id}/test", tag = "notifications",
    params(("id" = String, Path, description = "Its name.")),
    responses((status = 200, description = "What came of it, within 10 s.", body = ChannelTest),
        Is::<400>, Is::<404>))]
async fn test_notification_channel(
    State(api): State<Api>,
    Telling(notifier): Telling,
    who: Principal,
    PathOf(id): PathOf<String>,
) -> Answer<Json<ChannelTest>> {
    notifier.channel(&id)?;
    let action = "POST /api/v1/notification-channels/{id}/test";
    api.audit(&who, action, &id, serde_json::json!({})).await?;
    let notify::Tested { delivered, detail, took } = notifier.test(&id, &who.name).await?;
    Ok(Json(ChannelTest { delivered, detail, seconds: (took.as_secs_f64() * 1e3).round() / 1e3 }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only those that are so.
    #[param(inline)]
    state: Option<DeliveryState>,
    /// Most items in the answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Messages of a channel: those that wait, and the last 500 that were delivered or are dead letters.
#[utoipa::path(get, path = "/api/v1/notification-channels/{id}/deliveries", tag = "notifications",
    params(("id" = String, Path, description = "The channel's name."), Wanted),
    responses((status = 200, description = "Newest first.", body = Page<Delivery>), Is::<400>, Is::<404>))]
async fn list_deliveries(
    Telling(notifier): Telling,
    uri: Uri,
    PathOf(id): PathOf<String>,
    QueryOf(wanted): QueryOf<Wanted>,
) -> Answer<Response> {
    notifier.channel(&id)?;
    let store = notifier.store();
    let waiting = store.outbox(&id, OUTBOX_CHANNEL_MAX as u32).await?;
    let ended = store.deliveries(&id, None, DELIVERIES_MAX as u32).await?;
    let mut all: Vec<Delivery> =
        waiting.into_iter().map(convert::waiting).chain(ended.into_iter().map(convert::delivery)).collect();
    all.retain(|delivery| wanted.state.is_none_or(|state| delivery.state == state));
    let paging = Paging::new(wanted.limit, wanted.cursor);
    let page = paging.cut(all, ("id", true), |delivery| Place(0.0, String::new(), delivery.id))?;
    Ok(linked(&uri, page))
}

/// Sends a dead letter again, as if it had never been tried.
#[utoipa::path(post, path = "/api/v1/notification-channels/{id}/deliveries/{delivery}/retry",
    tag = "notifications",
    params(("id" = String, Path, description = "The channel's name."),
        ("delivery" = u64, Path, description = "The message's number.")),
    responses((status = 202, description = "It waits to be sent."), Is::<400>, Is::<404>))]
async fn retry_delivery(
    State(api): State<Api>,
    Telling(notifier): Telling,
    who: Principal,
    PathOf((id, delivery)): PathOf<(String, u64)>,
) -> Answer<StatusCode> {
    notifier.channel(&id)?;
    let action = "POST /api/v1/notification-channels/{id}/deliveries/{delivery}/retry";
    api.audit(&who, action, &id, serde_json::json!({ "delivery": delivery })).await?;
    if notifier.retry(&id, delivery).await? {
        return Ok(StatusCode::ACCEPTED);
    }
    let detail =
        format!("channel `{id}` has no dead letter {delivery}, or {OUTBOX_CHANNEL_MAX} messages wait");
    Err(Problem::not_found(detail))
}

/// Who is told of what: the tree of routes.
#[utoipa::path(get, path = "/api/v1/notification-routes", tag = "notifications", responses(
    (status = 200, description = "The route at the top, with those below it.", body = NotificationRoute), Is::<404>,
))]
async fn get_notification_routes(Telling(notifier): Telling) -> Json<NotificationRoute> {
    Json(convert::route(&notifier.routes()))
}

/// Another tree of routes, for messages from now on.
#[utoipa::path(put, path = "/api/v1/notification-routes", tag = "notifications",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of the tree that was read.")),
    request_body = NotificationRoute,
    responses((status = 200, description = "The tree as it is then.", body = NotificationRoute),
        Is::<400>, Is::<404>, Is::<412>, Is::<413>, Is::<415>, Is::<422>))]
async fn put_notification_routes(
    State(api): State<Api>,
    Telling(notifier): Telling,
    who: Principal,
    if_match: IfMatch,
    JsonBody(tree): JsonBody<NotificationRoute>,
) -> Answer<Json<NotificationRoute>> {
    let detail = serde_json::to_value(&tree).unwrap_or_default();
    let routes = convert::kept_route(tree, "")?;
    notifier.check_routes(&routes)?;
    if_match.holds(&convert::route(&notifier.routes()))?;
    api.audit(&who, "PUT /api/v1/notification-routes", "routes", detail).await?;
    notifier.set_routes(routes).await?;
    Ok(Json(convert::route(&notifier.routes())))
}

/// Which channels a message would reach, and when. Nothing is sent.
#[utoipa::path(post, path = "/api/v1/notification-routes/try", tag = "notifications",
    request_body = RouteQuestion,
    responses((status = 200, description = "In the order of the routes.", body = Vec<RouteChoice>),
        Is::<400>, Is::<404>, Is::<413>, Is::<415>, Is::<422>))]
async fn try_notification_routes(
    Telling(notifier): Telling,
    JsonBody(question): JsonBody<RouteQuestion>,
) -> Answer<Json<Vec<RouteChoice>>> {
    let now = Timestamp::now();
    let message = convert::imagined(question, now)?;
    let channels = notifier.channels().into_iter().filter(|(channel, _)| channel.enabled);
    let enabled: Vec<String> = channels.map(|(channel, _)| channel.id).collect();
    let choice = |one: notify::Chosen| {
        let (at, _) = notify::due(now, message.severity, one.digest_seconds, one.quiet.as_ref());
        RouteChoice { channel: one.channel, route: one.route, at }
    };
    let chosen = notify::choose(&notifier.routes(), &message, &enabled);
    Ok(Json(chosen.into_iter().map(choice).collect()))
}
