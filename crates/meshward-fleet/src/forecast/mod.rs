//! What an update will cost, before its first byte: which nodes get which payload, in how many bytes, chunks and
//! seconds, and who is left out, and why.
//!
//! Nodes are grouped by what they are. Meshward nodes get the payloads that take least channel time together: the
//! image as it is, packed by heatshrink or LZMA, or a patch of what they run where that image is at hand. Stock nodes
//! get the image by the cheaper of their two ways. It refuses nobody silently: who cannot be served is in a group
//! with the reason.
//!
//! The figures are those of [`Channel`] and [`Board`]: chunks and parts, each once over each link that it crosses,
//! without offers, reports, repairs and other traffic. A real mesh takes longer, by what it loses.

mod air;
mod choose;
mod fit;

use std::collections::{BTreeMap, BTreeSet};

pub use air::{Board, Channel, chunk_message};
pub use fit::Unfit;
use meshward_core::codec::Codec;
use meshward_core::hash::Sha256Sum;
use meshward_core::ota;
use meshward_core::ota::Tempo;
use meshward_core::ota::exchange::{About, Exchange, ImageId};
use meshward_core::ota::trust::{Descriptor, Manifest};
use meshward_core::time::Duration;
use meshward_core::wire::{NodeId, Tree};

use crate::payload::{Options, Payload, PayloadError, build};
use air::StockImage;
use choose::{Candidate, Links, Wish};

/// What is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// For each node what takes least channel time.
    #[default]
    Auto,
    /// The image as it is; to stock nodes as with [`Scheme::Auto`], as with the next three.
    Full,
    /// The whole image packed by heatshrink.
    Heatshrink,
    /// The whole image packed by LZMA.
    Lzma,
    /// Patches, and nothing for nodes whose image is not at hand.
    Delta,
    /// What stock nodes take, in one broadcast pass; nothing for Meshward nodes.
    Turbo,
    /// What stock nodes take, to each alone; nothing for Meshward nodes.
    Unicast,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Auto, Self::Full, Self::Heatshrink, Self::Lzma, Self::Delta, Self::Turbo, Self::Unicast];

    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Full => "full",
            Self::Heatshrink => "heatshrink",
            Self::Lzma => "lzma",
            Self::Delta => "delta",
            Self::Turbo => "turbo",
            Self::Unicast => "unicast",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether it serves stock nodes alone.
    pub const fn is_stock(self) -> bool {
        matches!(self, Self::Turbo | Self::Unicast)
    }
}

/// What the forecast reckons with besides the nodes.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What is sent.
    pub scheme: Scheme,
    /// How payloads are made; the codec is chosen by the scheme.
    pub packing: Options,
    /// The role of stock nodes.
    pub role: &'a str,
    /// The hardware of stock nodes.
    pub hardware: &'a str,
    /// Bytes in a part for stock nodes.
    pub part_size: u32,
    /// How fast what goes to all does.
    pub tempo: Tempo,
    /// Whether anything goes to all at once.
    pub broadcast: bool,
    /// The channel.
    pub channel: Channel,
    /// What nodes take to install and to restart.
    pub board: Board,
}

/// Whom an image is for, as far as is known.
#[derive(Clone, Debug)]
pub struct Fleet<'a> {
    /// The mesh, the sender at its top.
    pub tree: &'a Tree,
    /// Who is to have the image.
    pub targets: &'a [NodeId],
    /// What Meshward nodes told of themselves. A target that is not among them is a stock node.
    pub members: &'a BTreeMap<NodeId, About>,
}

/// How a whole image, or a patch, is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it is.
    Full,
    /// Packed by heatshrink.
    Heatshrink,
    /// Packed by LZMA.
    Lzma,
    /// As a patch of this image, packed by LZMA.
    Delta(ImageId),
}

impl Form {
    /// Its name, as the scheme that forces it has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Heatshrink => "heatshrink",
            Self::Lzma => "lzma",
            Self::Delta(_) => "delta",
        }
    }

    const fn codec(self) -> Codec {
        match self {
            Self::Full => Codec::None,
            Self::Heatshrink => Codec::Heatshrink,
            Self::Lzma | Self::Delta(_) => Codec::Lzma,
        }
    }

    const fn base(self) -> Option<ImageId> {
        if let Self::Delta(base) = self { Some(base) } else { None }
    }
}

