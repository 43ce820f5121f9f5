//! What is written late: together, again after errors, and with a count of what was lost.

use std::time::Duration;

use meshward_gateway::store::{
    EventFilter, EventRow, QUEUE_MAX, Record, Recorder, Sample, Store, StoreOptions,
};

use super::kit::{Kit, at, on_both, on_sqlite};

fn event(id: u64) -> Record {
    Record::Event(EventRow {
        id,
        at: at(id as i64),
        kind: "join".to_owned(),
        node: None,
        detail: "{}".to_owned(),
    })
}

async fn ids(store: &Store) -> Vec<u64> {
    let filter = EventFilter { after: Some(0), ..EventFilter::default() };
    store.events(&filter, 1000).await.unwrap().iter().map(|row| row.id).collect()
}

#[test]
fn records_are_there_within_a_second_without_a_flush() {
    on_both(async |kit| {
        let recorder = Recorder::start(kit.store.clone());
        (1..=50).for_each(|id| recorder.record(event(id)));
        let other = kit.again().await;
        let wait = async {
            while ids(&other).await.len() < 50 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Half a second is promised; the rest is for a busy machine.
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
        // The last words of one that is dropped are kept too.
        recorder.record(event(51));
        drop(recorder);
        let wait = async {
            while ids(&other).await.len() < 51 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
    });
}

#[test]
fn what_a_locked_database_does_not_take_is_kept_until_it_does() {
    on_both(async |kit| {
        let busy = StoreOptions { busy: Duration::from_millis(20), ..StoreOptions::default() };
        let store = kit.again_with(&busy).await;
        let metric = store.metric("rssi_dbm").await.unwrap();
        let recorder = Recorder::start(store.clone());
        recorder.record(Record::Sample(Sample { node: 7, metric, at: at(0), value: -70.0 }));
        recorder.flush().await.unwrap();
        let holder = kit.hold().await;
        recorder.record(event(1));
        recorder.record(Record::Sample(Sample { node: 7, metric, at: at(1), value: -71.0 }));
        let error = recorder.flush().await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        recorder.record(event(2));
        assert!(recorder.flush().await.is_err());
        holder.let_go().await;
        recorder.flush().await.unwrap();
        assert_eq!(ids(&store).await, [1, 2]);
        let query = super::telemetry::query(7, &["rssi_dbm"], 0, 10, 0);
        assert_eq!(store.history(&query).await.unwrap().series["rssi_dbm"].len(), 2);
        assert_eq!(recorder.dropped(), Default::default());
    });
}

#[test]
fn a_full_disk_keeps_what_is_there_and_what_waits() {
    on_sqlite(async |kit| {
        let small = StoreOptions { size_max: Some(400_000), ..StoreOptions::default() };
        let store = kit.again_with(&small).await;
        let recorder = Recorder::start(store.clone());
        recorder.record(event(1));
        recorder.flush().await.unwrap();
        let big = |id| {
            let Record::Event(row) = event(id) else { unreachable!() };
            Record::Event(EventRow { detail: "x".repeat(1_000_000), ..row })
        };
        recorder.record(big(2));
        let error = recorder.flush().await.unwrap_err();
        assert!(matches!(error, meshward_gateway::store::StoreError::Full { .. }), "{error:?}");
        assert_eq!((ids(&store).await, recorder.dropped().events), (vec![1], 0));
    });
}

#[test]
fn a_full_queue_drops_and_counts_by_kind() {
    // On one thread the task gets no turn while there is no await.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kit = Kit::sqlite().await;
        let metric = kit.store.metric("rssi_dbm").await.unwrap();
        let recorder = Recorder::start(kit.store.clone());
        for index in 0..QUEUE_MAX + 100 {
            recorder.record(Record::Sample(Sample { node: index as u32, metric, at: at(0), value: -70.0 }));
        }
        (1..=10).for_each(|id| recorder.record(event(id)));
        let dropped = recorder.dropped();
        assert_eq!((dropped.samples, dropped.events, dropped.nodes), (100, 10, 0));
        recorder.flush().await.unwrap();
        assert_eq!(kit.count("SELECT SUM(samples) FROM telemetry_log").await, QUEUE_MAX as u64);
        recorder.record(event(11));
        recorder.flush().await.unwrap();
        assert_eq!((ids(&kit.store).await, recorder.dropped()), (vec![11], dropped));
    });
}
