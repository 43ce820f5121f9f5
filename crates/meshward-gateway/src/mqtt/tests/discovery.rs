//! What Home Assistant is told, against the rules of its documentation:
//! <https://www.home-assistant.io/integrations/mqtt/>.

use std::collections::BTreeSet;

use super::*;

/// Keys of a device message, and of each platform beyond those of all.
const ROOT: [&str; 7] = ["dev", "o", "availability", "availability_mode", "state_topic", "qos", "cmps"];
const DEVICE: [&str; 11] =
    ["ids", "cns", "name", "mf", "mdl", "mdl_id", "sw", "hw", "sn", "via_device", "suggested_area"];
const COMMON: [&str; 10] = [
    "p",
    "unique_id",
    "name",
    "default_entity_id",
    "availability",
    "entity_category",
    "enabled_by_default",
    "device_class",
    "json_attributes_topic",
    "qos",
];

fn keys(platform: &str) -> &'static [&'static str] {
    match platform {
        "binary_sensor" => &["state_topic", "value_template", "payload_on", "payload_off"],
        "sensor" => &["state_topic", "value_template", "unit_of_measurement", "state_class"],
        "update" => &["state_topic", "command_topic", "payload_install"],
        "button" => &["command_topic", "payload_press"],
        "event" => &["state_topic", "event_types"],
        other => panic!("there is no platform {other}"),
    }
}

/// Units that a device class takes.
fn units(class: &str) -> &'static [&'static str] {
    match class {
        "data_size" => &["bit", "kbit", "Mbit", "B", "kB", "MB", "KiB", "MiB"],
        "signal_strength" => &["dB", "dBm"],
        "duration" => &["d", "h", "min", "s", "ms"],
        "temperature" => &["°C", "°F", "K"],
        "humidity" | "battery" => &["%"],
        "atmospheric_pressure" => &["hPa", "mbar", "Pa", "kPa", "bar"],
        "timestamp" => &[],
        other => panic!("there is no class {other} of sensors"),
    }
}

/// Everything that is wrong with a message.
fn wrong(message: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let object = message.as_object().unwrap();
    wrong.extend(object.keys().filter(|key| !ROOT.contains(&key.as_str())).map(|key| format!("key {key}")));
    let device = message["dev"].as_object().unwrap();
    let known = |key: &&String| key.as_str() == "cu" || DEVICE.contains(&key.as_str());
    wrong.extend(device.keys().filter(|key| !known(key)).map(|key| format!("dev.{key}")));
    if message["dev"]["ids"].as_array().is_none_or(Vec::is_empty) {
        wrong.push("no ids".to_owned());
    }
    if message["o"]["name"].as_str().is_none_or(str::is_empty) {
        wrong.push("no origin".to_owned());
    }
    let mut ids = BTreeSet::new();
    for (key, component) in message["cmps"].as_object().unwrap() {
        let platform = component["p"].as_str().unwrap_or_default();
        let id = component["unique_id"].as_str().unwrap_or_default();
        if id.is_empty() || !ids.insert(id) {
            wrong.push(format!("{key}: unique_id {id}"));
        }
        let entity = component["default_entity_id"].as_str().unwrap_or_default();
        if entity.split('.').next() != Some(platform) {
            wrong.push(format!("{key}: default_entity_id {entity}"));
        }
        for name in component.as_object().unwrap().keys() {
            if !COMMON.contains(&name.as_str()) && !keys(platform).contains(&name.as_str()) {
                wrong.push(format!("{key}: {platform} has no {name}"));
            }
        }
        wrong.extend(component_wrong(key, platform, component));
    }
    wrong
}

