//! Deployments on nodes of both families, from the survey to the last line.

use std::sync::Arc;

use meshward_core::hash::{Md5Sum, Sha256Sum};
use meshward_core::ota::trust::{KeyKind, KeyStore, Manifest};
use meshward_core::ota::{StartError, Tempo};
use meshward_core::rng::Rng;
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{
    Deployment, OrderCounter, Phase, Plan, Revert, SignedManifest, Standing, State, Why,
};
use meshward_fleet::forecast::{Scheme, Service};
use meshward_fleet::payload::Options;
use meshward_fleet::signing::SigningKey;

use crate::net::{Kind, Net};

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn key(kind: KeyKind) -> SigningKey {
    SigningKey::from_seed(kind, [kind.number(); 32]).unwrap()
}

pub(crate) fn keys() -> KeyStore {
    KeyStore::new(&[key(KeyKind::Author).key(), key(KeyKind::Operator).key()]).unwrap()
}

/// Bytes that pack a little, as code does.
pub(crate) fn image(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(7);
    let mut image: Vec<u8> = (0..40_000).map(|_| (rng.next_u64() % 100) as u8).collect();
    (0..20).for_each(|at| image[at * 1_999] = seed as u8);
    image
}

fn manifest(image: &[u8], role: &str, sequence: u64) -> SignedManifest {
    let manifest = Manifest {
        sha256: Sha256Sum::of(image),
        md5: Md5Sum::of(image),
        size: image.len() as u32,
        hardware: "ESP32".to_owned(),
        role: role.to_owned(),
        version: sequence.to_string(),
        sequence,
        protocol: (1, 1),
        not_after: None,
    };
    let signed = key(KeyKind::Author).manifest(&manifest).unwrap();
    SignedManifest::read(signed, manifest.sha256).unwrap()
}

fn plan(image: &[u8], sequence: u64) -> Plan {
    plan_for("sensor", image, sequence)
}

pub(crate) fn plan_for(role: &str, image: &[u8], sequence: u64) -> Plan {
    Plan {
        image: Arc::from(image),
        manifest: Some(manifest(image, role, sequence)),
        bases: Vec::new(),
        operator: Arc::new(key(KeyKind::Operator)),
        counter: OrderCounter::default(),
        targets: None,
        scheme: Scheme::Auto,
        packing: Options::default(),
        role: role.to_owned(),
        hardware: "ESP32".to_owned(),
        part_size: 1_024,
        concurrency: 12,
        hold: false,
        tempo: Tempo::default(),
        broadcast: true,
        confirmed: true,
        forecast_only: false,
        takes_turns: false,
        named: false,
    }
}

/// Nodes in this order, each below the one of the place that is named with it.
fn mesh(nodes: &[(Kind, usize)], old: &[u8]) -> Net {
    let mut net = Net::new();
    for (kind, parent) in nodes {
        net.add(*kind, *parent, old, &keys());
    }
    net.form();
    net
}

fn start(net: &mut Net, plan: Plan) {
    let now = net.now;
    net.phases.clear();
    net.deployment = Some(Deployment::start(now, net.gateway(), plan).unwrap());
}

fn is_over(net: &mut Net) -> bool {
    net.deployment.as_ref().is_some_and(Deployment::is_finished)
}

fn finish(net: &mut Net) {
    assert!(net.run(HOUR, is_over), "it ends: {:?}", net.deployment.as_ref().map(Deployment::phase));
}

fn said(net: &mut Net, place: usize) -> String {
    match net.state(place) {
        State::Failed(why) => format!("failed: {why}"),
        State::Declined(Some(why)) => format!("declined: {why}"),
        other => format!("{other:?}"),
    }
}

const MIXED: [(Kind, usize); 6] = [
    (Kind::Signed, 0),
    (Kind::Signed, 1),
    (Kind::Stock, 1),
    (Kind::Signed, 3),
    (Kind::Stock, 2),
    (Kind::Signed, 2),
];

#[test]
fn both_families_get_the_image_before_anybody_restarts() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&MIXED, &old);
    start(&mut net, Plan { bases: vec![Arc::from(&old[..])], ..plan(&new, 1) });
    finish(&mut net);
    for place in 1..=MIXED.len() {
        assert_eq!(net.state(place), State::Updated, "node {}", place + 1);
    }
    use Phase::{Activating, Delivering, Finished, Sending, Surveying};
    // Packing takes no time here.
    assert_eq!(net.phases, [Surveying, Delivering, Sending, Activating, Finished]);
    let deployment = net.deployment.as_ref().unwrap();
    let forecast = deployment.forecast().unwrap();
    assert_eq!(forecast.passes.len(), 1);
    assert_eq!(forecast.passes[0].form.name(), "delta");
    assert_eq!(deployment.last_counter(), 1);
    assert!(deployment.transfers().meshward.is_some() && deployment.transfers().stock.is_some());
    // A minute of soak later the image counts on Meshward nodes, too.
    net.run(Duration::from_secs(120), |_| false);
    for place in 1..=MIXED.len() {
        assert_eq!(net.image(place), new, "node {}", place + 1);
    }
}

