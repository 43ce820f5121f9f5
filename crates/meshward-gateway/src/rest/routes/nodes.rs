//! Nodes, and what people say of them.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use meshward_core::wire::NodeId;
use meshward_fleet::registry::{LabelError, Registry};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::conditional::IfMatch;
use super::super::convert;
use super::super::extract::{JsonBody, NodePath, QueryOf};
use super::super::model::{Label, LabelPatch, NewName, Node, NodeOrFields, NodeState, Page};
use super::super::openapi::Is;
use super::super::page::{Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::{Handle, unknown};
use crate::service::Gateway;

/// What `fields` may name.
const FIELDS: [&str; 16] = [
    "id",
    "name",
    "state",
    "since",
    "last_heard_at",
    "period_seconds",
    "family",
    "joins",
    "parent",
    "hops",
    "root",
    "time_authority",
    "tags",
    "score",
    "metrics",
    "facts",
];
const STATES: [NodeState; 7] = [
    NodeState::Learning,
    NodeState::Online,
    NodeState::Suspect,
    NodeState::Offline,
    NodeState::Sleeping,
    NodeState::Unreachable,
    NodeState::Forgotten,
];
const SORTS: [&str; 6] = ["id", "name", "state", "score", "hops", "last_heard_at"];

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_nodes))
        .routes(routes!(get_node, forget_node))
        .routes(routes!(get_node_label, edit_node_label))
        .routes(routes!(set_node_name))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only in these states, separated by commas.
    #[param(example = "offline,suspect")]
    state: Option<String>,
    /// Only with this firmware: the version that it tells, or the beginning of its MD5.
    fw: Option<String>,
    /// Only those whose id, name or tag has this in it, whatever its case.
    q: Option<String>,
    /// Only with this tag.
    tag: Option<String>,
    /// By `id`, `name`, `state`, `score`, `hops` or `last_heard_at`; with `-` before it the other way round.
    #[param(example = "-score")]
    sort: Option<String>,
    /// Only these fields of each node, separated by commas, and `id`.
    #[param(example = "name,state,score")]
    fields: Option<String>,
    /// Most items in the answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is left when the words are read.
struct Choice {
    states: Vec<NodeState>,
    text: Option<String>,
    sort: &'static str,
    descending: bool,
}

impl Wanted {
    fn choice(&self) -> Answer<Choice> {
        let one = |name: &str| {
            STATES.into_iter().find(|state| state.name() == name).ok_or_else(|| {
                let names = STATES.map(NodeState::name).join(", ");
                Problem::parameter("state", format!("state `{name}` is none: take some of {names}"))
            })
        };
        let states = self.state.iter().flat_map(|states| states.split(','));
        let sort = self.sort.as_deref().unwrap_or("id");
        let (descending, name) = sort.strip_prefix('-').map_or((false, sort), |name| (true, name));
        let sort = SORTS.into_iter().find(|known| *known == name).ok_or_else(|| {
            let right = format!("take one of {}, with - before it for the other way round", SORTS.join(", "));
            Problem::parameter("sort", format!("sort `{sort}` is none: {right}"))
        })?;
        let text = self.q.as_ref().map(|text| text.to_lowercase());
        Ok(Choice { states: states.map(one).collect::<Answer<_>>()?, text, sort, descending })
    }

    fn has(&self, choice: &Choice, node: &Node) -> bool {
        let told = |topic: &str| node.facts.iter().find(|fact| fact.topic == topic).map(|fact| &fact.text);
        let runs = |fw: &String| {
            told("version") == Some(fw)
                || (!fw.is_empty() && told("firmware_md5").is_some_and(|md5| md5.starts_with(fw.as_str())))
        };
        let says = |text: &String| {
            let words = node.name.iter().chain(&node.tags).map(|word| word.to_lowercase());
            node.id.to_string().contains(text) || words.into_iter().any(|word| word.contains(text))
        };
        (choice.states.is_empty() || choice.states.contains(&node.state))
            && self.fw.as_ref().is_none_or(runs)
            && choice.text.as_ref().is_none_or(says)
            && self.tag.as_ref().is_none_or(|tag| node.tags.contains(tag))
    }

    /// The fields that are wanted; none for all.
    fn chosen(&self) -> Answer<Vec<&str>> {
        let Some(fields) = &self.fields else { return Ok(Vec::new()) };
        let one = |field: &'_ str| -> Answer<()> {
            if FIELDS.contains(&field) {
                return Ok(());
            }
            let right = format!("take some of {}", FIELDS.join(", "));
            Err(Problem::parameter("fields", format!("field `{field}` is none: {right}")))
        };
        let fields: Vec<&str> = fields.split(',').collect();
        fields.iter().try_for_each(|field| one(field))?;
        Ok([vec!["id"], fields].concat())
    }
}