/// A payload that is sent in one pass to all who take it.
#[derive(Clone, Debug)]
pub struct Pass {
    /// What it is.
    pub form: Form,
    /// What nodes have to know of it.
    pub descriptor: Descriptor,
    /// Channel time of its chunks: over every link, or, where few take it, over the links to them.
    pub channel: Duration,
}

/// How a group is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// By the pass of this place in [`Forecast::passes`].
    Pass(usize),
    /// By the stock protocol, all parts once for all.
    Turbo,
    /// By the stock protocol, all parts to each node.
    Unicast,
    /// Not at all.
    None(Unfit),
}

/// What the nodes of a group are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// They told.
    Meshward {
        /// Their hardware.
        hardware: String,
        /// Their role.
        role: String,
        /// What they run.
        running: Option<ImageId>,
    },
    /// They say nothing of themselves: nodes of the C++ library, or none at all.
    Stock,
}

/// Nodes that are alike and are served alike.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they are.
    pub kind: Kind,
    /// How they are served.
    pub service: Service,
    /// They, their ids rising.
    pub nodes: Vec<NodeId>,
    /// Bytes that are sent for them: of the payload, or of the image.
    pub bytes: u32,
    /// In so many chunks or parts.
    pub chunks: u32,
    /// Channel time of these; of a pass that serves other groups too, all of it.
    pub channel: Duration,
    /// Until they have it all, at the plan's tempo; what is sent at the same time included.
    pub transfer: Duration,
    /// Making room and writing the image; for stock nodes that is part of the transfer.
    pub install: Duration,
    /// Until they are back.
    pub restart: Duration,
}

impl Group {
    /// Until they run the image, if nobody else were waited for.
    pub fn eta(&self) -> Duration {
        self.transfer + self.install + self.restart
    }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The payloads that are sent.
    pub passes: Vec<Pass>,
    /// The way for stock nodes, if there are any.
    pub stock: Option<ota::Scheme>,
    /// Groups, those that are served first.
    pub groups: Vec<Group>,
    /// Channel time of all that is sent.
    pub channel: Duration,
    /// Until all have it installed, and then all restart; the trial that follows is not in it.
    pub eta: Duration,
}

impl Forecast {
    /// Channel time of what goes to Meshward nodes.
    pub fn passes_channel(&self) -> Duration {
        self.passes.iter().fold(Duration::ZERO, |sum, pass| sum + pass.channel)
    }

    /// Chunks of all that goes to Meshward nodes.
    pub fn passes_chunks(&self) -> u64 {
        self.passes.iter().map(|pass| u64::from(pass.descriptor.chunks())).sum()
    }

    /// Parts that go to all stock nodes at once.
    pub fn turbo_parts(&self) -> u64 {
        self.groups
            .iter()
            .find(|group| group.service == Service::Turbo)
            .map_or(0, |group| group.chunks.into())
    }

    /// Channel time of what goes to stock nodes.
    pub fn stock_channel(&self) -> Duration {
        let stock =
            self.groups.iter().find(|group| matches!(group.service, Service::Turbo | Service::Unicast));
        stock.map_or(Duration::ZERO, |group| group.channel)
    }

    /// How a node is served; `None` if it is no target.
    pub fn group_of(&self, node: NodeId) -> Option<&Group> {
        self.groups.iter().find(|group| group.nodes.binary_search(&node).is_ok())
    }

    /// The longest that nodes take to install.
    pub fn install(&self) -> Duration {
        self.groups.iter().map(|group| group.install).max().unwrap_or_default()
    }

    /// The longest that nodes take to restart.
    pub fn restart(&self) -> Duration {
        self.groups.iter().map(|group| group.restart).max().unwrap_or_default()
    }
}

