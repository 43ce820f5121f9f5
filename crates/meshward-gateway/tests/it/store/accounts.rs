//! Users, tokens and sessions are there after a restart, and go together.

use jiff::Timestamp;
use meshward_gateway::rest::access::book::{Book, Change};
use meshward_gateway::rest::access::keeper::{Keeper as _, Line};
use meshward_gateway::rest::access::role::Role;
use meshward_gateway::rest::access::secret::Secret;
use meshward_gateway::rest::access::session::{Lifetime, Session};
use meshward_gateway::rest::access::token::Token;
use meshward_gateway::rest::access::user::User;
use meshward_gateway::store::AuditVerdict;

use super::kit::{at, on_both};

fn user(name: &str, role: Role) -> User {
    User { name: name.parse().unwrap(), role, password: "$argon2id$".to_owned(), created_at: at(0) }
}

fn token(owner: Option<&str>, expires_at: Option<Timestamp>) -> Token {
    Token {
        digest: Secret::new().unwrap().digest(),
        name: "scrüpt".to_owned(),
        user: owner.map(|name| name.parse().unwrap()),
        role: Role::Operator,
        created_at: at(0),
        expires_at,
        last_used_at: None,
    }
}

fn session(owner: &str) -> Session {
    let digest = Secret::new().unwrap().digest();
    Session { digest, user: owner.parse().unwrap(), created_at: at(0), last_used_at: at(0) }
}

/// All users and tokens, in words.
fn told(book: &Book) -> Vec<String> {
    let users = book.users().map(|user| format!("{user:?} {} {}", user.password, user.created_at));
    users.chain(book.tokens().map(|token| format!("{token:?}"))).collect()
}

#[test]
fn who_there_is_is_there_after_a_restart() {
    on_both(async |kit| {
        let (own, script, desk) = (token(None, None), token(Some("otto"), Some(at(9))), session("otto"));
        let changes = [
            Change::PutUser(user("otto", Role::Operator)),
            Change::PutUser(user("anna", Role::Admin)),
            Change::PutToken(own.clone()),
            Change::PutToken(script.clone()),
            Change::PutSession(desk.clone()),
            // Once more, as they change.
            Change::PutUser(User { password: "$other$".to_owned(), ..user("otto", Role::Viewer) }),
            Change::PutToken(Token { last_used_at: Some(at(3)), ..script.clone() }),
            Change::PutSession(Session { last_used_at: at(4), ..desk.clone() }),
        ];
        let mut expected = Book::default();
        changes.iter().cloned().for_each(|change| expected.apply(change));
        kit.store.keep(&changes).await.unwrap();
        kit.store.close().await;
        let book = kit.again().await.load().await.unwrap();
        assert_eq!(told(&book), told(&expected));
        let found = book.session(at(5), &desk.digest, Lifetime::default()).unwrap().0;
        assert_eq!(*found, Session { last_used_at: at(4), ..desk.clone() });

        // What is a user's goes with them.
        let store = kit.again().await;
        store.keep(&[Change::DropUser("otto".parse().unwrap())]).await.unwrap();
        let book = store.load().await.unwrap();
        assert!(book.session(at(5), &desk.digest, Lifetime::default()).is_none());
        assert_eq!(book.tokens().collect::<Vec<_>>(), [&own]);
        store.keep(&[Change::DropToken(own.digest), Change::DropSession(desk.digest)]).await.unwrap();
        assert_eq!(told(&store.load().await.unwrap()).len(), 1);
    });
}

#[test]
fn changes_are_kept_all_or_none() {
    on_both(async |kit| {
        let changes = [Change::PutUser(user("anna", Role::Admin)), Change::PutSession(session("nobody"))];
        let refused = kit.store.keep(&changes).await.unwrap_err();
        assert!(!refused.transient, "{refused:?}");
        assert_eq!(told(&kit.store.load().await.unwrap()), Vec::<String>::new());
    });
}

#[test]
fn what_nobody_has_written_is_no_user() {
    on_both(async |kit| {
        let odd = "INSERT INTO users (name, role, password, created_at) VALUES ('anna', 'root', 'x', 0)";
        kit.meddle(odd).await;
        let error = std::error::Error::source(&kit.store.load().await.unwrap_err()).unwrap().to_string();
        assert!(error.contains("`root` is no role"), "{error}");
    });
}

#[test]
fn a_line_goes_into_the_audits_chain() {
    on_both(async |kit| {
        let line = Line {
            at: at(1),
            who: "anna".to_owned(),
            from: "192.0.2.1".to_owned(),
            act: "user.create",
            subject: "otto".to_owned(),
            text: "user otto created as viewer".to_owned(),
        };
        kit.store.note(line).await.unwrap();
        let rows = kit.store.audit(None, 10).await.unwrap();
        assert_eq!((rows[0].actor.as_str(), rows[0].action.as_str()), ("anna", "user.create"));
        assert!(rows[0].subject == "otto" && rows[0].detail.contains("192.0.2.1"), "{rows:?}");
        assert_eq!(kit.store.verify_audit().await.unwrap(), AuditVerdict::Whole { rows: 1 });
    });
}