fn place(sort: &str, node: &Node) -> Place {
    let id = u64::from(node.id);
    let last = f64::MAX;
    match sort {
        "name" => Place(f64::from(u8::from(node.name.is_none())), node.name.clone().unwrap_or_default(), id),
        "state" => Place(f64::from(node.state as u8), String::new(), id),
        "score" => Place(node.score.points.map_or(last, f64::from), String::new(), id),
        "hops" => Place(node.hops.map_or(last, f64::from), String::new(), id),
        "last_heard_at" => {
            Place(node.last_heard_at.map_or(0.0, |at| at.as_millisecond() as f64), String::new(), id)
        }
        _ => Place(0.0, String::new(), id),
    }
}

/// Nodes that the mesh has shown.
///
/// With `fields` each item has only those fields and `id`.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", params(Wanted), responses(
    (status = 200, description = "Nodes with what they told last.", body = Page<NodeOrFields>,
        headers(("Link" = String, description = "The next page, if there is one (RFC 8288)."))),
    Is::<400>,
))]
async fn list_nodes(State(gateway): Handle, uri: Uri, QueryOf(wanted): QueryOf<Wanted>) -> Answer<Response> {
    let (choice, fields) = (wanted.choice()?, wanted.chosen()?);
    let mut nodes = gateway.with(|now, _, gateway| convert::nodes(gateway, now)).await?;
    nodes.retain(|node| wanted.has(&choice, node));
    let paging = Paging::new(wanted.limit, wanted.cursor.clone());
    let page = paging.cut(nodes, (choice.sort, choice.descending), |node| place(choice.sort, node))?;
    if fields.is_empty() {
        return Ok(linked(&uri, page));
    }
    let only = |node: Node| {
        let mut value = serde_json::to_value(node).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.retain(|field, _| fields.contains(&field.as_str()));
        }
        value
    };
    let items = page.items.into_iter().map(only).collect();
    Ok(linked(&uri, Page { items, next_cursor: page.next_cursor }))
}

/// One node.
#[utoipa::path(get, path = "/api/v1/nodes/{id}", tag = "nodes",
    params(("id" = u32, Path, description = "Its id, decimal.")),
    responses((status = 200, description = "What is known of it.", body = Node), Is::<400>, Is::<404>))]
async fn get_node(State(gateway): Handle, NodePath(id): NodePath) -> Answer<Json<Node>> {
    let found = gateway.with(move |now, _, gateway| convert::node(gateway, now, id)).await?;
    found.map(Json).ok_or_else(|| unknown(id))
}

/// Forgets a node: its name, its values, its alerts.
///
/// Not while it is in the mesh, where it would be known again at once.
#[utoipa::path(delete, path = "/api/v1/nodes/{id}", tag = "nodes",
    params(("id" = u32, Path, description = "Its id, decimal.")),
    responses((status = 204, description = "Nothing is known of it any more."),
        Is::<400>, Is::<404>, Is::<409>))]
async fn forget_node(State(gateway): Handle, NodePath(id): NodePath) -> Answer<StatusCode> {
    let forgotten = gateway
        .with(move |now, _, gateway| {
            gateway.registry().get(id)?;
            Some(gateway.fleet_mut().forget(now, id))
        })
        .await?;
    match forgotten {
        None => Err(unknown(id)),
        Some(false) => Err(Problem::conflict(format!("node {id} is in the mesh now: switch it off first"))),
        Some(true) => Ok(StatusCode::NO_CONTENT),
    }
}

/// What people say of a node: its name, tags and notes.
///
/// It has an `ETag` of its own, for `If-Match` of an edit: a node's other values change all the time.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/label", tag = "nodes",
    params(("id" = u32, Path, description = "Its id, decimal.")),
    responses((status = 200, description = "Its label.", body = Label), Is::<400>, Is::<404>))]
async fn get_node_label(State(gateway): Handle, NodePath(id): NodePath) -> Answer<Json<Label>> {
    let found = gateway.with(move |_, _, gateway| convert::label(gateway, id)).await?;
    found.map(Json).ok_or_else(|| unknown(id))
}

