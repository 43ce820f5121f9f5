//! Nodes that take signed updates, as processes: keys, forecasts, one verb for both families, waves.

use meshward_core::flash::{Books, Layout};
use meshward_gateway::boot;
use meshward_gateway::flash_file::FlashFile;

use crate::bench::{Bench, KEYS, image};
use crate::program::{Gateway, Running, run, text};

const NEW_MD5: &str = "4639cc6276c15e1cc31cda3b69b09ad2";

/// What each group of a forecast is sent, and how many nodes that are.
fn groups(forecast: &serde_json::Value) -> Vec<(String, usize)> {
    let group = |group: &serde_json::Value| {
        let scheme = group["scheme"].as_str().unwrap_or("nothing").to_owned();
        (scheme, group["nodes"].as_array().unwrap().len())
    };
    forecast["groups"].as_array().unwrap().iter().map(group).collect()
}

#[test]
fn signed_nodes_and_stock_nodes_are_updated_by_one_verb() {
    let bench = Bench::new(&["author", "operator"]);
    let (author, old, new) = (&bench.path("author"), &image("1.4.2"), &image("1.4.3"));
    let (first, port) = bench.node(41, "sensor", None, KEYS);
    let (second, second_port) = bench.node(42, "sensor", Some(&port), KEYS);
    let (stock, _) = bench.node(43, "sensor", Some(&second_port), &[]);
    let gateway = Gateway::start_with(&port, &["--operator-key", &bench.path("operator")]);
    gateway.sees(3);

    // Without a manifest nothing can be sent to those who want a signature.
    let bare = gateway.json(&["ota", "forecast", new, "--role", "sensor"]);
    assert_eq!(groups(&bare), [("turbo".to_owned(), 1), ("nothing".to_owned(), 2)], "{bare}");
    let signed = ["--role", "sensor", "--author", author, "--sequence", "5", "--base", old];
    let forecast = [&["ota", "forecast", new][..], &signed].concat();
    let reckoned = gateway.json(&forecast);
    assert_eq!(groups(&reckoned), [("delta".to_owned(), 2), ("turbo".to_owned(), 1)], "{reckoned}");
    assert_eq!(reckoned["groups"][0]["running"]["name"], "node-c3-v1.4.2.bin");
    assert!(reckoned["channel_seconds"].as_f64() > Some(1.0) && reckoned["eta_seconds"].as_f64() > Some(5.0));
    let shown = text(&gateway.ask(&forecast).stdout);
    assert!(shown.contains("Meshward ESP32 sensor, running node-c3-v1.4.2.bin"), "{shown}");
    assert!(shown.contains("of channel time in all"), "{shown}");

    let deploy = [&["ota", "deploy", new, "--confirm-receiver"][..], &signed].concat();
    let rollout = gateway.json(&deploy);
    let node = |at: usize, field: &str| rollout["nodes"][at][field].as_str().unwrap_or("–").to_owned();
    let expected = [("meshward", "delta"), ("meshward", "delta"), ("stock", "turbo")];
    for (at, (family, scheme)) in expected.into_iter().enumerate() {
        let found = [node(at, "state"), node(at, "family"), node(at, "scheme")];
        assert_eq!(found, ["updated", family, scheme], "{rollout}");
    }
    for running in [&first, &second, &stock] {
        assert!(running.says("boot 2").contains(NEW_MD5));
    }
    // A chip that has been given keys keeps them: what is not signed does not get in by a restart.
    assert_eq!(second.terminate(), Some(0));
    let (_second, _) = bench.node(42, "sensor", Some(&port), &[]);
    let chip = FlashFile::open(bench.path("42.flash").as_ref(), Layout::FOUR_MEGABYTES.size).unwrap();
    assert!(boot::has_keys(&chip, &Books::FOUR_MEGABYTES).unwrap());
}

