//! Lets people and programs in, and changes who may be let in.
//!
//! One [`Access`] for the whole service, cheap to clone. Who there is lives in a [`Book`]; a change is written down by the
//! [`Keeper`] before it holds, by a task of its own, so a client that hangs up cuts nothing in half. Without one, as in a
//! demonstration, everything lasts as long as the program.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use thiserror::Error;

use super::audit::{Act, Audit};
use super::book::{Book, BookError, Change};
use super::caller::Caller;
use super::keeper::{KeepError, Keeper};
use super::limit::{Buckets, Delays, FREE_FAILURES, Origin, Rate};
use super::password::{Cost, Hasher, NewPassword, PasswordError};
use super::principal::{How, Principal};
use super::role::Role;
use super::secret::{Digest, Secret};
use super::session::{self, Lifetime, Session};
use super::token::Token;
use super::user::{User, UserName};

/// How long the set-up link works.
pub const SETUP_LIFETIME: Duration = Duration::from_secs(3_600);
/// How often it is written down what was used, and what is over goes.
pub const TEND_INTERVAL: Duration = Duration::from_secs(60);
/// Failed log-ins from one origin, under whatever names, that cost nothing.
const FREE_FAILURES_PER_ORIGIN: u32 = 10;
/// Log-ins under one name, from wherever: many machines together guess no faster than this.
const LOGIN_RATE: Rate = Rate { per_second: 100.0 / 3_600.0, burst: 100.0 };

/// Says what time it is.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How access is looked after.
#[derive(Clone)]
pub struct Settings {
    /// How long sessions last.
    pub sessions: Lifetime,
    /// What a check of a password costs.
    pub cost: Cost,
    /// How often one user or token may ask.
    pub requests: Rate,
    /// How often one address may ask without being let in.
    pub strangers: Rate,
    /// Whether whoever is on this machine may do everything without being anybody: for a demonstration, which has
    /// nothing to guard. It means nothing where other machines can reach the sockets.
    pub visitors: bool,
    /// What time it is.
    pub clock: WallClock,
}