#[test]
fn waves_start_the_image_when_they_are_activated_and_a_new_gateway_is_obeyed() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&MIXED, &old);
    start(&mut net, Plan { hold: true, ..plan(&new, 1) });
    assert!(net.run(HOUR, |net| net.phases.last() == Some(&Phase::Held)));
    net.run(Duration::from_secs(600), |_| false);
    for place in 1..=MIXED.len() {
        assert_eq!(net.state(place), State::Ready, "node {}", place + 1);
    }
    let wave = [NodeId(5), NodeId(6)];
    net.with(|now, deployment, node| deployment.activate(now, node, &wave));
    assert!(net.run(HOUR, |net| net.phases.last() == Some(&Phase::Held)));
    for place in 1..=MIXED.len() {
        let expected = if wave.contains(&NodeId(place as u32 + 1)) { State::Updated } else { State::Ready };
        assert_eq!(net.state(place), expected, "node {}", place + 1);
    }
    let all: Vec<NodeId> = (2..=7).map(NodeId).collect();
    net.with(|now, deployment, node| deployment.activate(now, node, &all));
    finish(&mut net);
    assert!((1..=MIXED.len()).all(|place| net.state(place) == State::Updated));
    assert_eq!(net.deployment.as_ref().unwrap().last_counter(), 2);
    // The next plan knows nothing of these orders: it learns their counter from the nodes.
    net.run(Duration::from_secs(120), |_| false);
    let newer = image(3);
    start(&mut net, plan(&newer, 2));
    finish(&mut net);
    assert!((1..=MIXED.len()).all(|place| net.state(place) == State::Updated));
    assert_eq!(net.deployment.as_ref().unwrap().last_counter(), 3);
}

#[test]
fn who_gets_nothing_is_named() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&[(Kind::Signed, 0), (Kind::Stock, 1)], &old);
    start(
        &mut net,
        Plan { confirmed: false, targets: Some(vec![NodeId(2), NodeId(3), NodeId(9)]), ..plan(&new, 1) },
    );
    finish(&mut net);
    assert_eq!(net.state(1), State::Updated);
    assert!(said(&mut net, 2).contains("--confirm-receiver"));
    let absent = net.with(|_, deployment, node| deployment.report(node).last().cloned()).unwrap();
    assert!(matches!(&absent.state, State::Failed(why) if why.to_string() == "is not in the mesh"));
    // Once more: the one runs it already; without a manifest it could not be told.
    net.run(Duration::from_secs(120), |_| false);
    start(&mut net, plan(&new, 1));
    finish(&mut net);
    assert_eq!(
        (said(&mut net, 1), net.state(2)),
        ("declined: runs this image already".to_owned(), State::Updated)
    );
    start(&mut net, Plan { manifest: None, ..plan(&image(3), 2) });
    finish(&mut net);
    assert!(said(&mut net, 1).contains("takes signed images only"));
    assert_eq!(net.state(2), State::Updated);
}

#[test]
fn who_restarts_while_it_is_asked_is_waited_for_with_those_behind() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&[(Kind::Signed, 0), (Kind::Stock, 1)], &old);
    let targets = Some(vec![NodeId(2), NodeId(3)]);
    start(&mut net, Plan { targets, ..plan(&new, 1) });
    net.run(Duration::from_millis(500), |_| false);
    assert_eq!(net.phases, [Phase::Surveying]);
    net.restart(1);
    finish(&mut net);
    assert_eq!((net.state(1), net.state(2)), (State::Updated, State::Updated));
}

#[test]
fn a_refusal_is_said_in_words() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&[(Kind::Signed, 0)], &old);
    let stranger = Arc::new(SigningKey::from_seed(KeyKind::Operator, [9; 32]).unwrap());
    start(&mut net, Plan { operator: stranger, ..plan(&new, 1) });
    finish(&mut net);
    assert!(said(&mut net, 1).contains("it does not know the key that signed"), "{}", said(&mut net, 1));
}

