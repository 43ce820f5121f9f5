//! One gateway per database.

use meshward_gateway::store::{Holder, LEASE_SECONDS, StoreError};

use super::kit::{at, on_both};

fn holder(name: &str) -> Holder {
    Holder { id: format!("elsewhere/1/{name}"), words: format!("the gateway {name}") }
}

#[test]
fn a_second_gateway_is_refused_and_told_whom_to_stop() {
    on_both(async |kit| {
        let (first, second) = (holder("anton"), holder("berta"));
        kit.store.take_lease(&first, at(0)).await.unwrap();
        let other = kit.again().await;
        let error = other.take_lease(&second, at(1)).await.unwrap_err();
        assert!(matches!(&error, StoreError::Held { until, .. } if *until == at(LEASE_SECONDS)), "{error:?}");
        assert!(error.to_string().contains("the gateway anton"), "{error}");
        // Renewed, it is held longer.
        kit.store.take_lease(&first, at(10)).await.unwrap();
        assert!(other.take_lease(&second, at(LEASE_SECONDS + 1)).await.is_err());
        // Given back, it is free; what is not one's own cannot be given back.
        other.release_lease(&second).await.unwrap();
        assert!(other.take_lease(&second, at(11)).await.is_err());
        kit.store.release_lease(&first).await.unwrap();
        other.take_lease(&second, at(11)).await.unwrap();
    });
}

#[test]
fn a_stale_lease_is_taken_over_and_its_holder_is_told() {
    on_both(async |kit| {
        let (first, second) = (holder("anton"), holder("berta"));
        kit.store.take_lease(&first, at(0)).await.unwrap();
        let other = kit.again().await;
        assert!(other.take_lease(&second, at(LEASE_SECONDS - 1)).await.is_err());
        other.take_lease(&second, at(LEASE_SECONDS)).await.unwrap();
        let error = kit.store.take_lease(&first, at(LEASE_SECONDS + 1)).await.unwrap_err();
        assert!(error.to_string().contains("the gateway berta"), "{error}");
    });
}

#[test]
fn of_two_that_begin_at_once_one_wins() {
    on_both(async |kit| {
        let other = kit.again().await;
        let (first, second) = (holder("anton"), holder("berta"));
        let (one, two) = tokio::join!(kit.store.take_lease(&first, at(0)), other.take_lease(&second, at(0)));
        assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
    });
}

#[test]
fn the_lease_of_a_killed_process_is_free_at_once() {
    on_both(async |kit| {
        let mut killed = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let own = Holder::this_process();
        // As that process would have written it.
        let id = own.id.replace(&format!("/{}/", std::process::id()), &format!("/{}/", killed.id()));
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", killed.id())).unwrap();
        let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
        let id = format!("{}/{started}", id.rsplit_once('/').unwrap().0);
        kit.store.take_lease(&Holder { id, words: "the other".to_owned() }, at(0)).await.unwrap();
        let error = kit.store.take_lease(&own, at(1)).await.unwrap_err();
        assert!(error.to_string().contains("the other"), "{error}");
        killed.kill().unwrap();
        killed.wait().unwrap();
        kit.store.take_lease(&own, at(1)).await.unwrap();
    });
}