impl Default for Settings {
    /// 200 requests a second for whoever was let in, 5 for strangers; the system's clock.
    fn default() -> Self {
        Self {
            sessions: Lifetime::default(),
            cost: Cost::OWASP,
            requests: Rate { per_second: 200.0, burst: 1_000.0 },
            strangers: Rate { per_second: 5.0, burst: 50.0 },
            visitors: false,
            clock: Arc::new(Timestamp::now),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("sessions", &self.sessions)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Why something was not done.
#[derive(Debug, Error)]
pub enum AccessError {
    /// It makes no sense with what there is.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Name or password; which one is nobody's business.
    #[error("user or password is wrong")]
    Wrong,
    /// Too often.
    #[error("too many attempts: wait {} s", whole_seconds(.0))]
    Wait(Duration),
    /// The set-up link.
    #[error("this set-up link does not work any more: restart the gateway for a new one")]
    NoSetup,
    /// It could not be written down, so it does not hold.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The system gives no random bytes.
    #[error("the system has no random bytes")]
    Random(#[from] getrandom::Error),
    /// The task that changes things ended abnormally.
    #[error("the change ended abnormally")]
    Broken(#[from] tokio::task::JoinError),
}

/// A wait in whole seconds, never less than it is.
pub fn whole_seconds(wait: &Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// Neither token nor session.
    #[error("this needs a token (Authorization: Bearer mw_…) or a session")]
    Nothing,
    /// Another kind of authorization.
    #[error("the Authorization header is of another kind than `Bearer mw_…`")]
    Scheme,
    /// The token is none of ours, was withdrawn, or is over.
    #[error("the token is unknown, withdrawn or expired")]
    Token,
    /// The session is over.
    #[error("the session is over: log in again")]
    Session,
}

/// Limits that are counted.
struct Limits {
    requests: Buckets<String>,
    strangers: Buckets<Origin>,
    logins: Buckets<UserName>,
    failures: Delays<(Origin, UserName)>,
    failures_from: Delays<Origin>,
}

struct Setup {
    digest: Digest,
    until: Timestamp,
}

struct Inner {
    settings: Settings,
    book: Mutex<Book>,
    limits: Mutex<Limits>,
    setup: Mutex<Option<Setup>>,
    local: Secret,
    hasher: Hasher,
    keeper: Option<Arc<dyn Keeper>>,
    audit: Audit,
    /// Held while a change is thought of, written and made: one at a time.
    changing: tokio::sync::Mutex<()>,
}

/// See the module's page.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while holding it has left whole values: every change of them is one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Access {
    /// Reads from a keeper who there is; without one there is nobody yet.
    ///
    /// # Errors
    /// [`AccessError`] when it cannot be read, or there are no random bytes.
    pub async fn open(keeper: Option<Arc<dyn Keeper>>, settings: Settings) -> Result<Self, AccessError> {
        let book = match &keeper {
            Some(keeper) => keeper.load().await?,
            None => Book::default(),
        };
        let limits = Limits {
            requests: Buckets::new(settings.requests),
            strangers: Buckets::new(settings.strangers),
            logins: Buckets::new(LOGIN_RATE),
            failures: Delays::new(FREE_FAILURES),
            failures_from: Delays::new(FREE_FAILURES_PER_ORIGIN),
        };
        Ok(Self(Arc::new(Inner {
            book: Mutex::new(book),
            limits: Mutex::new(limits),
            setup: Mutex::new(None),
            local: Secret::new()?,
            hasher: Hasher::new(settings.cost),
            audit: Audit::new(keeper.clone()),
            keeper,
            settings,
            changing: tokio::sync::Mutex::new(()),
        })))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.0.settings.clock)()
    }

    /// How long sessions last.
    pub fn sessions(&self) -> Lifetime {
        self.0.settings.sessions
    }

    /// Somebody on this machine, if such may come in without being anybody.
    pub(super) fn visitor(&self) -> Option<Principal> {
        let name = "visitor".to_owned();
        let visitor = Principal { name, user: None, role: Role::Admin, how: How::Visitor };
        self.0.settings.visitors.then_some(visitor)
    }

    /// The secret of this machine's own programs, for [`LocalToken`](super::local::LocalToken).
    pub fn local(&self) -> &Secret {
        &self.0.local
    }

    /// Looks at who there is.
    pub fn book<R>(&self, look: impl FnOnce(&Book) -> R) -> R {
        look(&locked(&self.0.book))
    }

    /// Who sends this, if they say so.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn authenticate(&self, headers: &HeaderMap, secure: bool) -> Result<Principal, Denied> {
        match headers.get(header::AUTHORIZATION) {
            Some(value) => {
                let text = value.to_str().map_err(|_| Denied::Scheme)?;
                let (scheme, token) = text.split_once(' ').ok_or(Denied::Scheme)?;
                if !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(Denied::Scheme);
                }
                self.by_token(token.trim()).ok_or(Denied::Token)
            }
            None => {
                let secret = session::presented(headers, secure).ok_or(Denied::Nothing)?;
                self.by_session(secret).ok_or(Denied::Session)
            }
        }
    }

    fn by_token(&self, text: &str) -> Option<Principal> {
        let (now, digest) = (self.now(), Secret::parse(text)?.digest());
        if digest.is(&self.0.local.digest()) {
            let name = "local".to_owned();
            return Some(Principal { name, user: None, role: Role::Admin, how: How::Local });
        }
        let mut book = locked(&self.0.book);
        let (token, role) = book.token(now, &digest)?;
        let user = token.user.clone();
        let name = user.as_ref().map_or_else(|| format!("token {}", token.name), ToString::to_string);
        book.touch(now, &digest);
        Some(Principal { name, user, role, how: How::Token(digest) })
    }

    fn by_session(&self, secret: Secret) -> Option<Principal> {
        let (now, digest) = (self.now(), secret.digest());
        let mut book = locked(&self.0.book);
        let (_, user) = book.session(now, &digest, self.sessions())?;
        let (name, user, role) = (user.name.to_string(), Some(user.name.clone()), user.role);
        book.touch(now, &digest);
        Some(Principal { name, user, role, how: How::Session(secret) })
    }

    /// Counts a request of somebody who was let in.
    ///
    /// # Errors
    /// How long they have to wait.
    pub fn admit(&self, principal: &Principal) -> Result<(), Duration> {
        locked(&self.0.limits).requests.take(self.now(), &principal.name)
    }

    /// Counts a request of somebody who was not let in.
    ///
    /// # Errors
    /// How long they have to wait.
    pub fn admit_stranger(&self, caller: &Caller) -> Result<(), Duration> {
        locked(&self.0.limits).strangers.take(self.now(), &Origin::of(caller.address))
    }

    /// A person logs in.
    ///
    /// # Errors
    /// [`AccessError::Wrong`], [`AccessError::Wait`], and what prevents it otherwise.
    pub async fn login(
        &self,
        caller: &Caller,
        name: &str,
        password: String,
    ) -> Result<(Secret, Session), AccessError> {
        let name: UserName = name.parse().map_err(|_| AccessError::Wrong)?;
        let now = self.now();
        self.attempt(now, caller, &name)?;
        let kept = self.book(|book| book.user(&name).map(|user| user.password.clone()));
        if !self.0.hasher.check(kept, password).await? {
            self.0.audit.note(now, name.as_str(), caller, &Act::LoginFailed).await;
            return Err(AccessError::Wrong);
        }
        self.succeeded(caller, &name);
        let begun = self.begin(&name).await?;
        self.0.audit.note(now, name.as_str(), caller, &Act::LoggedIn).await;
        Ok(begun)
    }

    /// Counts an attempt as a failed one, until it has succeeded: so many at once are no way around the delay.
    fn attempt(&self, now: Timestamp, caller: &Caller, name: &UserName) -> Result<(), AccessError> {
        let origin = Origin::of(caller.address);
        let key = (origin, name.clone());
        let mut limits = locked(&self.0.limits);
        limits.failures_from.check(now, &origin).map_err(AccessError::Wait)?;
        limits.failures.check(now, &key).map_err(AccessError::Wait)?;
        limits.logins.take(now, name).map_err(AccessError::Wait)?;
        limits.failures_from.failed(now, &origin);
        limits.failures.failed(now, &key);
        Ok(())
    }

    fn succeeded(&self, caller: &Caller, name: &UserName) {
        let origin = Origin::of(caller.address);
        let mut limits = locked(&self.0.limits);
        limits.failures_from.succeeded(&origin);
        limits.failures.succeeded(&(origin, name.clone()));
    }

    async fn begin(&self, name: &UserName) -> Result<(Secret, Session), AccessError> {
        let (secret, now) = (Secret::new()?, self.now());
        let user = name.clone();
        let session = Session { digest: secret.digest(), user, created_at: now, last_used_at: now };
        let new = session.clone();
        self.change(move |book| Ok(book.begin(new))).await?;
        Ok((secret, session))
    }

    /// A person logs out.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn logout(
        &self,
        caller: &Caller,
        who: &Principal,
        session: &Secret,
    ) -> Result<(), AccessError> {
        let digest = session.digest();
        self.change(move |book| Ok(book.end(&digest))).await?;
        self.0.audit.note(self.now(), &who.name, caller, &Act::LoggedOut).await;
        Ok(())
    }

