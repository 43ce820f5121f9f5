//! Who there is: users, their tokens and sessions, in memory.
//!
//! Pure. A verb says what would change ([`Change`]) or why not; whoever drives the book writes that down first and
//! applies it then, so what is on disk is never behind what was answered. When something was last used is noted at once
//! and written down now and then ([`Book::take_used`]).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use thiserror::Error;

use super::role::Role;
use super::secret::Digest;
use super::session::{Lifetime, Session};
use super::token::{TOKEN_NAME_MAX, Token, is_name};
use super::user::{User, UserName};

/// Most users.
pub const USERS_MAX: usize = 256;
/// Most tokens in all.
pub const TOKENS_MAX: usize = 1_024;
/// Most sessions of one user; one more ends the oldest.
pub const SESSIONS_MAX: usize = 16;

/// One thing that changes, to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A user is new or different.
    PutUser(User),
    /// A user goes, and its tokens and sessions with it.
    DropUser(UserName),
    /// A token is new or different.
    PutToken(Token),
    /// A token goes.
    DropToken(Digest),
    /// A session is new or different.
    PutSession(Session),
    /// A session ends.
    DropSession(Digest),
}

/// Why nothing changes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BookError {
    /// The name is taken.
    #[error("there is a user `{0}` already")]
    Taken(UserName),
    /// There is no such user.
    #[error("there is no user `{0}`")]
    NoUser(String),
    /// There is no such token.
    #[error("there is no token `{0}`")]
    NoToken(String),
    /// Somebody has to be able to let others in.
    #[error("`{0}` is the last admin: make another one first")]
    LastAdmin(UserName),
    /// Too many.
    #[error("there are {0} already, which is as many as there can be: remove one first")]
    Full(&'static str),
    /// A token's name.
    #[error("`{0}` is no name for a token: take 1 to {TOKEN_NAME_MAX} characters")]
    TokenName(String),
    /// A token can do no more than its user.
    #[error("role {asked} is more than {has}, which is what the token's user has")]
    TooMuch {
        /// What was asked for.
        asked: Role,
        /// What there is.
        has: Role,
    },
    /// A token that is over before it begins.
    #[error("expires_at {0} is in the past: take a later time, or leave it out")]
    Past(Timestamp),
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Book {
    users: BTreeMap<UserName, User>,
    tokens: BTreeMap<Digest, Token>,
    sessions: BTreeMap<Digest, Session>,
    used: BTreeSet<Digest>,
}

impl Book {
    /// One with what was written down before.
    pub fn load(users: Vec<User>, tokens: Vec<Token>, sessions: Vec<Session>) -> Self {
        let mut book = Self::default();
        users.into_iter().for_each(|user| book.apply(Change::PutUser(user)));
        tokens.into_iter().for_each(|token| book.apply(Change::PutToken(token)));
        sessions.into_iter().for_each(|session| book.apply(Change::PutSession(session)));
        book
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// One of them.
    pub fn user(&self, name: &UserName) -> Option<&User> {
        self.users.get(name)
    }

    /// All tokens, in no order that means anything.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// The token whose secret has this digest, if it is not over; and what it may do now.
    pub fn token(&self, now: Timestamp, digest: &Digest) -> Option<(&Token, Role)> {
        let token = self.tokens.get(digest).filter(|token| token.digest.is(digest) && !token.is_over(now))?;
        let role = match &token.user {
            Some(name) => self.users.get(name)?.role.min(token.role),
            None => token.role,
        };
        Some((token, role))
    }

    /// The session whose secret has this digest, if it is not over; and whose it is.
    pub fn session(&self, now: Timestamp, digest: &Digest, lifetime: Lifetime) -> Option<(&Session, &User)> {
        let session = self.sessions.get(digest)?;
        let session =
            Some(session).filter(|session| session.digest.is(digest) && !session.is_over(now, lifetime))?;
        Some((session, self.users.get(&session.user)?))
    }

    /// Whether there is somebody who can let others in.
    pub fn has_admin(&self) -> bool {
        self.users.values().any(|user| user.role == Role::Admin)
    }

    /// A new user.
    ///
    /// # Errors
    /// [`BookError::Taken`] and [`BookError::Full`].
    pub fn add_user(&self, user: User) -> Result<Vec<Change>, BookError> {
        if self.users.contains_key(&user.name) {
            return Err(BookError::Taken(user.name));
        }
        if self.users.len() >= USERS_MAX {
            return Err(BookError::Full("256 users"));
        }
        Ok(vec![Change::PutUser(user)])
    }

    /// Another role or another password for a user. With another password all its sessions end.
    ///
    /// # Errors
    /// [`BookError::NoUser`] and [`BookError::LastAdmin`].
    pub fn change_user(
        &self,
        name: &UserName,
        role: Option<Role>,
        password: Option<String>,
    ) -> Result<Vec<Change>, BookError> {
        let user = self.known(name)?;
        if role.is_some_and(|role| role != Role::Admin) {
            self.not_last(user)?;
        }
        let ended = if password.is_some() { self.end_all(name) } else { Vec::new() };
        let changed = User {
            role: role.unwrap_or(user.role),
            password: password.unwrap_or_else(|| user.password.clone()),
            ..user.clone()
        };
        Ok([vec![Change::PutUser(changed)], ended].concat())
    }

    /// A user goes.
    ///
    /// # Errors
    /// [`BookError::NoUser`] and [`BookError::LastAdmin`].
    pub fn drop_user(&self, name: &UserName) -> Result<Vec<Change>, BookError> {
        let user = self.known(name)?;
        self.not_last(user)?;
        Ok(vec![Change::DropUser(name.clone())])
    }

    fn known(&self, name: &UserName) -> Result<&User, BookError> {
        self.users.get(name).ok_or_else(|| BookError::NoUser(name.to_string()))
    }

    fn not_last(&self, user: &User) -> Result<(), BookError> {
        let admins = self.users.values().filter(|user| user.role == Role::Admin).count();
        if user.role == Role::Admin && admins == 1 {
            return Err(BookError::LastAdmin(user.name.clone()));
        }
        Ok(())
    }

    /// A new token.
    ///
    /// # Errors
    /// [`BookError`] says what is wrong with it.
    pub fn add_token(&self, token: Token) -> Result<Vec<Change>, BookError> {
        if !is_name(&token.name) {
            return Err(BookError::TokenName(token.name.chars().take(TOKEN_NAME_MAX).collect()));
        }
        if let Some(name) = &token.user {
            let has = self.known(name)?.role;
            if token.role > has {
                return Err(BookError::TooMuch { asked: token.role, has });
            }
        }
        if let Some(end) = token.expires_at.filter(|_| token.is_over(token.created_at)) {
            return Err(BookError::Past(end));
        }
        if self.tokens.len() >= TOKENS_MAX {
            return Err(BookError::Full("1024 tokens"));
        }
        Ok(vec![Change::PutToken(token)])
    }

    /// A token goes, by its id; `whose` are the only ones that may.
    ///
    /// # Errors
    /// [`BookError::NoToken`], also when it is somebody else's.
    pub fn drop_token(&self, id: &str, whose: impl Fn(&Token) -> bool) -> Result<Vec<Change>, BookError> {
        let found = self.tokens.values().find(|token| token.digest.id() == id && whose(token));
        let found = found.ok_or_else(|| BookError::NoToken(id.chars().take(16).collect()))?;
        Ok(vec![Change::DropToken(found.digest)])
    }

    /// Somebody has logged in; the oldest of too many sessions ends.
    pub fn begin(&self, session: Session) -> Vec<Change> {
        let mut own: Vec<&Session> = self.sessions.values().filter(|old| old.user == session.user).collect();
        own.sort_by_key(|old| old.last_used_at);
        let ended = own.len().saturating_sub(SESSIONS_MAX - 1);
        let ended = own.into_iter().take(ended).map(|old| Change::DropSession(old.digest));
        ended.chain([Change::PutSession(session.clone())]).collect()
    }

    /// A session ends because somebody says so.
    pub fn end(&self, digest: &Digest) -> Vec<Change> {
        self.sessions.get(digest).map(|session| Change::DropSession(session.digest)).into_iter().collect()
    }

    fn end_all(&self, name: &UserName) -> Vec<Change> {
        let own = self.sessions.values().filter(|session| session.user == *name);
        own.map(|session| Change::DropSession(session.digest)).collect()
    }

    /// The sessions that are over, to be dropped. Tokens stay, so that their owners see that they are.
    pub fn over(&self, now: Timestamp, lifetime: Lifetime) -> Vec<Change> {
        let over = self.sessions.values().filter(|session| session.is_over(now, lifetime));
        over.map(|session| Change::DropSession(session.digest)).collect()
    }

    /// A token or a session was used just now.
    pub fn touch(&mut self, now: Timestamp, digest: &Digest) {
        if let Some(token) = self.tokens.get_mut(digest) {
            token.last_used_at = token.last_used_at.max(Some(now));
            self.used.insert(*digest);
        }
        if let Some(session) = self.sessions.get_mut(digest) {
            session.last_used_at = session.last_used_at.max(now);
            self.used.insert(*digest);
        }
    }

    /// What was used since the last call, to be written down.
    pub fn take_used(&mut self) -> Vec<Change> {
        let used = std::mem::take(&mut self.used);
        let token = |digest| self.tokens.get(digest).cloned().map(Change::PutToken);
        let session = |digest| self.sessions.get(digest).cloned().map(Change::PutSession);
        used.iter().filter_map(|digest| token(digest).or_else(|| session(digest))).collect()
    }

    /// Makes a change that was written down.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::PutUser(user) => drop(self.users.insert(user.name.clone(), user)),
            Change::DropUser(name) => {
                self.users.remove(&name);
                self.tokens.retain(|_, token| token.user.as_ref() != Some(&name));
                self.sessions.retain(|_, session| session.user != name);
            }
            Change::PutToken(token) => drop(self.tokens.insert(token.digest, token)),
            Change::DropToken(digest) => drop(self.tokens.remove(&digest)),
            Change::PutSession(session) => drop(self.sessions.insert(session.digest, session)),
            Change::DropSession(digest) => drop(self.sessions.remove(&digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    fn user(text: &str, role: Role) -> User {
        User { name: name(text), role, password: "$argon2id$".to_owned(), created_at: at(0) }
    }

    fn token(owner: Option<&str>, role: Role) -> Token {
        Token {
            digest: Secret::new().unwrap().digest(),
            name: "script".to_owned(),
            user: owner.map(name),
            role,
            created_at: at(0),
            expires_at: Some(at(100)),
            last_used_at: None,
        }
    }

    fn session(owner: &str, used: i64) -> Session {
        let digest = Secret::new().unwrap().digest();
        Session { digest, user: name(owner), created_at: at(0), last_used_at: at(used) }
    }

    fn make(book: &mut Book, changes: Result<Vec<Change>, BookError>) {
        changes.unwrap().into_iter().for_each(|change| book.apply(change));
    }

    /// An admin, an operator with a token and a session, and the gateway's own token.
    fn book() -> (Book, Token, Session) {
        let (script, desk) = (token(Some("otto"), Role::Operator), session("otto", 0));
        let users = vec![user("anna", Role::Admin), user("otto", Role::Operator)];
        let tokens = vec![script.clone(), token(None, Role::Viewer)];
        (Book::load(users, tokens, vec![desk.clone()]), script, desk)
    }

    #[test]
    fn the_last_admin_stays_one() {
        let (mut book, ..) = book();
        let anna = name("anna");
        let last = Err(BookError::LastAdmin(anna.clone()));
        assert_eq!(book.drop_user(&anna), last);
        for role in [Role::Viewer, Role::Operator] {
            assert_eq!(book.change_user(&anna, Some(role), None), last);
        }
        assert!(book.change_user(&anna, Some(Role::Admin), Some("$other$".to_owned())).is_ok());
        let changes = book.change_user(&name("otto"), Some(Role::Admin), None);
        make(&mut book, changes);
        let changes = book.drop_user(&anna);
        make(&mut book, changes);
        assert!(book.has_admin());
        assert_eq!(book.drop_user(&name("otto")), Err(BookError::LastAdmin(name("otto"))));
    }

    #[test]
    fn what_is_a_users_goes_with_them_and_does_no_more_than_they() {
        let (mut book, script, desk) = book();
        let life = Lifetime::default();
        assert_eq!(book.token(at(1), &script.digest).unwrap().1, Role::Operator);
        assert_eq!(book.session(at(1), &desk.digest, life).unwrap().1.name, name("otto"));
        let changes = book.change_user(&name("otto"), Some(Role::Viewer), None);
        make(&mut book, changes);
        assert_eq!(book.token(at(1), &script.digest).unwrap().1, Role::Viewer);
        assert!(book.session(at(1), &desk.digest, life).is_some(), "another role ends no session");
        let changes = book.change_user(&name("otto"), None, Some("$other$".to_owned()));
        make(&mut book, changes);
        assert!(book.session(at(1), &desk.digest, life).is_none(), "another password does");
        assert!(book.token(at(1), &script.digest).is_some(), "and no token");
        let changes = book.drop_user(&name("otto"));
        make(&mut book, changes);
        assert!(book.token(at(1), &script.digest).is_none());
        assert_eq!(book.tokens().count(), 1, "the gateway's own stays");
        assert_eq!(book.drop_user(&name("otto")), Err(BookError::NoUser("otto".to_owned())));
    }

    #[test]
    fn what_is_over_lets_nobody_in() {
        let (book, script, desk) = book();
        let life = Lifetime::default();
        assert!(book.token(at(99), &script.digest).is_some());
        assert!(book.token(at(100), &script.digest).is_none());
        let end = i64::try_from(life.idle.as_secs()).unwrap();
        assert!(book.session(at(end - 1), &desk.digest, life).is_some());
        assert!(book.session(at(end), &desk.digest, life).is_none());
        assert_eq!(book.over(at(end - 1), life), []);
        assert_eq!(book.over(at(end), life), [Change::DropSession(desk.digest)]);
        let nobody = Secret::new().unwrap().digest();
        assert!(book.token(at(1), &nobody).is_none() && book.session(at(1), &nobody, life).is_none());
    }

    #[test]
    fn a_token_is_refused_with_what_would_be_right() {
        let (book, ..) = book();
        let new = || token(Some("otto"), Role::Viewer);
        let cases = [
            (Token { name: " ".to_owned(), ..new() }, "1 to 64 characters"),
            (Token { role: Role::Admin, ..new() }, "role admin is more than operator"),
            (Token { user: Some(name("nobody")), ..new() }, "no user `nobody`"),
            (Token { expires_at: Some(at(-1)), ..new() }, "in the past"),
        ];
        for (token, needle) in cases {
            let error = book.add_token(token).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
        assert!(book.add_token(new()).is_ok());
        assert!(book.add_token(Token { expires_at: None, user: None, role: Role::Admin, ..new() }).is_ok());
    }

    #[test]
    fn only_its_owner_drops_a_token() {
        let (mut book, script, _) = book();
        let id = script.digest.id();
        let missing = Err(BookError::NoToken(id.clone()));
        assert_eq!(book.drop_token(&id, |token| token.user.is_none()), missing);
        let changes = book.drop_token(&id, |token| token.user == Some(name("otto")));
        make(&mut book, changes);
        assert_eq!(book.drop_token(&id, |_| true), missing);
    }

    #[test]
    fn tables_have_an_end() {
        let (mut book, ..) = book();
        for number in 0..USERS_MAX - 2 {
            let changes = book.add_user(user(&format!("u{number}"), Role::Viewer));
            make(&mut book, changes);
        }
        assert_eq!(book.add_user(user("one.more", Role::Viewer)), Err(BookError::Full("256 users")));
        assert_eq!(book.add_user(user("u0", Role::Viewer)), Err(BookError::Taken(name("u0"))));
        for _ in 0..TOKENS_MAX - 2 {
            let changes = book.add_token(token(None, Role::Viewer));
            make(&mut book, changes);
        }
        assert_eq!(book.add_token(token(None, Role::Viewer)), Err(BookError::Full("1024 tokens")));
        // The session that has rested longest makes room.
        for used in 1..=i64::try_from(SESSIONS_MAX).unwrap() {
            let changes = book.begin(session("otto", used));
            make(&mut book, Ok(changes));
        }
        assert_eq!(book.sessions.len(), SESSIONS_MAX);
        assert!(book.sessions.values().all(|session| session.last_used_at > at(0)));
    }

    #[test]
    fn use_is_noted_once_and_never_backwards() {
        let (mut book, script, desk) = book();
        for (now, digest) in [(5, script.digest), (3, script.digest), (7, desk.digest)] {
            book.touch(at(now), &digest);
        }
        book.touch(at(9), &Secret::new().unwrap().digest());
        let mut used = book.take_used();
        used.sort_by_key(|change| matches!(change, Change::PutSession(_)));
        let script = Token { last_used_at: Some(at(5)), ..script };
        let desk = Session { last_used_at: at(7), ..desk };
        assert_eq!(used, [Change::PutToken(script), Change::PutSession(desk)]);
        assert_eq!(book.take_used(), []);
    }
}
