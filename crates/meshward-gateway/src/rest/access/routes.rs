//! Logging in and out, users, and tokens.

use axum::extract::{FromRef, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::extract::{JsonBody, PathOf};
use super::super::model::Page;
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::book::BookError;
use super::caller::Caller;
use super::gate::{Access, AccessError, whole_seconds};
use super::model::{
    CreatedToken, Login, Means, NewPassword, NewToken, NewUser, Session, Setup, Token, User, UserChange,
};
use super::password::PasswordError;
use super::principal::{How, Principal};
use super::role::Role;
use super::secret::Secret;
use super::user::{UserName, UserNameError};
use super::{csrf, password, session, token, user};

impl FromRef<Api> for Access {
    fn from_ref(api: &Api) -> Self {
        api.access.clone()
    }
}

type Gate = State<Access>;
type From = Extension<Caller>;

pub(in crate::rest) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(log_in))
        .routes(routes!(set_up))
        .routes(routes!(log_out))
        .routes(routes!(get_session))
        .routes(routes!(change_own_password))
        .routes(routes!(list_users, create_user))
        .routes(routes!(change_user, delete_user))
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(delete_token))
}

fn refused(error: AccessError) -> Problem {
    let detail = error.to_string();
    match error {
        AccessError::Book(error) => Problem::from(error),
        AccessError::Password(PasswordError::Crowded) => busy(detail),
        AccessError::Password(PasswordError::Hash(_)) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        }
        AccessError::Password(_) => Problem::value("/password", detail),
        AccessError::Wrong => Problem::new(StatusCode::UNAUTHORIZED, detail),
        AccessError::Wait(_) => Problem::new(StatusCode::TOO_MANY_REQUESTS, detail),
        AccessError::NoSetup => Problem::new(StatusCode::FORBIDDEN, detail),
        AccessError::Keep(error) if error.transient => {
            tracing::warn!(error = &error as &dyn std::error::Error, "nothing was changed");
            busy(detail)
        }
        AccessError::Keep(_) | AccessError::Random(_) | AccessError::Broken(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "nothing was changed");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        }
    }
}