/// Changes what people say of a node; what is absent stays (RFC 7396).
///
/// All or nothing. With `If-Match` only if the label is still the one with that `ETag`.
#[utoipa::path(patch, path = "/api/v1/nodes/{id}/label", tag = "nodes",
    params(("id" = u32, Path, description = "Its id, decimal."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the label that was read.")),
    request_body(content((LabelPatch = "application/json"), (LabelPatch = "application/merge-patch+json"))),
    responses((status = 200, description = "The label as it is then.", body = Label),
        Is::<400>, Is::<404>, Is::<412>, Is::<413>, Is::<415>, Is::<422>))]
async fn edit_node_label(
    State(gateway): Handle,
    NodePath(id): NodePath,
    condition: IfMatch,
    JsonBody(patch): JsonBody<LabelPatch>,
) -> Answer<Json<Label>> {
    check(&patch)?;
    let edited = gateway
        .with(move |_, _, gateway| {
            let before = convert::label(gateway, id).ok_or_else(|| unknown(id))?;
            condition.holds(&before)?;
            if let Err(refused) = edit(gateway, id, &patch) {
                // Only the name, which comes last, can have kept its owner.
                let Label { tags, notes, .. } = before;
                let back = LabelPatch { name: None, tags: Some(tags), notes: Some(notes) };
                // What it had before is taken again.
                drop(edit(gateway, id, &back));
                return Err(refused);
            }
            convert::label(gateway, id).ok_or_else(|| unknown(id))
        })
        .await??;
    Ok(Json(edited))
}

/// Refuses what can be seen to be wrong without the node.
fn check(patch: &LabelPatch) -> Answer<()> {
    let tags = patch.tags.as_ref().map_or(0, Vec::len);
    let notes = patch.notes.as_ref().map_or(0, String::len);
    let name = patch.name.iter().flatten().map(String::len).max().unwrap_or_default();
    for (field, size, most, what) in [
        ("tags", tags, Registry::TAGS_MAX, "tags"),
        ("notes", notes, Registry::NOTES_BYTES_MAX, "bytes"),
        ("name", name, Registry::NAME_BYTES_MAX, "bytes"),
    ] {
        if size > most {
            let detail = format!("{field}: {size} {what}, and {most} are the most");
            return Err(Problem::value(format!("/{field}"), detail));
        }
    }
    for (at, tag) in patch.tags.iter().flatten().enumerate() {
        Registry::check_tag(tag).map_err(|error| label_refused(error, &format!("tags/{at}")))?;
    }
    match &patch.name {
        Some(Some(name)) => Registry::check_name(name).map_err(|error| label_refused(error, "name")),
        _ => Ok(()),
    }
}

/// Tags and notes first, the name last, so that nobody need find out whose name it was.
fn edit(gateway: &mut Gateway, id: NodeId, patch: &LabelPatch) -> Answer<()> {
    let registry = gateway.fleet_mut().registry_mut();
    if let Some(tags) = &patch.tags {
        let had = registry.get(id).map(|record| record.tags.clone()).unwrap_or_default();
        for tag in &had {
            registry.remove_tag(id, tag);
        }
        for (at, tag) in tags.iter().enumerate() {
            registry.add_tag(id, tag).map_err(|error| label_refused(error, &format!("tags/{at}")))?;
        }
    }
    if let Some(notes) = &patch.notes {
        registry.set_notes(id, notes).map_err(|error| label_refused(error, "notes"))?;
    }
    match &patch.name {
        None => {}
        Some(None) => registry.clear_name(id),
        Some(Some(name)) => registry.set_name(id, name).map_err(|error| label_refused(error, "name"))?,
    }
    Ok(())
}

/// Names a node.
///
/// A name is one line of 1 to 64 bytes; null takes it away, and the node may call itself something again.
#[utoipa::path(put, path = "/api/v1/nodes/{id}/name", tag = "nodes",
    params(("id" = u32, Path, description = "Its id, decimal.")), request_body = NewName,
    responses((status = 200, description = "The node by its new name.", body = Node),
        Is::<400>, Is::<404>, Is::<413>, Is::<415>, Is::<422>))]
async fn set_node_name(
    State(gateway): Handle,
    NodePath(id): NodePath,
    JsonBody(NewName { name }): JsonBody<NewName>,
) -> Answer<Json<Node>> {
    let named = gateway
        .with(move |now, _, gateway| {
            edit(gateway, id, &LabelPatch { name: Some(name), ..LabelPatch::default() })?;
            convert::node(gateway, now, id).ok_or_else(|| unknown(id))
        })
        .await??;
    Ok(Json(named))
}

/// Why a label was not taken, at its field.
fn label_refused(error: LabelError, field: &str) -> Problem {
    match error {
        LabelError::Unknown(id) => unknown(id),
        error => Problem::value(format!("/{field}"), format!("{field}: {error}")),
    }
}
