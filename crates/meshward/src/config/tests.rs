use super::*;
use meshward_core::hash::Sha256Sum;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn parsed(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    parse(Some("/etc/meshward/meshward.toml".into()), Some(text), variables(environment))
}

/// What is said of a text with mistakes.
fn said(text: &str) -> String {
    parsed(text, &[]).unwrap_err().to_string()
}

#[test]
fn what_nobody_sets_is_as_by_default() {
    let loaded = parsed("", &[]).unwrap();
    assert!(loaded.origins.values().all(|origin| *origin == Origin::Default));
    assert_eq!((loaded.config.status.budget_percent, loaded.config.status.query_interval), (2.0, 30));
    assert_eq!(loaded.config.http.listen.to_string(), "127.0.0.1:8080");
    assert!(!loaded.config.mesh.has_a_way());
}

#[test]
fn the_environment_goes_before_the_file() {
    let text = "[mesh]\npeers = [\"10.0.0.1\", \"auto\"]\nid = 7\n[status]\nquery_interval = \"5 min\"\n";
    let loaded = parsed(
        text,
        &[
            ("MESHWARD_MESH__PEERS", "10.0.0.2, [::1]:7"),
            ("MESHWARD_MESH__NAME", "12"),
            ("MESHWARD_MESH__ID", ""),
            ("MESHWARD_STATUS__BUDGET_PERCENT", "0.5"),
            ("MESHWARD_URL", "x"),
        ],
    )
    .unwrap();
    let mesh = &loaded.config.mesh;
    let peers: Vec<String> = mesh.peers.iter().map(ToString::to_string).collect();
    assert_eq!((&*peers.join(" "), &*mesh.name, mesh.id), ("10.0.0.2 [::1]:7", "12", Some(7)));
    assert_eq!((loaded.config.status.budget_percent, loaded.config.status.query_interval), (0.5, 300));
    let origin = |key: &str| loaded.origins.get(key).cloned();
    assert_eq!(origin("mesh.id"), Some(Origin::File(3)));
    assert_eq!(origin("mesh.name"), Some(Origin::Environment("MESHWARD_MESH__NAME".to_owned())));
}

#[test]
fn a_mistake_is_said_with_its_place_and_what_would_be_right() {
    for (text, place, needle) in [
        (
            "[mesh]\nlisten = \"0.0.0.0\"\n",
            ":2:10: mesh.listen is `0.0.0.0`",
            "write ADDRESS:PORT, as \"0.0.0.0:5555\"",
        ),
        ("[mesh]\nid = 0\n", ":2:6: mesh.id is 0", "take 1 to 4294967295"),
        ("[mesh]\nid = 4294967296\n", ":2:6: ", "take 1 to 4294967295"),
        ("[mesh]\nid = 99999999999999999999\n", ":2:6: ", ""),
        ("[mesh]\npeers = \"a\"\n", ":2:9: mesh.peers is `a`", "square brackets"),
        ("[mesh]\npeers = [\"a\", \"b c\"]\n", ":2:15: mesh.peers is `b c`", "HOST:PORT"),
        ("[mesh]\nroot = \"yes\"\n", ":2:8: mesh.root is `yes`", "true or false"),
        ("[mesh]\nname = \"\"\n", ":2:8: mesh.name is ``", "1 to 64 bytes"),
        ("[mesh]\n  listn = 1\n", ":2:3: there is no key mesh.listn", "did you mean mesh.listen?"),
        ("[mash]\n", ":1:2: there is no section mash", "did you mean mesh?"),
        ("[nonsense]\n", ":1:2: there is no section nonsense", "there are http, "),
        ("mesh = 3\n", ":1:8: mesh is a section", "[mesh]"),
        ("[status]\nbudget_percent = 0\n", ":2:18: status.budget_percent is 0", "0.1 to 50 percent"),
        ("[status]\nbudget_percent = nan\n", ":2:18: ", "0.1 to 50 percent"),
        ("[status]\nquery_interval = \"9 s\"\n", ":2:18: status.query_interval is `9 s`", "10 s to 1 h"),
        ("[status]\nquery_interval = \"9 weeks\"\n", ":2:18: ", "10 s to 1 h"),
        ("[ota]\nmax_chunk_size = 1023\n", ":2:18: ota.max_chunk_size is 1023", "a multiple of 4"),
        ("[log]\nlevel = \"loud\"\n", ":2:9: log.level is `loud`", "off, error, warn"),
        ("[log]\nformat = \"xml\"\n", ":2:10: log.format is `xml`", "\"text\" or \"json\""),
        ("[notify]\nchannel = 3\n", ":2:11: notify.channel is 3", "[[notify.channel]]"),
        ("[[notify.channel]]\nkind = \"mqtt\"\n", ":1:1: ", "give id"),
        ("[[notify.channel]]\nid = \"a\"\nkind = \"pigeon\"\n", ":3:8: ", "\"webhook\" or \"ntfy\""),
        ("[[notify.channel]]\nid = \"a\"\nkind = \"email\"\nport = 0\n", ":4:8: ", "1 to 65535"),
        ("[[notify.channel]]\nid = \"a\"\nkind = \"mqtt\"\npassword = \"x\"\n", ":4:1: ", "password_file"),
        ("[mesh\n", ":1:6: ", ""),
        ("[mesh]\nname = \"ä\"\nroot = ja\n", ":3:8: ", ""),
        ("[mesh]\nid = 1\nid = 2\n", ":3:1: ", "duplicate"),
    ] {
        let said = said(text);
        assert!(said.contains(&format!("meshward.toml{place}")), "{text:?} should be at {place}: {said}");
        assert!(said.contains(needle), "{text:?} should say {needle}: {said}");
        assert!(said.contains('^'), "{said}");
    }
}