fn busy(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

impl std::convert::From<BookError> for Problem {
    fn from(error: BookError) -> Self {
        let detail = error.to_string();
        match error {
            BookError::Taken(_) | BookError::LastAdmin(_) | BookError::Full(_) => Self::conflict(detail),
            BookError::NoUser(_) | BookError::NoToken(_) => Self::not_found(detail),
            BookError::TokenName(_) => Self::value("/name", detail),
            BookError::TooMuch { .. } => Self::value("/role", detail),
            BookError::Past(_) => Self::value("/expires_at", detail),
        }
    }
}

fn named(text: &str) -> Answer<UserName> {
    text.parse().map_err(|error: UserNameError| Problem::value("/name", error.to_string()))
}

/// A user that a path names; what is no name is nobody's.
fn meant(text: &str) -> Answer<UserName> {
    let unknown = |_| BookError::NoUser(text.chars().take(user::NAME_MAX).collect()).into();
    text.parse().map_err(unknown)
}

fn new_password(user: &UserName, text: String, field: &str) -> Answer<password::NewPassword> {
    let wrong = |error: PasswordError| Problem::value(field, error.to_string());
    password::NewPassword::new(user.as_str(), text).map_err(wrong)
}

/// What begins with a session: its cookie, and who it is for.
fn begun(access: &Access, caller: &Caller, (secret, session): &(Secret, session::Session)) -> Response {
    let role = access.book(|book| book.user(&session.user).map_or(Role::Viewer, |user| user.role));
    let view = Session {
        name: session.user.to_string(),
        role,
        means: Means::Session,
        expires_at: Some(session.expires_at(access.sessions())),
        csrf_token: Some(csrf::token(secret)),
    };
    let mut response = Json(view).into_response();
    if let Some(cookie) = session::cookie(secret, caller.secure, access.sessions()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    no_store(&mut response);
    response
}

/// What has a secret in it is kept by no cache.
fn no_store(response: &mut Response) {
    let value = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
}

fn waits(error: AccessError) -> Response {
    let wait = if let AccessError::Wait(wait) = &error { Some(whole_seconds(wait)) } else { None };
    let mut response = refused(error).into_response();
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Logs a person in.
///
/// The session is in the cookie of the answer. After a few failures each one doubles the time until the next attempt is
/// looked at.
#[utoipa::path(post, path = "/api/v1/login", tag = "access", request_body = Login,
    security(()),
    responses((status = 200, description = "Logged in.", body = Session,
            headers(("Set-Cookie" = String, description = "The session."))),
        Is::<400>, Is::<401>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn log_in(State(access): Gate, Extension(caller): From, JsonBody(login): JsonBody<Login>) -> Response {
    match access.login(&caller, &login.name, login.password).await {
        Ok(session) => begun(&access, &caller, &session),
        Err(error) => waits(error),
    }
}

/// Makes the first admin, by the link that the gateway prints when there is none.
///
/// The link works once, for an hour, and until the next start. The admin is logged in by it.
#[utoipa::path(post, path = "/api/v1/setup", tag = "access", request_body = Setup,
    security(()),
    responses((status = 200, description = "Made, and logged in.", body = Session,
            headers(("Set-Cookie" = String, description = "The session."))),
        Is::<400>, Is::<409>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn set_up(
    State(access): Gate,
    Extension(caller): From,
    JsonBody(setup): JsonBody<Setup>,
) -> Answer<Response> {
    let name = named(&setup.name)?;
    let password = new_password(&name, setup.password, "/password")?;
    let made = access.first_admin(&caller, &setup.token, name, password).await.map_err(refused)?;
    Ok(begun(&access, &caller, &made))
}

/// Ends the session that the request brings.
#[utoipa::path(post, path = "/api/v1/logout", tag = "access",
    responses((status = 204, description = "Ended."), Is::<409>))]
async fn log_out(State(access): Gate, Extension(caller): From, who: Principal) -> Answer<Response> {
    let How::Session(secret) = &who.how else {
        return Err(Problem::conflict(
            "this request brings no session: withdraw a token by DELETE /api/v1/tokens/{id}",
        ));
    };
    access.logout(&caller, &who, secret).await.map_err(refused)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = session::no_cookie(caller.secure) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Who asks, and what they may do.
#[utoipa::path(get, path = "/api/v1/session", tag = "access",
    responses((status = 200, description = "Whoever the token or session belongs to.", body = Session)))]
async fn get_session(State(access): Gate, who: Principal) -> Response {
    let now = access.now();
    let (means, expires_at, csrf_token) = match &who.how {
        How::Local | How::Visitor => (Means::Local, None, None),
        How::Token(digest) => {
            let ends = access.book(|book| book.token(now, digest).and_then(|(token, _)| token.expires_at));
            (Means::Token, ends, None)
        }
        How::Session(secret) => {
            let lifetime = access.sessions();
            let ends = access.book(|book| {
                book.session(now, &secret.digest(), lifetime).map(|(session, _)| session.expires_at(lifetime))
            });
            (Means::Session, ends, Some(csrf::token(secret)))
        }
    };
    let mut response =
        Json(Session { name: who.name, role: who.role, means, expires_at, csrf_token }).into_response();
    no_store(&mut response);
    response
}

/// Another password for oneself.
///
/// It ends all sessions of the user, and begins a new one.
#[utoipa::path(put, path = "/api/v1/session/password", tag = "access", request_body = NewPassword,
    responses((status = 200, description = "Changed, and logged in anew.", body = Session,
            headers(("Set-Cookie" = String, description = "The new session."))),
        Is::<400>, Is::<401>, Is::<409>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn change_own_password(
    State(access): Gate,
    Extension(caller): From,
    who: Principal,
    JsonBody(change): JsonBody<NewPassword>,
) -> Answer<Response> {
    let Some(user) = who.user.clone() else {
        return Err(Problem::conflict(format!("{} is no user and has no password", who.name)));
    };
    let new = new_password(&user, change.new, "/new")?;
    match access.change_own_password(&caller, &who, (&user, change.old), new).await {
        Ok(session) => Ok(begun(&access, &caller, &session)),
        Err(error) => Ok(waits(error)),
    }
}

fn user_view(user: &user::User) -> User {
    User { name: user.name.to_string(), role: user.role, created_at: user.created_at }
}

/// All users.
#[utoipa::path(get, path = "/api/v1/users", tag = "access",
    responses((status = 200, description = "By name.", body = Page<User>)))]
async fn list_users(State(access): Gate) -> Json<Page<User>> {
    let items = access.book(|book| book.users().map(user_view).collect());
    Json(Page { items, next_cursor: None })
}

/// Creates a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "access", request_body = NewUser,
    responses((status = 201, description = "Created.", body = User,
            headers(("Location" = String, description = "Where it is to be found."))),
        Is::<400>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn create_user(
    State(access): Gate,
    Extension(caller): From,
    who: Principal,
    JsonBody(new): JsonBody<NewUser>,
) -> Answer<Response> {
    let name = named(&new.name)?;
    let password = new_password(&name, new.password, "/password")?;
    let user = access.create_user(&caller, &who, (name, new.role, password)).await.map_err(refused)?;
    let location = format!("/api/v1/users/{}", user.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(user_view(&user))).into_response())
}

/// Changes a user's role or password.
///
/// Another role holds at once, for the user's sessions and tokens too. The last admin stays one.
#[utoipa::path(patch, path = "/api/v1/users/{name}", tag = "access", request_body = UserChange,
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The user after it.", body = User),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn change_user(
    State(access): Gate,
    Extension(caller): From,
    who: Principal,
    PathOf(name): PathOf<String>,
    JsonBody(change): JsonBody<UserChange>,
) -> Answer<Json<User>> {
    let name = meant(&name)?;
    let password = change.password.map(|text| new_password(&name, text, "/password")).transpose()?;
    access.change_user(&caller, &who, &name, (change.role, password)).await.map_err(refused)?;
    let user = access.book(|book| book.user(&name).map(user_view));
    user.map(Json).ok_or_else(|| BookError::NoUser(name.to_string()).into())
}

