//! The dashboard of InfluxDB as Grafana asks its queries: variables and macros are replaced as Grafana does it
//! (`$timeFilter` and `$__interval` in its backend, formats of variables before that).

use serde_json::Value;

/// The file that is shipped.
const BOARD: &str = include_str!("../../../../../contrib/grafana/dashboards/influx.json");
/// Characters that Grafana escapes in regular expressions.
const ESCAPED: &str = r"\^$*+?.()|[]{}/";

/// What somebody has chosen of a variable.
#[derive(Clone, Debug)]
pub(super) enum Chosen {
    /// All, where the variable says by which text.
    All(String),
    /// These.
    These(Vec<String>),
}

/// Variables, range of time (in milliseconds) and interval.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) variables: Vec<(&'static str, Chosen)>,
    pub(super) range: (i64, i64),
    pub(super) interval: &'static str,
}

/// A query of the dashboard: whose it is, and the text.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) title: String,
    pub(super) text: String,
}

pub(super) fn board() -> Value {
    serde_json::from_str(BOARD).unwrap()
}

fn of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// The queries of all panels. Each is raw InfluxQL, or it would not be asked as it is written.
pub(super) fn panels() -> Vec<Asked> {
    let (mut asked, board) = (Vec::new(), board());
    for panel in board["panels"].as_array().unwrap() {
        let format = if panel["type"] == "table" { "table" } else { "time_series" };
        for target in panel["targets"].as_array().unwrap() {
            let title = of(panel, "title").to_owned();
            assert!(target["rawQuery"] == true && target["resultFormat"] == format, "{title}");
            // A series is called by a tag by which it is grouped, or it would be called `$tag_…`.
            let (alias, text) = (target["alias"].as_str().unwrap_or_default(), of(target, "query"));
            let grouped = text.split_once(" GROUP BY ").map_or("", |(_, by)| by);
            if let Some(tag) = alias.strip_prefix("$tag_") {
                assert!(grouped.contains(&format!("\"{tag}\"")), "{title}");
            }
            asked.push(Asked { title, text: text.to_owned() });
        }
    }
    asked
}

/// A variable of the dashboard.
pub(super) fn variable(name: &str) -> Value {
    let board = board();
    let mut all = board["templating"]["list"].as_array().unwrap().iter();
    all.find(|one| one["name"] == name).unwrap_or_else(|| panic!("no variable {name}")).clone()
}

/// The query by which its values are found.
pub(super) fn values_of(name: &str) -> Asked {
    Asked { title: name.to_owned(), text: of(&variable(name), "query").to_owned() }
}

/// Everything, as the variable says it.
pub(super) fn all(name: &str) -> Chosen {
    Chosen::All(of(&variable(name), "allValue").to_owned())
}

/// Grafana's format `regex`.
fn regex(chosen: &Chosen) -> String {
    let escaped = |text: &String| -> String {
        text.chars().flat_map(|c| ESCAPED.contains(c).then_some('\\').into_iter().chain([c])).collect()
    };
    match chosen {
        // What stands for all is not escaped.
        Chosen::All(text) => text.clone(),
        Chosen::These(values) if values.len() == 1 => escaped(&values[0]),
        Chosen::These(values) => format!("({})", values.iter().map(escaped).collect::<Vec<_>>().join("|")),
    }
}

/// What is sent.
pub(super) fn sent(query: &str, view: &View) -> String {
    let mut text = query.to_owned();
    for (name, chosen) in &view.variables {
        text = text.replace(&format!("${{{name}:regex}}"), &regex(chosen));
    }
    let (from, to) = view.range;
    let text = text.replace("$timeFilter", &format!("time >= {from}ms and time <= {to}ms"));
    let text = text.replace("$__interval", view.interval);
    // Without a format versions of Grafana differ in what they escape.
    assert!(!text.contains("${") && !text.contains("$mesh") && !text.contains("$node"), "{text}");
    text
}

/// The source that is provisioned speaks the language of the queries, and reads what the gateway writes by default.
#[test]
fn the_source_is_of_the_same_language() {
    let sources = include_str!("../../../../../contrib/grafana/provisioning/datasources/meshward.yml");
    let (_, source) = sources.split_once("    uid: meshward-influx\n").unwrap();
    let source = source.split("  - name:").next().unwrap();
    for line in ["type: influxdb", "version: InfluxQL", "dbName: meshward", "httpMode: POST"] {
        assert!(source.lines().any(|there| there.trim() == line), "no {line} in {source}");
    }
}

#[test]
fn what_is_chosen_is_written_as_grafana_does() {
    let view = |chosen| View { variables: vec![("node", chosen)], range: (1, 2), interval: "30s" };
    let these = |values: &[&str]| Chosen::These(values.iter().map(|value| (*value).to_owned()).collect());
    let query = "/^${node:regex}$/ $timeFilter time($__interval)";
    for (chosen, expected) in [
        (these(&["7"]), "/^7$/"),
        (these(&["7", "a.b/c"]), r"/^(7|a\.b\/c)$/"),
        (Chosen::All(".*".to_owned()), "/^.*$/"),
    ] {
        let expected = format!("{expected} time >= 1ms and time <= 2ms time(30s)");
        assert_eq!(sent(query, &view(chosen)), expected);
    }
}