/// Reckons what it takes to bring `image` to these nodes; with the payloads, one for each of [`Forecast::passes`].
/// `manifest` is the image's, for Meshward nodes; `bases` are images that patches can be made of.
///
/// # Errors
/// [`PayloadError`]: the image or a base cannot be packed.
pub fn forecast(
    image: &[u8],
    manifest: Option<&Manifest>,
    bases: &[&[u8]],
    fleet: &Fleet<'_>,
    terms: &Terms<'_>,
) -> Result<(Forecast, Vec<Payload>), PayloadError> {
    let mut sorted = Sorted::of(fleet, manifest, terms.scheme);
    let candidates = match manifest {
        Some(_) if !sorted.able.is_empty() => candidates(image, bases, &sorted, fleet, terms)?,
        _ => Vec::new(),
    };
    let size = u32::try_from(image.len()).unwrap_or(u32::MAX);
    let Chosen { passes, payloads, served } = chosen(candidates, &mut sorted, fleet, size);
    let stock = StockImage {
        from: fleet.tree.top().id,
        size: image.len(),
        part_size: terms.part_size,
        role: terms.role,
        hardware: terms.hardware,
    };
    Ok((reckon(passes, &served, sorted, &stock, fleet, terms), payloads))
}

/// Targets by what can be done for them.
struct Sorted<'a> {
    /// Meshward nodes that may take the image.
    able: BTreeMap<NodeId, &'a About>,
    stock: Vec<NodeId>,
    left_out: BTreeMap<NodeId, Unfit>,
}

impl<'a> Sorted<'a> {
    fn of(fleet: &Fleet<'a>, manifest: Option<&Manifest>, scheme: Scheme) -> Self {
        let present: BTreeSet<NodeId> = fleet.tree.ids().collect();
        let targets: BTreeSet<NodeId> = fleet.targets.iter().copied().collect();
        let mut sorted = Self { able: BTreeMap::new(), stock: Vec::new(), left_out: BTreeMap::new() };
        for node in targets.into_iter().filter(|node| *node != fleet.tree.top().id) {
            let verdict = match (fleet.members.get(&node), manifest) {
                _ if !present.contains(&node) => Err(Unfit::Absent),
                (None, _) => {
                    sorted.stock.push(node);
                    continue;
                }
                (Some(_), _) if scheme.is_stock() => Err(Unfit::StockOnly),
                (Some(_), None) => Err(Unfit::Unsigned),
                (Some(about), Some(manifest)) => fit::image(about, manifest).map(|()| about),
            };
            match verdict {
                Ok(about) => drop(sorted.able.insert(node, about)),
                Err(unfit) => drop(sorted.left_out.insert(node, unfit)),
            }
        }
        sorted
    }
}

/// Everything that could be sent to Meshward nodes.
fn candidates(
    image: &[u8],
    bases: &[&[u8]],
    sorted: &Sorted<'_>,
    fleet: &Fleet<'_>,
    terms: &Terms<'_>,
) -> Result<Vec<(Pass, Candidate, Payload)>, PayloadError> {
    let from = fleet.tree.top().id;
    let mut forms: Vec<(Form, Option<&[u8]>)> = match terms.scheme {
        Scheme::Auto => [Form::Full, Form::Heatshrink, Form::Lzma].map(|form| (form, None)).to_vec(),
        Scheme::Full => vec![(Form::Full, None)],
        Scheme::Heatshrink => vec![(Form::Heatshrink, None)],
        Scheme::Lzma => vec![(Form::Lzma, None)],
        Scheme::Delta | Scheme::Turbo | Scheme::Unicast => Vec::new(),
    };
    if matches!(terms.scheme, Scheme::Auto | Scheme::Delta) {
        let patches = present(bases, sorted).into_iter();
        forms.extend(patches.map(|(id, base)| (Form::Delta(id), Some(base))));
    }
    let make = |(form, base): (Form, Option<&[u8]>)| {
        let payload = build(image, base, &Options { codec: form.codec(), ..terms.packing })?;
        let descriptor = payload.descriptor();
        let nanos = air::chunks(&terms.channel, from, &descriptor);
        let pass = Pass { form, descriptor, channel: Duration::ZERO };
        Ok((pass, Candidate { base: form.base(), nanos }, payload))
    };
    forms.into_iter().map(make).collect()
}