/// Deletes a user, with all tokens and sessions.
///
/// The last admin stays.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "access",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 204, description = "Deleted."), Is::<400>, Is::<404>, Is::<409>))]
async fn delete_user(
    State(access): Gate,
    Extension(caller): From,
    who: Principal,
    PathOf(name): PathOf<String>,
) -> Answer<StatusCode> {
    access.drop_user(&caller, &who, &meant(&name)?).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

fn token_view(token: &token::Token) -> Token {
    Token {
        id: token.digest.id(),
        name: token.name.clone(),
        user: token.user.as_ref().map(ToString::to_string),
        role: token.role,
        created_at: token.created_at,
        expires_at: token.expires_at,
        last_used_at: token.last_used_at,
    }
}

/// One's own tokens; all of them for an admin.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access",
    responses((status = 200, description = "The oldest first; also those that are over.", body = Page<Token>)))]
async fn list_tokens(State(access): Gate, who: Principal) -> Json<Page<Token>> {
    let mine =
        |token: &&token::Token| who.role == Role::Admin || (who.user.is_some() && token.user == who.user);
    let mut items: Vec<Token> = access.book(|book| book.tokens().filter(mine).map(token_view).collect());
    items.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Json(Page { items, next_cursor: None })
}

/// Creates a token.
///
/// Its secret is shown this once. It can do no more than the user whose it is.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", request_body = NewToken,
    responses((status = 201, description = "Created.", body = CreatedToken),
        Is::<400>, Is::<403>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn create_token(
    State(access): Gate,
    Extension(caller): From,
    who: Principal,
    JsonBody(new): JsonBody<NewToken>,
) -> Answer<Response> {
    let user = match &new.user {
        None => who.user.clone(),
        Some(other) if who.role == Role::Admin => {
            Some(other.parse().map_err(|error: UserNameError| Problem::value("/user", error.to_string()))?)
        }
        Some(own) if who.user.as_ref().is_some_and(|user| user.as_str() == own) => who.user.clone(),
        Some(_) => return Err(Problem::new(StatusCode::FORBIDDEN, "only an admin makes tokens for others")),
    };
    // A token that was stolen, or is about to expire, must not make others that outlive it.
    if matches!(who.how, How::Token(_)) && who.role < Role::Admin {
        return Err(Problem::new(StatusCode::FORBIDDEN, "log in to make tokens: a token makes none"));
    }
    if new.role > who.role {
        return Err(BookError::TooMuch { asked: new.role, has: who.role }.into());
    }
    let made = access.create_token(&caller, &who, (new.name, user, new.role), new.expires_at).await;
    let (secret, token) = made.map_err(refused)?;
    let created = CreatedToken { token: token_view(&token), secret: secret.reveal_token() };
    let mut response = (StatusCode::CREATED, Json(created)).into_response();
    no_store(&mut response);
    Ok(response)
}

/// Withdraws a token: one's own, or any for an admin.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "access",
    params(("id" = String, Path, description = "Its id: 16 hexadecimal digits.")),
    responses((status = 204, description = "Withdrawn."), Is::<400>, Is::<404>))]
async fn delete_token(
    State(access): Gate,
    Extension(caller): From,
    who: Principal,
    PathOf(id): PathOf<String>,
) -> Answer<StatusCode> {
    access.drop_token(&caller, &who, &id).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