#[test]
fn a_node_that_does_not_come_back_is_given_up_and_one_that_reverts_says_why() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&[(Kind::Signed, 0), (Kind::Signed, 0), (Kind::Signed, 0)], &old);
    start(&mut net, plan(&new, 1));
    net.spoil(2);
    assert!(net.run(HOUR, |net| net.phases.last() == Some(&Phase::Activating)));
    assert!(net.run(HOUR, |net| net.state(1) == State::Restarting));
    net.kill(1);
    let began = net.now;
    finish(&mut net);
    assert!(said(&mut net, 1).contains("did not come back"), "{}", said(&mut net, 1));
    assert!(said(&mut net, 2).contains("went back from the image: the image's self-test failed"));
    assert_eq!(net.state(3), State::Updated);
    assert!(net.now.since(began) < Duration::from_secs(8 * 60));
    assert_eq!(net.image(2), old);
}

#[test]
fn a_forecast_sends_nothing_and_the_rest_can_be_paused_and_aborted() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&MIXED, &old);
    start(&mut net, Plan { forecast_only: true, ..plan(&new, 1) });
    finish(&mut net);
    let forecast = net.deployment.as_ref().unwrap().forecast().unwrap().clone();
    let served: Vec<(&Service, usize)> =
        forecast.groups.iter().map(|group| (&group.service, group.nodes.len())).collect();
    assert_eq!(served, [(&Service::Pass(0), 4), (&Service::Turbo, 2)]);

    start(&mut net, Plan { tempo: Tempo::with_airtime(5), ..plan(&new, 1) });
    assert!(net.run(HOUR, |net| net.phases.last() == Some(&Phase::Delivering)));
    net.run(Duration::from_secs(20), |_| false);
    let eta = net.with(|now, deployment, node| deployment.eta(now, node)).unwrap();
    assert!(eta > Duration::from_secs(30) && eta < HOUR, "{eta:?}");
    net.with(|now, deployment, node| deployment.pause(now, node));
    let before = net.bytes;
    net.run(Duration::from_secs(300), |_| false);
    assert!(net.bytes - before < 100_000, "{} bytes while it was paused", net.bytes - before);
    net.with(|now, deployment, node| deployment.resume(now, node));
    finish(&mut net);
    assert!((1..=MIXED.len()).all(|place| net.state(place) == State::Updated));

    let mut net = mesh(&MIXED, &old);
    start(&mut net, plan(&new, 1));
    assert!(net.run(HOUR, |net| net.phases.last() == Some(&Phase::Sending)));
    net.with(|now, deployment, node| deployment.abort(now, node));
    assert!(is_over(&mut net));
    assert_eq!(said(&mut net, 1), "failed: the roll-out was aborted");
    net.run(Duration::from_secs(600), |_| false);
    assert!((1..=MIXED.len()).all(|place| net.image(place) == old));
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let new = image(2);
    let mut net = mesh(&[(Kind::Signed, 0)], &image(1));
    let now = net.now;
    let mut check = |plan: Plan, expected: StartError| {
        assert_eq!(Deployment::start(now, net.gateway(), plan).map(|_| ()), Err(expected));
    };
    check(Plan { image: Arc::from([]), ..plan(&new, 1) }, StartError::EmptyImage);
    check(Plan { tempo: Tempo::with_airtime(0), ..plan(&new, 1) }, StartError::Airtime(0));
    check(Plan { part_size: 9, ..plan(&new, 1) }, StartError::PartSize(9));
    check(Plan { targets: Some(vec![NodeId(1)]), ..plan(&new, 1) }, StartError::NoTargets);
    let other = SignedManifest::read(manifest(&new, "sensor", 1).bytes().to_vec(), Sha256Sum::of(b"other"));
    assert!(other.unwrap_err().to_string().contains("the manifest is of image"));
}

#[test]
fn nodes_behind_stock_nodes_are_heard() {
    let (old, new) = (image(1), image(2));
    let (signed, stock) = (Kind::Signed, Kind::Stock);
    let mut net = mesh(
        &[(stock, 0), (stock, 1), (stock, 2), (signed, 3), (signed, 4), (stock, 5), (stock, 6), (signed, 7)],
        &old,
    );
    start(&mut net, plan(&new, 1));
    finish(&mut net);
    for place in 1..=8 {
        assert_eq!(net.state(place), State::Updated, "node {}: {}", place + 1, said(&mut net, place));
    }
}

