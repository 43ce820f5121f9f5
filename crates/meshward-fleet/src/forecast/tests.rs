use super::*;
use meshward_core::ota::{Md5Sum, Tempo};

const GATEWAY: u32 = 1;

fn image(version: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/firmware");
    std::fs::read(folder.join(format!("node-c3-v{version}.bin"))).unwrap()
}

fn manifest(image: &[u8]) -> Manifest {
    Manifest {
        sha256: Sha256Sum::of(image),
        md5: Md5Sum::of(image),
        size: image.len() as u32,
        hardware: "ESP32".to_owned(),
        role: "sensor".to_owned(),
        version: "1".to_owned(),
        sequence: 5,
        protocol: (1, 1),
        not_after: None,
    }
}

fn about(running: Option<&[u8]>) -> About {
    About {
        running: running.map(|image| Sha256Sum::of(image).into()),
        size: running.map_or(0, |image| image.len() as u32),
        sequence: 4,
        slot: 0x1E_0000,
        staging: 0x15_0000,
        chunks: 1_696,
        protocol: (1, 1),
        rollback: true,
        updates: true,
        hardware: "ESP32".to_owned(),
        role: "sensor".to_owned(),
        counters: Vec::new(),
    }
}

/// The gateway, and so many nodes below each other.
fn chain(nodes: u32) -> Tree {
    let mut tree = Tree::leaf(NodeId(GATEWAY + nodes));
    for id in (GATEWAY..GATEWAY + nodes).rev() {
        let mut above = Tree::leaf(NodeId(id));
        above.graft(&tree);
        tree = above;
    }
    tree
}

fn terms(scheme: Scheme) -> Terms<'static> {
    Terms {
        scheme,
        packing: Options::default(),
        role: "sensor",
        hardware: "ESP32",
        part_size: 1_024,
        tempo: Tempo::default(),
        broadcast: true,
        channel: Channel::default(),
        board: Board::default(),
    }
}

struct Case {
    image: Vec<u8>,
    bases: Vec<Vec<u8>>,
    members: BTreeMap<NodeId, About>,
    nodes: u32,
}

impl Case {
    fn new(nodes: u32, bases: &[&str]) -> Self {
        let bases = bases.iter().map(|version| image(version)).collect();
        Self { image: image("1.5.0"), bases, members: BTreeMap::new(), nodes }
    }

    fn member(mut self, node: u32, about: About) -> Self {
        self.members.insert(NodeId(node), about);
        self
    }

    fn forecast(&self, scheme: Scheme) -> Forecast {
        self.with(&terms(scheme), Some(&manifest(&self.image)))
    }

    fn with(&self, terms: &Terms<'_>, manifest: Option<&Manifest>) -> Forecast {
        let tree = chain(self.nodes);
        let targets: Vec<NodeId> = (GATEWAY..=GATEWAY + self.nodes).map(NodeId).collect();
        let fleet = Fleet { tree: &tree, targets: &targets, members: &self.members };
        let bases: Vec<&[u8]> = self.bases.iter().map(|base| &base[..]).collect();
        forecast(&self.image, manifest, &bases, &fleet, terms).unwrap().0
    }
}

fn service(forecast: &Forecast, node: u32) -> (&Service, Option<&'static str>) {
    let service = &forecast.group_of(NodeId(node)).unwrap().service;
    let form = if let Service::Pass(at) = service { Some(forecast.passes[*at].form.name()) } else { None };
    (service, form)
}

#[test]
fn a_patch_goes_to_those_who_run_its_base_and_one_pass_serves_them_all() {
    let old = image("1.4.2");
    let case = Case::new(3, &["1.4.2", "1.4.3"]);
    let case = (2..=4).fold(case, |case, node| case.member(node, about(Some(&old))));
    let forecast = case.forecast(Scheme::Auto);
    assert_eq!(forecast.groups.len(), 1);
    let group = &forecast.groups[0];
    assert_eq!(service(&forecast, 3).1, Some("delta"));
    assert_eq!(group.nodes, [NodeId(2), NodeId(3), NodeId(4)]);
    assert_eq!(group.bytes, forecast.passes[0].descriptor.sizes.packed);
    // Chunks of 1 024 bytes are messages of 1 425; three links; the table and the last one are shorter.
    let most = u64::from(group.chunks) * 3 * Channel::default().nanos(1_425) / 1_000;
    let channel = forecast.channel.as_micros();
    assert!(channel < most && channel > most * 9 / 10, "{channel} of {most}");
    assert_eq!(group.transfer, forecast.channel);
    assert_eq!(forecast.eta, group.eta());
    assert!(group.install > Duration::from_secs(7) && group.install < Duration::from_secs(12));
}

