//! Opening, small things by name, numbers, and databases that are not as they should be.

use std::time::Duration;

use meshward_gateway::store::{Store, StoreError, StoreOptions};

use super::kit::{on_both, on_sqlite};

#[test]
fn what_is_kept_is_there_after_a_restart() {
    on_both(async |kit| {
        assert_eq!(kit.store.meta("mesh").await.unwrap(), None);
        kit.store.set_meta("mesh", "first").await.unwrap();
        kit.store.set_meta("mesh", "söcond").await.unwrap();
        kit.store.close().await;
        assert_eq!(kit.again().await.meta("mesh").await.unwrap().as_deref(), Some("söcond"));
    });
}

#[test]
fn numbers_never_come_twice() {
    on_both(async |kit| {
        assert_eq!(kit.store.reserve("events", 1000).await.unwrap(), 1);
        assert_eq!(kit.store.reserve("other", 1).await.unwrap(), 1);
        kit.store.close().await;
        assert_eq!(kit.again().await.reserve("events", 10).await.unwrap(), 1001);
        let store = kit.again().await;
        let mut both = tokio::join!(store.reserve("events", 5), store.reserve("events", 5));
        let mut firsts = [both.0.as_mut().unwrap(), both.1.as_mut().unwrap()];
        firsts.sort();
        assert_eq!(firsts, [&1011, &1016]);
    });
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    on_both(async |kit| {
        kit.store.close().await;
        kit.meddle("INSERT INTO migrations (number) VALUES (9999)").await;
        let read_only = StoreOptions { read_only: true, ..StoreOptions::default() };
        for options in [StoreOptions::default(), read_only] {
            let error = Store::open_with(&kit.url, &options).await.unwrap_err();
            assert!(matches!(error, StoreError::Newer { found: 9999, .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("9999") && text.contains(&Store::schema().to_string()), "{text}");
        }
        kit.meddle("DELETE FROM migrations WHERE number = 9999").await;
        kit.again().await.set_meta("a", "b").await.unwrap();
    });
}

#[test]
fn a_database_that_is_only_read_refuses_changes() {
    on_both(async |kit| {
        kit.store.set_meta("a", "b").await.unwrap();
        let store = kit.again_with(&StoreOptions { read_only: true, ..StoreOptions::default() }).await;
        assert_eq!(store.meta("a").await.unwrap().as_deref(), Some("b"));
        let error = store.set_meta("a", "c").await.unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }) && error.is_transient(), "{error:?}");
        assert_eq!(kit.store.meta("a").await.unwrap().as_deref(), Some("b"));
    });
}

#[test]
fn a_locked_database_is_busy_after_a_wait_and_then_works() {
    on_both(async |kit| {
        let store = kit
            .again_with(&StoreOptions { busy: Duration::from_millis(50), ..StoreOptions::default() })
            .await;
        let holder = kit.hold().await;
        let error = store.set_meta("a", "b").await.unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }) && error.is_transient(), "{error:?}");
        assert!(error.to_string().contains("keep a setting"), "{error}");
        holder.let_go().await;
        store.set_meta("a", "b").await.unwrap();
    });
}

#[test]
fn a_full_database_refuses_and_keeps_what_it_has() {
    on_sqlite(async |kit| {
        kit.store.set_meta("a", "b").await.unwrap();
        let small = StoreOptions { size_max: Some(4096), ..StoreOptions::default() };
        let store = kit.again_with(&small).await;
        let error = store.set_meta("big", &"x".repeat(400_000)).await.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }) && error.is_transient(), "{error:?}");
        assert_eq!(store.meta("a").await.unwrap().as_deref(), Some("b"));
        // What changes no size still works.
        store.set_meta("a", "c").await.unwrap();
    });
}

#[test]
fn what_is_no_database_is_said_to_be_none() {
    on_sqlite(async |kit| {
        let open = async |path: std::path::PathBuf| {
            let url = path.to_str().unwrap().parse().unwrap();
            let error = Store::open(&url).await.unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            (error.to_string(), source)
        };
        let text = kit.path("letter.txt");
        std::fs::write(&text, "Dear Sir or Madam, ".repeat(500)).unwrap();
        let (error, source) = open(text.clone()).await;
        assert!(error.contains("letter.txt") && source.contains("not a database"), "{error}: {source}");
        assert!(std::fs::read_to_string(&text).unwrap().starts_with("Dear Sir"));
        let (error, source) = open(kit.path("no/such/folder.db")).await;
        assert!(error.contains("no/such/folder.db") && source.contains("No such file"), "{error}: {source}");
    });
}

#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    on_sqlite(async |kit| {
        kit.store.set_meta("a", "b").await.unwrap();
        for name in ["mesh.db", "mesh.db-wal"] {
            let mode = std::fs::metadata(kit.path(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    });
}
