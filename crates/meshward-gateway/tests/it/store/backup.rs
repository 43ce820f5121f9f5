//! Backups, and one database's backup in the other.

use meshward_gateway::store::{
    Aggregate, AuditVerdict, Holder, NewAudit, NewCommand, NewFirmware, NodeRow, Sample, Store, StoreError,
};

use super::kit::{Kit, at, on_both, on_sqlite, runtime};

const IMAGE: &[u8] = &[0, 1, 2, 255, 254];

async fn fill(store: &Store) {
    store.set_meta("mesh", "böse 'Zeichen'").await.unwrap();
    for id in 0..200 {
        let node = NodeRow {
            id,
            name: (id % 2 == 0).then(|| format!("node {id}")),
            tags: "[]".to_owned(),
            notes: String::new(),
            hardware: None,
            role: None,
            firmware: None,
            first_seen: at(0),
            last_seen: at(1),
            memory: None,
        };
        store.put_node(&node).await.unwrap();
    }
    let audit = NewAudit { at: at(1), actor: "anna", action: "login", subject: "", detail: "{}" };
    store.add_audit(&audit).await.unwrap();
    let image =
        NewFirmware { name: "a.bin", data: IMAGE, manifest: None, confirmed: true, uploaded_at: at(1) };
    store.put_firmware(&image).await.unwrap();
    let command = NewCommand { node: 7, code: 4, params: "{}", actor: "anna", accepted_at: at(3) };
    store.add_command(&command).await.unwrap();
    // In an order of their own, so that numbers of metrics differ from another database's.
    for (index, name) in ["rssi_dbm", "uptime_s"].into_iter().enumerate() {
        let metric = store.metric(name).await.unwrap();
        let sample =
            |second| Sample { node: 7, metric, at: at(second), value: (index as i64 * 100 + second) as f64 };
        store.add_samples(&[sample(0), sample(1)]).await.unwrap();
    }
}

async fn check(store: &Store) {
    assert_eq!(store.meta("mesh").await.unwrap().as_deref(), Some("böse 'Zeichen'"));
    assert_eq!(store.nodes().await.unwrap().len(), 200);
    assert_eq!(store.node(3).await.unwrap().unwrap().name, None);
    assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Whole { rows: 1 });
    let [image] = &store.firmware().await.unwrap()[..] else { panic!("one image") };
    assert_eq!((image.confirmed, image.manifest.as_ref()), (true, None));
    assert_eq!(store.firmware_image(&image.sha256).await.unwrap().as_deref(), Some(IMAGE));
    let open = store.open_commands().await.unwrap();
    assert_eq!((open.len(), open[0].cid, open[0].ended.as_ref()), (1, 1, None));
    let history = store.history(&super::telemetry::query(7, &["uptime_s"], 0, 9, 0)).await.unwrap();
    let values: Vec<f64> =
        history.series["uptime_s"].iter().map(|point| point.value(Aggregate::Last)).collect();
    assert_eq!(values, [100.0, 101.0]);
}

/// From one database into another one that has something else.
async fn move_over(from: &Kit, to: &Kit) {
    fill(&from.store).await;
    let file = from.path("backup.db");
    from.store.backup(&file).await.unwrap();
    to.store.set_meta("mesh", "another").await.unwrap();
    to.store.set_meta("only here", "yes").await.unwrap();
    to.store.metric("other").await.unwrap();
    let holder = Holder::this_process();
    to.store.take_lease(&holder, at(0)).await.unwrap();
    to.store.restore(&file).await.unwrap();
    check(&to.store).await;
    assert_eq!(to.store.meta("only here").await.unwrap(), None);
    // It goes on where the other stopped, and is still its holder's.
    let command = NewCommand { node: 7, code: 4, params: "{}", actor: "anna", accepted_at: at(3) };
    assert_eq!(to.store.add_command(&command).await.unwrap(), 2);
    let stranger = Holder { id: "x".to_owned(), words: "a stranger".to_owned() };
    assert!(matches!(to.store.take_lease(&stranger, at(1)).await, Err(StoreError::Held { .. })));
    check_files(&file);
}

fn check_files(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let names = std::fs::read_dir(file.parent().unwrap()).unwrap();
    let left: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("part") || name.contains("restore"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_backup_of_each_database_goes_on_in_each() {
    runtime().block_on(async {
        move_over(&Kit::sqlite().await, &Kit::sqlite().await).await;
        move_over(&Kit::sqlite().await, &Kit::postgres().await).await;
        move_over(&Kit::postgres().await, &Kit::sqlite().await).await;
        move_over(&Kit::postgres().await, &Kit::postgres().await).await;
    });
}

#[test]
fn a_backup_is_not_written_over_something() {
    on_both(async |kit| {
        let file = kit.path("backup.db");
        std::fs::write(&file, "precious").unwrap();
        let error = kit.store.backup(&file).await.unwrap_err();
        assert!(
            matches!(error, StoreError::File { .. }) && error.to_string().contains("backup.db"),
            "{error:?}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        assert!(kit.store.backup(&kit.path("no/folder.db")).await.is_err());
    });
}

#[test]
fn what_is_no_backup_changes_nothing() {
    on_both(async |kit| {
        fill(&kit.store).await;
        let letter = kit.path("letter.txt");
        std::fs::write(&letter, "Dear Sir or Madam, ".repeat(500)).unwrap();
        let newer = kit.path("newer.db");
        kit.store.backup(&newer).await.unwrap();
        super::kit::meddle_with(&newer, "INSERT INTO migrations (number) VALUES (9999)").await;
        let other = kit.path("other.db");
        super::kit::meddle_with(&other, "CREATE TABLE letters (a TEXT)").await;
        for file in [&letter, &other, &kit.path("missing.db")] {
            let error = kit.store.restore(file).await.unwrap_err();
            assert!(!matches!(error, StoreError::Newer { .. }), "{error:?}");
        }
        let error = kit.store.restore(&newer).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 9999, .. }), "{error:?}");
        check(&kit.store).await;
        check_files(&newer);
    });
}

#[test]
fn a_backup_is_of_one_moment_while_others_write() {
    on_sqlite(async |kit| {
        let store = kit.store.clone();
        let writer = tokio::spawn(async move {
            for number in 0..200 {
                let audit = NewAudit { at: at(number), actor: "a", action: "b", subject: "c", detail: "{}" };
                store.add_audit(&audit).await.unwrap();
            }
        });
        let file = kit.path("backup.db");
        kit.store.backup(&file).await.unwrap();
        writer.await.unwrap();
        let copy = Store::open(&file.to_str().unwrap().parse().unwrap()).await.unwrap();
        assert!(matches!(copy.verify_audit().await.unwrap(), AuditVerdict::Whole { .. }));
    });
}