#[test]
fn channels_are_tables_and_what_is_shown_of_them_is_read_as_the_same() {
    let text = "[notify]\npublic_url = \"https://mesh.example.org/\"\n\
        [[notify.channel]]\nid = \"ops\"\nkind = \"webhook\"\nurl_file = \"hook.url\"\nsecret_file = \"hook.secret\"\n\
        [[notify.channel]]\nid = \"mail\"\nkind = \"email\"\nserver = \"mail.example.org\"\nsecurity = \"tls\"\nport = 465\n\
        from = \"mesh@example.org\"\nto = [\"a@example.org\", \"b@example.org\"]\nenabled = false\n";
    let loaded = parsed(text, &[]).unwrap();
    let channels = &loaded.config.notify.channel;
    assert_eq!(channels.len(), 2);
    assert_eq!(channels[0].url_file.as_deref(), Some(Path::new("/etc/meshward/hook.url")));
    assert_eq!((channels[1].port, channels[1].enabled), (Some(465), Some(false)));
    assert_eq!(channels[1].to.as_ref().map(Vec::len), Some(2));
    let shown =
        loaded.config.shown().into_iter().find(|(key, _)| key == "notify.channel").unwrap().1.unwrap();
    let again = parsed(&format!("[notify]\nchannel = {shown}\n"), &[]).unwrap();
    assert_eq!(again.config.notify.channel, *channels, "{shown}");
    let wrong = parsed("", &[("MESHWARD_NOTIFY__CHANNEL", "ops")]).unwrap_err().to_string();
    assert!(wrong.contains("in the file"), "{wrong}");
}

#[test]
fn the_line_is_shown_with_a_mark_below() {
    let want = "the configuration cannot be used\n\
                /etc/meshward/meshward.toml:2:9: mesh.id is `ü`: take 1 to 4294967295\n   |\n 2 | id =    \"ü\" # x\n   |         ^^^";
    assert_eq!(said("[mesh]\nid =    \"ü\" # x\n"), want);
    // Nothing of a long line but what is around the mistake.
    let long = format!("[log]\nlevel = \"{}\"\n", "x".repeat(100_000));
    assert!(said(&long).lines().skip(2).all(|line| line.chars().count() < 200));
}