/// Sends nodes back and waits for what becomes of it.
fn revert(net: &mut Net, ids: &[NodeId]) {
    net.with(|now, deployment, node| deployment.revert(now, node, ids));
    let over = |net: &mut Net| {
        let deployment = net.deployment.as_ref().unwrap();
        ids.iter().all(|id| !matches!(deployment.reverting(*id), Some(Revert::Ordered)))
    };
    assert!(net.run(HOUR, over), "ways back end");
}

#[test]
fn nodes_are_sent_back_on_trial_and_after_it_and_the_image_is_put_into_quarantine() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&MIXED, &old);
    start(&mut net, Plan { hold: true, ..plan(&new, 1) });
    assert!(net.run(HOUR, |net| net.phases.last() == Some(&Phase::Held)));
    let wave = [NodeId(2), NodeId(4), NodeId(5)];
    net.with(|now, deployment, node| deployment.activate(now, node, &wave));
    assert!(net.run(HOUR, |net| net.phases.last() == Some(&Phase::Held)));
    let standing =
        |net: &mut Net, id: u32| net.with(|_, deployment, node| deployment.standing(node, NodeId(id)));
    // A stock node says nothing; the others are on trial, and then it counts.
    assert_eq!((standing(&mut net, 4), standing(&mut net, 2)), (Standing::Unknown, Standing::Trial));
    net.run(Duration::from_secs(120), |_| false);
    assert_eq!((standing(&mut net, 2), standing(&mut net, 7)), (Standing::Confirmed, Standing::Old));
    net.with(|now, deployment, node| deployment.activate(now, node, &[NodeId(3)]));
    assert!(net.run(HOUR, |net| net.state(2) == State::Updated));
    // One on trial, one for whom it counts, and one that never started it; a stock node is passed over.
    net.with(|now, deployment, node| deployment.abort(now, node));
    revert(&mut net, &[NodeId(2), NodeId(3), NodeId(5), NodeId(7), NodeId(4)]);
    for id in [2, 3, 5, 7] {
        let way = net.deployment.as_ref().unwrap().reverting(NodeId(id)).cloned();
        assert_eq!(way, Some(Revert::Done), "node {id}");
        assert_eq!(net.image(id as usize - 1), old, "node {id}");
    }
    assert_eq!(net.deployment.as_ref().unwrap().reverting(NodeId(4)), None);
    assert_eq!(net.image(3), new, "a stock node keeps it");
    assert!(said(&mut net, 1).contains("it was ordered"), "{}", said(&mut net, 1));
    assert!(!net.with(|_, deployment, node| deployment.is_quarantined(node)));
    net.with(|now, deployment, node| deployment.quarantine(now, node));
    assert!(net.run(HOUR, |net| net.with(|_, deployment, node| deployment.is_quarantined(node))));
    // The same image is refused from now on; the twin, another one, is taken.
    net.run(Duration::from_secs(60), |_| false);
    start(&mut net, plan(&new, 1));
    finish(&mut net);
    assert!(said(&mut net, 1).contains("quarantine"), "{}", said(&mut net, 1));
    start(&mut net, plan(&image(3), 2));
    finish(&mut net);
    assert_eq!(net.state(1), State::Updated, "{}", said(&mut net, 1));
}

#[test]
fn a_way_back_waits_for_who_is_away_and_ends() {
    let (old, new) = (image(1), image(2));
    let mut net = mesh(&[(Kind::Signed, 0), (Kind::Signed, 0), (Kind::Signed, 0)], &old);
    start(&mut net, Plan { hold: true, ..plan(&new, 1) });
    assert!(net.run(HOUR, |net| net.phases.last() == Some(&Phase::Held)));
    let all = [NodeId(2), NodeId(3), NodeId(4)];
    net.with(|now, deployment, node| deployment.activate(now, node, &all));
    finish(&mut net);
    net.run(Duration::from_secs(120), |_| false);
    net.kill(1);
    net.restart(2);
    let began = net.now;
    revert(&mut net, &all);
    let way = |net: &Net, id: u32| net.deployment.as_ref().unwrap().reverting(NodeId(id)).cloned();
    assert_eq!(way(&net, 2), Some(Revert::Failed(Why::DidNotReturn)));
    assert_eq!((way(&net, 3), way(&net, 4)), (Some(Revert::Done), Some(Revert::Done)));
    assert_eq!((net.image(2), net.image(3)), (old.clone(), old));
    assert!(net.now.since(began) <= Duration::from_secs(21 * 60), "{:?}", net.now.since(began));
    // Twice is once.
    net.with(|now, deployment, node| deployment.revert(now, node, &all));
    assert_eq!(way(&net, 3), Some(Revert::Done));
}