#[test]
fn a_pass_that_must_be_sent_anyway_serves_everybody() {
    let (old, other) = (image("1.4.2"), b"nobody knows this".to_vec());
    let case = Case::new(3, &["1.4.2"]).member(2, about(Some(&old))).member(3, about(Some(&other)));
    let forecast = case.member(4, about(None)).forecast(Scheme::Auto);
    assert_eq!(forecast.passes.len(), 1);
    for node in 2..=4 {
        assert_eq!(service(&forecast, node).1, Some("lzma"));
    }
    assert_eq!(forecast.groups.len(), 3, "by what they run");
    assert!(forecast.groups.iter().all(|group| group.channel == forecast.channel), "counted once");
}

#[test]
fn two_small_patches_cost_less_than_one_whole_image() {
    let (a, b) = (image("1.4.2"), image("1.4.3"));
    let case = Case::new(2, &["1.4.2", "1.4.3"]).member(2, about(Some(&a))).member(3, about(Some(&b)));
    let forecast = case.forecast(Scheme::Auto);
    assert_eq!(forecast.passes.len(), 2);
    assert_eq!((service(&forecast, 2).1, service(&forecast, 3).1), (Some("delta"), Some("delta")));
    let [one, two] = &forecast.groups[..] else { panic!() };
    let both = one.channel + two.channel;
    assert_eq!(forecast.channel, both);
    let (short, long) = if one.channel < two.channel { (one, two) } else { (two, one) };
    assert_eq!(long.transfer, both, "it ends last");
    assert_eq!(short.transfer, short.channel + short.channel, "the other took as much meanwhile");
}

#[test]
fn stock_nodes_are_served_by_the_cheaper_of_their_ways() {
    let all = Case::new(4, &[]).forecast(Scheme::Auto);
    assert_eq!((all.stock, service(&all, 3).0), (Some(ota::Scheme::Turbo), &Service::Turbo));
    assert_eq!((all.groups[0].chunks, all.groups[0].bytes), (556, 569_296));
    let old = image("1.4.2");
    let case = Case::new(4, &["1.4.2"]);
    let case = (3..=5).fold(case, |case, node| case.member(node, about(Some(&old))));
    let near = case.forecast(Scheme::Auto);
    assert_eq!(service(&near, 2).0, &Service::Unicast, "one hop, and the pass would take four");
    assert_eq!(service(&near, 5).1, Some("delta"));
    let stock = near.group_of(NodeId(2)).unwrap();
    assert_eq!(near.channel, near.passes_channel() + near.stock_channel());
    assert_eq!(stock.transfer, near.channel, "after the patch");
    assert_eq!(near.eta, stock.eta());
    let alone = Case::new(4, &[]).with(&Terms { broadcast: false, ..terms(Scheme::Auto) }, None);
    assert_eq!((alone.stock, alone.turbo_parts()), (Some(ota::Scheme::Unicast), 0));
    let forced = case.forecast(Scheme::Turbo);
    assert_eq!(service(&forced, 2).0, &Service::Turbo);
    assert_eq!(service(&forced, 5).0, &Service::None(Unfit::StockOnly));
}