/// Those of the bases that most nodes run: as many as one roll-out has payloads for, beside a whole image.
fn present<'b>(bases: &[&'b [u8]], sorted: &Sorted<'_>) -> Vec<(ImageId, &'b [u8])> {
    let mut runs: BTreeMap<ImageId, usize> = BTreeMap::new();
    sorted.able.values().filter_map(|about| about.running).for_each(|id| *runs.entry(id).or_default() += 1);
    let known: BTreeMap<ImageId, &[u8]> =
        bases.iter().map(|base| (ImageId::from(Sha256Sum::of(base)), *base)).collect();
    let mut found: Vec<_> = known.into_iter().filter(|(id, _)| runs.contains_key(id)).collect();
    found.sort_by_key(|(id, _)| core::cmp::Reverse(runs.get(id).copied()));
    found.truncate(Exchange::OFFERINGS_MAX - 1);
    found
}

/// What is worth sending.
#[derive(Default)]
struct Chosen {
    passes: Vec<Pass>,
    payloads: Vec<Payload>,
    /// By which pass each node is served.
    served: BTreeMap<NodeId, usize>,
}

/// The passes that are worth it. Who is served by none is left out.
fn chosen(
    candidates: Vec<(Pass, Candidate, Payload)>,
    sorted: &mut Sorted<'_>,
    fleet: &Fleet<'_>,
    size: u32,
) -> Chosen {
    let costs: Vec<Candidate> = candidates.iter().map(|(_, cost, _)| *cost).collect();
    let passes: Vec<&Pass> = candidates.iter().map(|(pass, ..)| pass).collect();
    let wishes = wishes(&passes, sorted, size);
    let links = Links::of(fleet.tree);
    let set = choose::best(&costs, &wishes, &links, Exchange::OFFERINGS_MAX);
    let mut takers = choose::takers(&costs, &wishes, set);
    let mut chosen = Chosen::default();
    for (at, (mut pass, cost, payload)) in candidates.into_iter().enumerate() {
        let Some(nodes) = takers.remove(&at) else { continue };
        let nanos = cost.nanos.saturating_mul(links.crossed_for(&nodes));
        pass.channel = Duration::from_micros(nanos / 1_000);
        chosen.served.extend(nodes.into_iter().map(|node| (node, chosen.passes.len())));
        chosen.passes.push(pass);
        chosen.payloads.push(payload);
    }
    let unserved = wishes.iter().filter(|wish| !chosen.served.contains_key(&wish.node));
    sorted.left_out.extend(unserved.map(|wish| (wish.node, Unfit::NoBase)));
    chosen
}

/// What each node can take. Who can take nothing is left out.
fn wishes(passes: &[&Pass], sorted: &mut Sorted<'_>, size: u32) -> Vec<Wish> {
    let mut wishes = Vec::new();
    for (node, about) in &sorted.able {
        let mut wish = Wish { node: *node, running: about.running, takes: 0 };
        let mut unfit = Unfit::NoBase;
        for (at, pass) in passes.iter().enumerate() {
            match fit::payload(about, &pass.descriptor, size) {
                Ok(()) => wish.takes |= 1 << at,
                Err(Unfit::NoBase) => {}
                Err(reason) => unfit = reason,
            }
        }
        if wish.takes == 0 {
            sorted.left_out.insert(*node, unfit);
        } else {
            wishes.push(wish);
        }
    }
    wishes
}