    /// The secret of a new set-up link, if there is nobody yet who could let others in. An older link stops working.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn set_up(&self) -> Result<Option<Secret>, AccessError> {
        if self.book(Book::has_admin) {
            return Ok(None);
        }
        let secret = Secret::new()?;
        let until = self.now().checked_add(SETUP_LIFETIME).unwrap_or(Timestamp::MAX);
        *locked(&self.0.setup) = Some(Setup { digest: secret.digest(), until });
        Ok(Some(secret))
    }

    /// The first admin, by the set-up link. It works once.
    ///
    /// # Errors
    /// [`AccessError::NoSetup`], and what is wrong with name or password; then the link still works.
    pub async fn first_admin(
        &self,
        caller: &Caller,
        link: &str,
        name: UserName,
        password: NewPassword,
    ) -> Result<(Secret, Session), AccessError> {
        let works = || {
            let secret = Secret::parse(link)?;
            let now = self.now();
            let setup = locked(&self.0.setup);
            setup.as_ref().filter(|setup| setup.digest.is(&secret.digest()) && now < setup.until).map(drop)
        };
        works().ok_or(AccessError::NoSetup)?;
        let password = self.0.hasher.hash(password).await?;
        // Two at once: one of them takes it.
        works().ok_or(AccessError::NoSetup)?;
        let taken = locked(&self.0.setup).take().ok_or(AccessError::NoSetup)?;
        let user = User { name: name.clone(), role: Role::Admin, password, created_at: self.now() };
        let made = self.change(move |book| book.add_user(user)).await;
        if let Err(error) = made {
            *locked(&self.0.setup) = Some(taken);
            return Err(error);
        }
        self.0.audit.note(self.now(), "setup", caller, &Act::UserCreated(&name, Role::Admin)).await;
        self.begin(&name).await
    }

    /// A new user.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn create_user(
        &self,
        caller: &Caller,
        by: &Principal,
        (name, role, password): (UserName, Role, NewPassword),
    ) -> Result<User, AccessError> {
        let password = self.0.hasher.hash(password).await?;
        let user = User { name, role, password, created_at: self.now() };
        let new = user.clone();
        self.change(move |book| book.add_user(new)).await?;
        self.0.audit.note(self.now(), &by.name, caller, &Act::UserCreated(&user.name, role)).await;
        Ok(user)
    }

    /// Another role or another password for a user.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn change_user(
        &self,
        caller: &Caller,
        by: &Principal,
        name: &UserName,
        (role, password): (Option<Role>, Option<NewPassword>),
    ) -> Result<(), AccessError> {
        let new_password = password.is_some();
        let password = match password {
            Some(password) => Some(self.0.hasher.hash(password).await?),
            None => None,
        };
        let whose = name.clone();
        self.change(move |book| book.change_user(&whose, role, password)).await?;
        self.0.audit.note(self.now(), &by.name, caller, &Act::UserChanged(name, role, new_password)).await;
        Ok(())
    }

    /// Another password for oneself, which ends all one's sessions and begins a new one.
    ///
    /// # Errors
    /// [`AccessError::Wrong`] when the old one is wrong, which counts as a failed log-in.
    pub async fn change_own_password(
        &self,
        caller: &Caller,
        by: &Principal,
        (name, old): (&UserName, String),
        new: NewPassword,
    ) -> Result<(Secret, Session), AccessError> {
        self.attempt(self.now(), caller, name)?;
        let kept = self.book(|book| book.user(name).map(|user| user.password.clone()));
        if !self.0.hasher.check(kept, old).await? {
            return Err(AccessError::Wrong);
        }
        self.succeeded(caller, name);
        self.change_user(caller, by, name, (None, Some(new))).await?;
        self.begin(name).await
    }

    /// A user goes, with tokens and sessions.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn drop_user(
        &self,
        caller: &Caller,
        by: &Principal,
        name: &UserName,
    ) -> Result<(), AccessError> {
        let whose = name.clone();
        self.change(move |book| book.drop_user(&whose)).await?;
        self.0.audit.note(self.now(), &by.name, caller, &Act::UserDropped(name)).await;
        Ok(())
    }

    /// A new token; its secret is not kept.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn create_token(
        &self,
        caller: &Caller,
        by: &Principal,
        (name, user, role): (String, Option<UserName>, Role),
        expires_at: Option<Timestamp>,
    ) -> Result<(Secret, Token), AccessError> {
        let (secret, created_at) = (Secret::new()?, self.now());
        let digest = secret.digest();
        let token = Token { digest, name, user, role, created_at, expires_at, last_used_at: None };
        let new = token.clone();
        self.change(move |book| book.add_token(new)).await?;
        self.0.audit.note(created_at, &by.name, caller, &Act::TokenCreated(&token)).await;
        Ok((secret, token))
    }

    /// A token is withdrawn: one's own, or an admin's will.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn drop_token(&self, caller: &Caller, by: &Principal, id: &str) -> Result<(), AccessError> {
        let (own, all, wanted) = (by.user.clone(), by.role == Role::Admin, id.to_owned());
        let may = move |token: &Token| all || (own.is_some() && token.user == own);
        self.change(move |book| book.drop_token(&wanted, may)).await?;
        self.0.audit.note(self.now(), &by.name, caller, &Act::TokenDropped(id)).await;
        Ok(())
    }

    /// Thinks of a change, writes it down, and makes it.
    async fn change(
        &self,
        plan: impl FnOnce(&Book) -> Result<Vec<Change>, BookError> + Send + 'static,
    ) -> Result<(), AccessError> {
        let inner = Arc::clone(&self.0);
        let changed = tokio::spawn(async move {
            let _one_at_a_time = inner.changing.lock().await;
            let changes = plan(&locked(&inner.book))?;
            if let Some(keeper) = &inner.keeper {
                keeper.keep(&changes).await?;
            }
            let mut book = locked(&inner.book);
            changes.into_iter().for_each(|change| book.apply(change));
            Ok(())
        });
        changed.await?
    }

    /// Drops what is over, and writes down what was used. Whoever serves calls it every [`TEND_INTERVAL`], and once
    /// more at the end.
    ///
    /// # Errors
    /// When it cannot be written down: then it is tried again with what comes.
    pub async fn tend(&self) -> Result<(), AccessError> {
        let (now, lifetime) = (self.now(), self.sessions());
        self.change(move |book| Ok(book.over(now, lifetime))).await?;
        let Some(keeper) = &self.0.keeper else { return Ok(()) };
        let _one_at_a_time = self.0.changing.lock().await;
        let used = locked(&self.0.book).take_used();
        if used.is_empty() { Ok(()) } else { Ok(keeper.keep(&used).await?) }
    }
}