fn component_wrong(key: &str, platform: &str, component: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let text = |name: &str| component[name].as_str();
    if let Some(category) = text("entity_category") {
        // Only what can be set is configuration.
        let fits =
            category == "diagnostic" || (category == "config" && matches!(platform, "button" | "update"));
        if !fits {
            wrong.push(format!("{key}: entity_category {category}"));
        }
    }
    let class = text("device_class");
    match platform {
        "sensor" => {
            if let Some(class) = class {
                let (units, unit) = (units(class), text("unit_of_measurement"));
                if unit.map_or(!units.is_empty(), |unit| !units.contains(&unit)) {
                    wrong.push(format!("{key}: {class} in {unit:?}"));
                }
                if class == "timestamp" && text("state_class").is_some() {
                    wrong.push(format!("{key}: a time stamp is no measurement"));
                }
            }
            let states = ["measurement", "total", "total_increasing"];
            if text("state_class").is_some_and(|state| !states.contains(&state)) {
                wrong.push(format!("{key}: state_class"));
            }
        }
        "binary_sensor" if !matches!(class, Some("connectivity" | "problem")) => {
            wrong.push(format!("{key}: {class:?}"))
        }
        "button"
            if !matches!(class, Some("restart" | "identify" | "update"))
                || text("command_topic").is_none() =>
        {
            wrong.push(format!("{key}: {class:?}"));
        }
        "update" if class != Some("firmware") => wrong.push(format!("{key}: {class:?}")),
        "event" if component["event_types"].as_array().is_none_or(Vec::is_empty) => {
            wrong.push(format!("{key}: no event_types"))
        }
        _ => {}
    }
    wrong
}

fn settings(role: Role) -> Settings {
    Settings {
        role: Some(role),
        home_assistant: Some("homeassistant".parse().unwrap()),
        url: Some("http://gateway:8080".to_owned()),
        ..Settings::default()
    }
}

const NODE: &str = "homeassistant/device/pm_garden_7/config";
const GATEWAY: &str = "homeassistant/device/pm_garden_gateway/config";

#[test]
fn every_device_is_announced_by_the_rules() {
    let mut table = Table::new(settings(Role::Operator)).up();
    table.see(&mesh(&[7, 8]));
    let (node, gateway) = (table.kept(NODE), table.kept(GATEWAY));
    assert_eq!((wrong(&node), wrong(&gateway)), (Vec::new(), Vec::new()));
    assert_eq!(node["dev"]["via_device"], gateway["dev"]["ids"][0]);
    assert_eq!(node["availability_mode"], "all");
    assert_eq!(node["availability"].as_array().unwrap().len(), 2);
    let components = &node["cmps"];
    for key in [
        "connectivity",
        "problem",
        "booted_at",
        "free_heap_bytes",
        "rssi_dbm",
        "messages_rx",
        "points",
        "temperature_c",
        "battery_percent",
        "last_heard_at",
        "parent",
        "hops",
        "firmware",
        "restart",
        "identify",
        "events",
    ] {
        assert!(components[key].is_object(), "{key}");
    }
    // It could never be "off" if it were not available then.
    assert_eq!(components["connectivity"]["availability"].as_array().unwrap().len(), 1);
    assert_eq!(components["connectivity"]["availability"][0]["topic"], of("bridge/state"));
    // What the node has not told is not there.
    assert!(components["humidity_percent"].is_null());
}

/// Something that breaks a rule.
type Break = fn(&mut Value);

#[test]
fn a_message_that_breaks_a_rule_is_found() {
    let mut table = Table::new(settings(Role::Operator)).up();
    table.see(&mesh(&[7]));
    let good = table.kept(NODE);
    let broken: [(Break, &str); 7] = [
        (|message| message["cmps"]["rssi_dbm"]["unit_of_measurement"] = "V".into(), "signal_strength in"),
        (|message| message["cmps"]["rssi_dbm"]["p"] = "button".into(), "button has no"),
        (|message| message["cmps"]["last_heard_at"]["state_class"] = "measurement".into(), "time stamp"),
        (|message| message["o"] = json!({}), "no origin"),
        (|message| message["extra"] = 1.into(), "key extra"),
        (
            |message| message["cmps"]["hops"]["unique_id"] = message["cmps"]["parent"]["unique_id"].clone(),
            "unique_id",
        ),
        (|message| message["cmps"]["hops"]["entity_category"] = "config".into(), "entity_category"),
    ];
    for (break_it, said) in broken {
        let mut message = good.clone();
        break_it(&mut message);
        assert!(wrong(&message).iter().any(|wrong| wrong.contains(said)), "{said}: {:?}", wrong(&message));
    }
}