#[test]
fn what_a_signed_node_does_not_take_is_said_in_words() {
    let bench = Bench::new(&["author", "operator"]);
    let (author, old, new) = (&bench.path("author"), &image("1.4.2"), &image("1.4.3"));
    // It does not know the operator.
    let (_node, port) = bench.node(61, "sensor", None, &["author.pub"]);
    let gateway = Gateway::start_with(&port, &["--operator-key", &bench.path("operator")]);
    gateway.sees(1);
    let manifest = bench.path("manifest");
    let sign = ["firmware", "sign", new, "--key", author, "--role", "sensor", "--sequence", "5", "-o"];
    assert!(run(&[&sign[..], &[&manifest]].concat()).status.success());
    let deploy = |image: &str, more: &[&str]| gateway.ask(&[&["ota", "deploy", image][..], more].concat());
    let refused = deploy(new, &["--manifest", &manifest]);
    let said = text(&refused.stdout);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("it does not know the key that signed the image or its payload (reason 4)"),
        "{said}"
    );
    let baseless = text(&deploy(new, &["--scheme", "delta"]).stdout);
    assert!(baseless.contains("runs an image that is not at hand"), "{baseless}");

    let other_image = deploy(old, &["--manifest", &manifest]);
    assert!(text(&other_image.stderr).contains("the manifest is of image"), "{}", text(&other_image.stderr));
    let other_role = deploy(new, &["--manifest", &manifest, "--role", "relay"]);
    assert!(text(&other_role.stderr).contains("the image's manifest is for ESP32 sensor"));
    let same = deploy(old, &["--role", "sensor", "--author", author, "--sequence", "5"]);
    assert!(same.status.success() && text(&same.stdout).contains("runs this image already"));
    let wrong_key =
        deploy(new, &["--role", "sensor", "--author", &bench.path("operator"), "--sequence", "5"]);
    assert!(text(&wrong_key.stderr).contains("nodes want kind author"), "{}", text(&wrong_key.stderr));
    let wrong_operator = run(&["gateway", "--peer", &port, "--operator-key", author]);
    assert!(
        text(&wrong_operator.stderr).contains("of kind author, and a gateway needs one of kind operator")
    );
}

#[test]
fn a_held_rollout_of_signed_nodes_starts_the_image_in_waves() {
    let bench = Bench::new(&["author"]);
    // The gateway makes its key at its first start.
    let operator = bench.path("op");
    let args = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--operator-key", &operator];
    let gateway = Running::start(&[&["gateway"][..], &args].concat());
    let line = gateway.says("operator key");
    assert!(line.contains("op.pub (for the nodes)"), "{line}");
    assert_eq!(gateway.terminate(), Some(0));
    let keys = ["author.pub", "op.pub"];
    let (_first, port) = bench.node(51, "sensor", None, &keys);
    let (second, _) = bench.node(52, "sensor", Some(&port), &keys);
    let gateway = Gateway::start_with(&port, &["--operator-key", &operator]);
    gateway.sees(2);
    let author = bench.path("author");
    let args = ["ota", "deploy", &image("1.4.3"), "--role", "sensor", "--author", &author];
    let output = gateway.ask(&[&args[..], &["--sequence", "1", "--hold", "--airtime", "50"]].concat());
    let said = text(&output.stdout);
    assert!(
        output.status.success() && said.contains("2 ready") && said.contains("has it installed"),
        "{said}"
    );
    let state = |rollout: &serde_json::Value, at: usize| rollout["nodes"][at]["state"].clone();
    let canary = gateway.json(&["ota", "activate", "1", "--node", "52"]);
    assert_eq!((state(&canary, 0), state(&canary, 1)), ("ready".into(), "updated".into()), "{canary}");
    assert!(second.says("boot 2").contains(NEW_MD5));
    let rest = gateway.json(&["ota", "activate", "1"]);
    assert_eq!((state(&rest, 0), state(&rest, 1)), ("updated".into(), "updated".into()), "{rest}");
    assert_eq!(rest["state"], "finished");
}