#[test]
fn what_does_not_fit_is_not_sent_and_who_gets_nothing_is_named() {
    let old = image("1.4.2");
    let new = image("1.5.0");
    let tight = About { slot: 0x8C000, staging: 0xB000, ..about(Some(&old)) };
    let small = About { slot: 0x8A000, ..tight.clone() };
    let few = About { chunks: 100, ..about(None) };
    let told = |role: &str| About { role: role.to_owned(), ..about(Some(&old)) };
    let rows: [(About, Result<&str, &str>); 9] = [
        // The image has 139 sectors, the slot 140: only the image itself fits, in its place.
        (tight, Ok("full")),
        (small, Err("has slots of 565248 bytes, and the image has 569296")),
        (few, Err("keeps account of 100 chunks, and the payload has")),
        (About { updates: false, ..about(None) }, Err("takes no updates")),
        (About { sequence: 5, ..about(None) }, Err("runs sequence 5, and the image has 5")),
        (About { protocol: (2, 3), ..about(None) }, Err("speaks protocol 2 to 3")),
        (About { hardware: "ESP8266".to_owned(), ..about(None) }, Err("is other hardware: ESP8266")),
        (told("relay"), Err("has another role: relay")),
        (about(Some(&new)), Err("runs this image already")),
    ];
    for (about, expected) in rows {
        let forecast = Case::new(1, &["1.4.2"]).member(2, about).forecast(Scheme::Auto);
        let found = match service(&forecast, 2) {
            (Service::None(unfit), _) => Err(unfit.to_string()),
            (_, form) => Ok(form.unwrap()),
        };
        match (found, expected) {
            (Ok(form), Ok(expected)) => assert_eq!(form, expected),
            (Err(said), Err(needle)) => assert!(said.contains(needle), "{said} should say {needle}"),
            (found, _) => panic!("{found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn a_scheme_can_be_forced() {
    let old = image("1.4.2");
    let case = Case::new(2, &["1.4.2"]).member(2, about(Some(&old))).member(3, about(None));
    for (scheme, name) in [(Scheme::Full, "full"), (Scheme::Heatshrink, "heatshrink"), (Scheme::Lzma, "lzma")]
    {
        let forecast = case.forecast(scheme);
        assert_eq!((service(&forecast, 2).1, service(&forecast, 3).1), (Some(name), Some(name)));
    }
    let delta = case.forecast(Scheme::Delta);
    assert_eq!(service(&delta, 2).1, Some("delta"));
    assert_eq!(service(&delta, 3).0, &Service::None(Unfit::NoBase));
    let unsigned = case.with(&terms(Scheme::Auto), None);
    assert_eq!(service(&unsigned, 2).0, &Service::None(Unfit::Unsigned));
    assert_eq!((unsigned.passes.len(), unsigned.channel, unsigned.eta), (0, Duration::ZERO, Duration::ZERO));
}

#[test]
fn a_cut_role_is_known_and_airtime_stretches_the_transfer() {
    let mut manifest = manifest(&image("1.5.0"));
    manifest.role = "a role that is rather long for such a small node".to_owned();
    let role = manifest.role[..32].to_owned();
    let case = Case::new(1, &[]).member(2, About { role, ..about(None) });
    let quick = case.with(&terms(Scheme::Auto), Some(&manifest));
    assert_eq!(service(&quick, 2).1, Some("lzma"));
    let slow = case.with(&Terms { tempo: Tempo::with_airtime(25), ..terms(Scheme::Auto) }, Some(&manifest));
    assert_eq!(slow.channel, quick.channel);
    let (slow, quick) = (slow.groups[0].transfer.as_micros(), quick.groups[0].transfer.as_micros());
    assert_eq!(slow, 4 * quick);
    let one = Tempo { chunks_per_second: core::num::NonZeroU16::new(1), ..Tempo::default() };
    let fixed = case.with(&Terms { tempo: one, ..terms(Scheme::Auto) }, Some(&manifest));
    let group = &fixed.groups[0];
    assert_eq!(group.transfer, Duration::from_secs(group.chunks.into()));
    let absent = Case::new(1, &[]);
    let tree = chain(1);
    let fleet = Fleet { tree: &tree, targets: &[NodeId(9)], members: &absent.members };
    let (forecast, payloads) = forecast(&absent.image, None, &[], &fleet, &terms(Scheme::Auto)).unwrap();
    assert!(payloads.is_empty());
    assert_eq!(service(&forecast, 9).0, &Service::None(Unfit::Absent));
}