#[test]
fn topics_and_templates_of_entities_lead_to_what_is_published() {
    let mut table = Table::new(settings(Role::Operator)).up();
    let mut seen = mesh(&[7]);
    seen.firmware = vec![firmware("1.5", 5)];
    table.see(&seen);
    for device in [NODE, GATEWAY] {
        let message = table.kept(device);
        for (key, component) in message["cmps"].as_object().unwrap() {
            // A sensor without a topic of its own has the device's.
            let own = component["state_topic"].as_str().filter(|_| component["p"] != "event");
            let shared = message["state_topic"].as_str().filter(|_| component["p"] == "sensor");
            let Some(topic) = own.or(shared) else { continue };
            let state = table.kept(topic);
            let Some(template) = component["value_template"].as_str() else {
                // An update's own keys.
                assert!(
                    state["installed_version"].is_string() && state["latest_version"].is_string(),
                    "{state}"
                );
                continue;
            };
            let path = template.trim_start_matches("{{ value_json.").trim_end_matches(" }}");
            let value = path.split('.').fold(&state, |value, level| &value[level]);
            assert!(!value.is_null(), "{device} {key}: {path} in {state}");
            if component["p"] == "binary_sensor" && key == "problem" {
                assert!(value == "ON" || value == "OFF");
            }
        }
    }
}

#[test]
fn who_may_only_look_gets_no_buttons() {
    let mut table = Table::new(settings(Role::Viewer)).up();
    table.see(&mesh(&[7]));
    let components = table.kept(NODE)["cmps"].clone();
    assert!(components["restart"].is_null() && components["firmware"]["command_topic"].is_null());
    assert!(components["firmware"].is_object());
}

#[test]
fn a_renamed_node_keeps_its_ids() {
    let mut table = Table::new(Settings { names: true, ..settings(Role::Operator) }).up();
    let mut seen = mesh(&[7]);
    table.see(&seen);
    let ids = |table: &Table| {
        let message = table.kept(NODE);
        let components = message["cmps"].as_object().unwrap().values();
        components
            .map(|component| component["unique_id"].as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    let before = ids(&table);
    seen.nodes[0].node.name = Some("Pump".to_owned());
    table.pass(1_000);
    table.see(&seen);
    assert_eq!(ids(&table), before);
    assert_eq!(table.kept(NODE)["dev"]["name"], "Pump");
}

#[test]
fn a_node_that_tells_more_and_more_is_announced_once_in_an_interval() {
    let mut table = Table::new(settings(Role::Operator)).up();
    let mut seen = mesh(&[7]);
    let all = std::mem::take(&mut seen.nodes[0].node.metrics);
    table.see(&seen);
    table.topics();
    for (second, announced) in (1..=31).map(|second| (second, second == 30)) {
        seen.nodes[0].node.metrics = all.iter().take(second).cloned().collect();
        table.pass(1_000);
        table.see(&seen);
        assert_eq!(table.topics().contains(&NODE.to_owned()), announced, "{second}");
    }
    assert!(table.kept(NODE)["cmps"]["battery_percent"].is_object());
}

#[test]
fn when_home_assistant_comes_back_everything_is_told_again_within_five_seconds_but_not_at_once() {
    let mut table = Table::new(settings(Role::Operator)).up();
    let seen = mesh(&(2..42).collect::<Vec<_>>());
    table.see(&seen);
    table.topics();
    table.hear("homeassistant/status", "offline");
    table.pass(1_000);
    table.see(&seen);
    assert_eq!(table.topics(), Vec::<String>::new());
    table.hear("homeassistant/status", "online");
    let mut per_second = Vec::new();
    for _ in 0..6 {
        table.see(&seen);
        let config = |topic: &String| topic.ends_with("/config");
        per_second.push(table.topics().iter().filter(|topic| config(topic)).count());
        table.pass(1_000);
    }
    assert_eq!(per_second.iter().sum::<usize>(), 41, "{per_second:?}");
    assert!(per_second.iter().all(|count| *count < 20), "{per_second:?}");
}
