//! What the dashboards of `contrib/grafana` ask for, asked of a real scrape: every series and every label of a query is
//! there.

use std::path::Path;

use serde_json::Value;

use super::*;

/// Labels that Prometheus gives to what it scrapes.
const GIVEN: [&str; 2] = ["job", "instance"];
/// Series that are declared and have no sample here, since no node of this mesh tells them and nothing waits.
const SILENT: [&str; 11] = [
    "painlessmesh_gateway_outbox_pending",
    "painlessmesh_link_rtt_seconds",
    "painlessmesh_node_battery_ratio",
    "painlessmesh_node_chip_temperature_celsius",
    "painlessmesh_node_latency_seconds",
    "painlessmesh_node_packet_loss_ratio",
    "painlessmesh_node_received_bytes_total",
    "painlessmesh_node_transmitted_bytes_total",
    "painlessmesh_node_transmitted_packets_total",
    "painlessmesh_node_reboots_total",
    "painlessmesh_node_heap_fragmentation_ratio",
];

/// A series with what its labels must be.
#[derive(Debug, PartialEq)]
struct Selector {
    name: String,
    labels: Vec<(String, String, String)>,
}

/// The selectors of a query of PromQL.
fn selectors(query: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = ["painlessmesh_", "process_"].iter().filter_map(|word| rest.find(word)).min() {
        rest = &rest[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        rest = behind;
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            let (inner, behind) = inner.split_once('}').expect("a bracket is closed");
            rest = behind;
            for matcher in inner.split("\",").map(str::trim).filter(|matcher| !matcher.is_empty()) {
                let (label, value) = matcher.split_once('"').expect("a value in quotation marks");
                let name = label.trim_end_matches(['=', '~', '!']).trim();
                let operator = label[name.len()..].trim();
                labels.push((name.to_owned(), operator.to_owned(), value.trim_end_matches('"').to_owned()));
            }
        }
        found.push(Selector { name: name.to_owned(), labels });
    }
    found
}

/// Labels of `by (…)`, `on (…)` and `without (…)`.
fn grouped(query: &str) -> BTreeSet<String> {
    let parts = ["by (", "on (", "without ("].into_iter().flat_map(|word| query.split(word).skip(1));
    let lists = parts.filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',').map(|label| label.trim().to_owned())).collect()
}

fn fits(value: &str, operator: &str, wanted: &str) -> bool {
    let alike = || match wanted.strip_suffix(".*") {
        Some(start) => value.starts_with(start),
        None => value == wanted,
    };
    match operator {
        "=" => value == wanted,
        "!=" => value != wanted,
        "=~" => alike(),
        "!~" => !alike(),
        other => panic!("{other} is no operator"),
    }
}

/// What is wrong with a query, and the series for which there is no sample.
fn asked(query: &str, samples: &Samples) -> (Vec<String>, Vec<String>) {
    let (mut wrong, mut silent) = (Vec::new(), Vec::new());
    let parsed: Vec<_> = samples.keys().map(|key| sample(&format!("{key} 0"))).collect();
    let wanted = selectors(query);
    if wanted.is_empty() {
        wrong.push(format!("nothing is asked for: {query}"));
    }
    for selector in wanted {
        let named: Vec<_> = parsed.iter().filter(|(name, ..)| *name == selector.name).collect();
        let base = selector.name.trim_end_matches("_bucket");
        if named.is_empty() {
            let declared = names().iter().any(|name| *name == selector.name || name == base);
            if declared {
                silent.push(selector.name)
            } else {
                wrong.push(format!("no series {}", selector.name))
            }
            continue;
        }
        let of = |labels: &[(String, String)], name: &str| {
            labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.clone())
        };
        let all = named.iter().any(|(_, labels, _)| {
            let holds = |(name, operator, value): &(String, String, String)| {
                GIVEN.contains(&&**name)
                    || of(labels, name).is_some_and(|found| fits(&found, operator, value))
            };
            selector.labels.iter().all(holds) && grouped(query).iter().all(|name| of(labels, name).is_some())
        });
        if !all {
            wrong.push(format!("nothing is selected by {selector:?} of {query}"));
        }
    }
    (wrong, silent)
}

/// All dashboards of the folder whose source is Prometheus, with their queries, variables filled in.
fn queries() -> BTreeMap<String, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/grafana/dashboards");
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let board: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let variables = board["templating"]["list"].as_array().unwrap();
        let source = variables.iter().find(|variable| variable["type"] == "datasource").unwrap();
        if source["query"] != "prometheus" {
            continue;
        }
        let targets =
            board["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
        let asked = targets.filter_map(|target| target["expr"].as_str()).map(str::to_owned);
        let asked = asked.chain(variables.iter().filter(|one| one["type"] == "query").map(|one| {
            // label_values(SELECTOR, label)
            let inner = one["definition"].as_str().unwrap().trim_start_matches("label_values(");
            let (selector, label) = inner.trim_end_matches(')').rsplit_once(',').unwrap();
            format!("count by ({}) ({selector})", label.trim())
        }));
        // The mesh of the test has quotation marks in its name, as they are written.
        let filled = asked.map(|query| query.replace("\"$mesh\"", "\"MESH\"").replace("\"$node\"", "\".*\""));
        all.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), filled.collect());
    }
    all
}

#[tokio::test]
async fn every_query_of_a_dashboard_selects_something_of_a_real_scrape() {
    let (gateway, _) = gateway(40).await;
    let text = scrape(&gateway, None, Format::Text).await.unwrap().replace("ho\\\"me", "MESH");
    let samples = read(&text, Format::Text);
    let boards = queries();
    assert!(boards.len() >= 5, "{:?}", boards.keys());
    let (mut count, mut without) = (0, BTreeSet::new());
    for (name, queries) in &boards {
        for query in queries {
            let (wrong, silent) = asked(query, &samples);
            assert_eq!(wrong, Vec::<String>::new(), "{name}");
            without.extend(silent);
            count += 1;
        }
    }
    let silent: BTreeSet<String> = SILENT.map(str::to_owned).into();
    assert!(without.is_subset(&silent), "{:?}", without.difference(&silent));
    assert!(count >= 60, "{count} queries");
}

#[tokio::test]
async fn a_query_for_what_is_not_there_is_found() {
    let (gateway, _) = gateway(4).await;
    let text = scrape(&gateway, None, Format::Text).await.unwrap().replace("ho\\\"me", "MESH");
    let samples = read(&text, Format::Text);
    for (query, found) in [
        ("painlessmesh_happiness{mesh=\"MESH\"}", "no series"),
        ("painlessmesh_links{mesh=\"other\"}", "nothing is selected"),
        ("painlessmesh_nodes{mesh=\"MESH\", state=\"asleep\"}", "nothing is selected"),
        ("sum by (colour) (painlessmesh_nodes{mesh=\"MESH\"})", "nothing is selected"),
        ("painlessmesh_nodes{mesh=\"MESH\"} / painlessmesh_lonks", "no series"),
        ("vector(1)", "nothing is asked"),
    ] {
        let (wrong, _) = asked(query, &samples);
        assert!(wrong.iter().any(|wrong| wrong.contains(found)), "{query}: {wrong:?}");
    }
    let (wrong, _) = asked("sum by (state) (painlessmesh_nodes{mesh=~\"M.*\", state!=\"x\"})", &samples);
    assert_eq!(wrong, Vec::<String>::new());
}