#[test]
fn all_mistakes_are_said_at_once_in_their_order() {
    let text = "[log]\nlevel = 3\n[mesh]\nid = -1\nfoo = 1\n";
    let error = parsed(text, &[("MESHWARD_OTA__ROLLOUTS", "maybe"), ("MESHWARD_OTA__ROLLOUT", "true")]);
    let said = error.unwrap_err().to_string();
    let order =
        ["5 mistakes", ":2:9:", ":4:6:", ":5:1:", "MESHWARD_OTA__ROLLOUTS: ", "MESHWARD_OTA__ROLLOUT: "];
    let places: Vec<Option<usize>> = order.iter().map(|place| said.find(place)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {said}");
    assert!(said.contains("did you mean MESHWARD_OTA__ROLLOUTS?"), "{said}");
    let many = "[mesh]\n".to_owned() + &(0..50).map(|n| format!("zzzzzzzz{n} = 1\n")).collect::<String>();
    let said = self::said(&many);
    assert!(said.contains("50 mistakes") && said.ends_with("and 30 more"), "{said}");
}

#[test]
fn files_are_relative_to_the_configuration() {
    let key = |text, environment: &[_]| parsed(text, environment).unwrap().config.ota.operator_key.unwrap();
    let text = "[ota]\noperator_key = \"operator.key\"\n";
    assert_eq!(key(text, &[]), Path::new("/etc/meshward/operator.key"));
    assert_eq!(key(text, &[("MESHWARD_OTA__OPERATOR_KEY", "own.key")]), Path::new("own.key"));
    assert_eq!(key("[ota]\noperator_key = \"/run/key\"\n", &[]), Path::new("/run/key"));
}

#[test]
fn whatever_is_written_is_read_or_refused() {
    // Cut anywhere, and spoilt anywhere, by bytes that a seed chooses.
    let whole = uncommented();
    for at in whole.char_indices().map(|(at, _)| at) {
        let _either = parsed(&whole[..at], &[]);
        let [byte, ..] = Sha256Sum::of(&at.to_be_bytes()).0;
        let spoilt = format!("{}{}{}", &whole[..at], char::from(byte), &whole[at..]);
        let _either = parsed(&spoilt, &[]);
    }
}

/// The file with everything in it, every key set.
fn uncommented() -> String {
    let file = reference::file(&BTreeMap::new());
    file.lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect()
}

#[test]
fn the_file_with_everything_in_it_is_read() {
    let nothing_set = parsed(&reference::file(&BTreeMap::new()), &[]).unwrap();
    assert!(nothing_set.origins.values().all(|origin| *origin == Origin::Default));
    let loaded = parsed(&uncommented(), &[]).unwrap();
    let unset: Vec<_> = loaded.origins.iter().filter(|(_, origin)| **origin == Origin::Default).collect();
    assert!(unset.is_empty(), "{unset:?}");
    // What has a default is written as that.
    for ((key, value), (_, default)) in loaded.config.shown().iter().zip(nothing_set.config.shown()) {
        assert!(default.is_none() || *value == default, "{key}: {value:?}, {default:?}");
    }
}

#[test]
fn what_is_shown_is_read_as_the_same() {
    let loaded = parsed(&uncommented(), &[]).unwrap();
    let mut again = String::new();
    for (key, value) in loaded.config.shown() {
        let (section, key) = key.split_once('.').unwrap();
        again.push_str(&format!("{section}.{key} = {}\n", value.unwrap()));
    }
    assert_eq!(parsed(&again, &[]).unwrap().config, loaded.config);
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");

#[test]
fn the_reference_is_the_one_in_the_docs() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    assert!(page == reference::markdown(), "run `meshward config reference > docs/configuration.md`");
}

#[test]
fn every_key_is_in_the_reference_and_explained() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    // The keys that are read, not those that the page was made of.
    let loaded = parsed("", &[]).unwrap();
    for key in loaded.origins.keys() {
        let (section, key) = key.split_once('.').unwrap();
        let variable = layers::variable(section, key);
        let rows = page.lines().filter(|line| line.starts_with(&format!("| `{key}` |")));
        assert_eq!(rows.filter(|row| row.contains(&variable)).count(), 1, "{section}.{key}");
        let words = page.lines().find_map(|line| line.strip_prefix(&format!("- **`{key}`**: ")));
        assert!(words.unwrap().len() > 20, "{key}");
    }
}