/// Puts groups and figures together.
fn reckon(
    passes: Vec<Pass>,
    served: &BTreeMap<NodeId, usize>,
    sorted: Sorted<'_>,
    stock: &StockImage<'_>,
    fleet: &Fleet<'_>,
    terms: &Terms<'_>,
) -> Forecast {
    let image = u32::try_from(stock.size).unwrap_or(u32::MAX);
    let mut groups = grouped(&passes, served, &sorted, fleet, &terms.board, image);
    let channels: Vec<Duration> = passes.iter().map(|pass| pass.channel).collect();
    for group in groups.iter_mut().filter(|group| matches!(group.service, Service::Pass(_))) {
        // Passes share the channel fairly: while this one lasts, each other takes as much, if it has that much.
        let beside = channels.iter().map(|other| (*other).min(group.channel));
        let chunks = passes.iter().map(|pass| u64::from(pass.descriptor.chunks().min(group.chunks))).sum();
        group.transfer = terms.tempo.stretched(beside.fold(Duration::ZERO, |sum, part| sum + part), chunks);
    }
    let all = channels.iter().fold(Duration::ZERO, |sum, channel| sum + *channel);
    let mut forecast = Forecast { passes, stock: None, groups, channel: all, eta: Duration::ZERO };
    let mut staged = forecast.groups.iter().map(|group| group.transfer + group.install).max();
    if !sorted.stock.is_empty() {
        let mut group = stock_group(stock, sorted.stock, fleet, terms);
        let parts = if group.service == Service::Turbo { group.chunks.into() } else { 0 };
        let before = terms.tempo.stretched(all, forecast.passes_chunks());
        group.transfer = before + terms.tempo.stretched(group.channel, parts);
        staged = staged.max(Some(group.transfer));
        forecast.stock =
            Some(if group.service == Service::Unicast { ota::Scheme::Unicast } else { ota::Scheme::Turbo });
        forecast.channel += group.channel;
        forecast.groups.push(group);
    }
    forecast.eta = staged.unwrap_or_default() + forecast.restart();
    forecast.groups.sort_by(|one, other| (&one.service, &one.kind).cmp(&(&other.service, &other.kind)));
    forecast
}

/// Meshward nodes that are served, and all that are not.
fn grouped(
    passes: &[Pass],
    served: &BTreeMap<NodeId, usize>,
    sorted: &Sorted<'_>,
    fleet: &Fleet<'_>,
    board: &Board,
    image: u32,
) -> Vec<Group> {
    let mut groups: BTreeMap<(Kind, Service), Group> = BTreeMap::new();
    let left_out = sorted.left_out.iter().map(|(node, unfit)| (*node, Service::None(unfit.clone())));
    let ways = served.iter().map(|(node, pass)| (*node, Service::Pass(*pass))).chain(left_out);
    for (node, service) in ways {
        let about = fleet.members.get(&node);
        let kind = about.map_or(Kind::Stock, |about| Kind::Meshward {
            hardware: about.hardware.clone(),
            role: about.role.clone(),
            running: about.running,
        });
        let pass = if let Service::Pass(at) = service { passes.get(at) } else { None };
        let group = groups.entry((kind.clone(), service.clone())).or_insert_with(|| Group {
            kind,
            service,
            nodes: Vec::new(),
            bytes: pass.map_or(0, |pass| pass.descriptor.sizes.packed),
            chunks: pass.map_or(0, |pass| pass.descriptor.chunks()),
            channel: pass.map_or(Duration::ZERO, |pass| pass.channel),
            transfer: Duration::ZERO,
            install: Duration::ZERO,
            restart: pass.map_or(Duration::ZERO, |_| board.restart),
        });
        if let Some((pass, about)) = pass.zip(about) {
            let packed = pass.descriptor.sizes.packed;
            let in_place = fit::is_in_place(about, &pass.descriptor);
            group.install = group.install.max(board.install(packed, image, in_place));
        }
        group.nodes.push(node);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.iter_mut().for_each(|group| group.nodes.sort_unstable());
    groups
}

fn stock_group(image: &StockImage<'_>, nodes: Vec<NodeId>, fleet: &Fleet<'_>, terms: &Terms<'_>) -> Group {
    let nanos = |scheme| image.nanos(&terms.channel, scheme, fleet.tree, &nodes);
    let (turbo, unicast) = (nanos(ota::Scheme::Turbo), nanos(ota::Scheme::Unicast));
    let (service, nanos) = match terms.scheme {
        Scheme::Turbo => (Service::Turbo, turbo),
        Scheme::Unicast => (Service::Unicast, unicast),
        _ if unicast < turbo || !terms.broadcast => (Service::Unicast, unicast),
        _ => (Service::Turbo, turbo),
    };
    Group {
        kind: Kind::Stock,
        service,
        nodes,
        bytes: u32::try_from(image.size).unwrap_or(u32::MAX),
        chunks: image.parts(),
        channel: Duration::from_micros(nanos / 1_000),
        transfer: Duration::ZERO,
        install: Duration::ZERO,
        restart: terms.board.restart,
    }
}

#[cfg(test)]
mod tests;
