//! `meshward firmware …` on real images, and what it refuses.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use meshward_core::codec::Recipe;
use meshward_core::hash::Sha256Sum;
use meshward_core::ota::trust::{Descriptor, KeyStore};
use meshward_fleet::payload::{Payload, unpack};
use meshward_fleet::sealing::group_key_from_text;
use meshward_fleet::signing::public_from_text;

use crate::program::{run, testdata, text};

/// A folder with an author's key in it, and two images.
struct Bench {
    folder: tempfile::TempDir,
    old: String,
    new: String,
}

impl Bench {
    fn new() -> Self {
        let image = |version: &str| {
            let path = testdata("firmware").join(format!("node-c3-v{version}.bin"));
            path.to_str().unwrap().to_owned()
        };
        let bench = Self { folder: tempfile::tempdir().unwrap(), old: image("1.4.2"), new: image("1.4.3") };
        let made = bench.keygen("author", &[]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn keygen(&self, kind: &str, more: &[&str]) -> Output {
        let args = ["firmware", "keygen", "--kind", kind, "-o", &self.name(kind)];
        run(&[&args[..], more].concat())
    }

    fn sign(&self, image: &str, key: &str, more: &[&str]) -> Output {
        let (key, output) = (self.name(key), self.name("manifest"));
        let args = ["firmware", "sign", image, "--key", &key, "-o", &output];
        run(&[&args[..], &["--role", "sensor", "--sequence", "12"], more].concat())
    }
}

fn says(output: &Output, code: i32, needle: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(needle), "should say {needle}: {said}");
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

#[test]
fn a_key_is_its_owners_and_is_not_written_over() {
    let bench = Bench::new();
    let mode = |name: &str| bench.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("author"), 0o600);
    assert_eq!(mode("author.pub") & 0o700, 0o600);
    let read = |name: &str| std::fs::read_to_string(bench.path(name)).unwrap();
    let before = read("author");
    says(&bench.keygen("author", &[]), 1, "is there already: --force replaces it");
    assert_eq!(read("author"), before);
    std::fs::set_permissions(bench.path("author"), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(bench.keygen("author", &["--force"]).status.success());
    assert_ne!(read("author"), before);
    assert_eq!(mode("author"), 0o600);
    let left: Vec<_> = std::fs::read_dir(bench.folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_signed_image_is_believed_by_a_node_with_the_key() {
    let bench = Bench::new();
    let until = ["--image-version", "1.4.3", "--not-after", "2100-01-01T00:00:00Z"];
    let signed = bench.sign(&bench.new, "author", &until);
    assert!(signed.status.success(), "{}", text(&signed.stderr));
    let key = public_from_text(&std::fs::read_to_string(bench.path("author.pub")).unwrap()).unwrap();
    let bytes = std::fs::read(bench.path("manifest")).unwrap();
    let manifest = KeyStore::new(&[key]).unwrap().manifest(&bytes, None).unwrap().content;
    assert_eq!(
        (manifest.role.as_str(), manifest.version.as_str(), manifest.sequence),
        ("sensor", "1.4.3", 12)
    );
    assert_eq!((manifest.hardware.as_str(), manifest.size), ("ESP32", 528_944));

    let (manifest, public) = (bench.name("manifest"), bench.name("author.pub"));
    let inspect = |image: &str, key: &str| {
        run(&["firmware", "inspect", image, "--manifest", &manifest, "--key", key, "--json"])
    };
    let report = json(&inspect(&bench.new, &public));
    assert_eq!(report["manifest"]["not_after"], "2100-01-01T00:00:00Z");
    says(&inspect(&bench.old, &public), 1, "is of image a69f7092");
    assert!(bench.keygen("recovery", &[]).status.success());
    says(&inspect(&bench.new, &bench.name("recovery.pub")), 1, "is not known");
}

#[test]
fn what_cannot_be_signed_is_named() {
    let bench = Bench::new();
    assert!(bench.keygen("operator", &[]).status.success());
    let broken = bench.name("broken.bin");
    std::fs::write(&broken, &std::fs::read(&bench.new).unwrap()[..100_000]).unwrap();
    says(&bench.sign(&bench.new, "operator", &[]), 1, "nodes want kind author");
    says(&bench.sign(&bench.new, "author.pub", &[]), 1, "meshward-secret-key:KIND");
    says(&bench.sign(&bench.new, "nobody", &[]), 1, "cannot read the key");
    says(&bench.sign(&broken, "author", &[]), 1, "cut off");
    says(&bench.sign("/nowhere/at/all.bin", "author", &[]), 1, "/nowhere/at/all.bin");
    says(&bench.sign(&bench.new, "author", &["--sequence", "0"]), 2, "--sequence");
    says(&bench.sign(&bench.new, "author", &["--protocol", "2-1"]), 2, "LOWEST-HIGHEST");
    says(&bench.sign(&bench.new, "author", &["--not-after", "soon"]), 2, "2030-12-31T00:00:00Z");
    assert!(!bench.path("manifest").exists());
    assert!(bench.sign(&bench.new, "author", &[]).status.success(), "the image says its version");
    says(&bench.sign(&bench.new, "author", &[]), 1, "--force");
}

#[test]
fn inspect_tells_what_an_image_is_and_how_small_it_travels() {
    let bench = Bench::new();
    let packed = bench.name("image.bin.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &std::fs::read(&bench.new).unwrap()).unwrap();
    std::fs::write(&packed, gzip.finish().unwrap()).unwrap();
    for image in [&bench.new, &packed] {
        let report = json(&run(&["firmware", "inspect", image, "--base", &bench.old, "--json"]));
        assert_eq!(report["chip"], "ESP32-C3");
        assert_eq!(report["md5"], "4639cc6276c15e1cc31cda3b69b09ad2");
        assert_eq!(report["hash_appended"], true);
        assert!(report["segments"].as_array().unwrap().len() > 3);
        assert_eq!(report["problem"], serde_json::Value::Null);
        let payloads = report["payloads"].as_array().unwrap();
        assert_eq!(payloads.len(), 6);
        let smallest = payloads.iter().map(|payload| payload["size"].as_u64().unwrap()).min().unwrap();
        assert!(smallest < 13_223, "a patch of {smallest} bytes is more than 2.5 %");
    }
    let shown = text(&run(&["firmware", "inspect", &bench.new]).stdout);
    assert!(shown.contains("ESP32-C3, 528944 bytes") && shown.contains("heatshrink"), "{shown}");
    let broken = bench.name("broken.bin");
    std::fs::write(&broken, &std::fs::read(&bench.new).unwrap()[..9_000]).unwrap();
    says(&run(&["firmware", "inspect", &broken]), 1, "cut off");
    std::fs::write(&broken, b"").unwrap();
    says(&run(&["firmware", "inspect", &broken]), 1, "is empty");
}

fn delta(bench: &Bench, output: &Path, more: &[&str]) -> Output {
    let args = ["firmware", "delta", &bench.old, &bench.new, "-o", output.to_str().unwrap()];
    run(&[&args[..], more].concat())
}

fn pack(image: &str, output: &Path, more: &[&str]) -> Output {
    let args = ["firmware", "pack", image, "-o", output.to_str().unwrap()];
    run(&[&args[..], more].concat())
}

#[test]
fn pack_writes_the_payload_of_a_whole_image() {
    let bench = Bench::new();
    for kind in ["operator", "group"] {
        assert!(bench.keygen(kind, &[]).status.success());
    }
    let (group, operator) = (bench.name("group"), bench.name("operator"));
    let image = std::fs::read(&bench.new).unwrap();
    let plain = bench.path("plain");
    let report = json(&pack(&bench.new, &plain, &["--codec", "none", "--json"]));
    assert_eq!(std::fs::read(&plain).unwrap(), image, "uncoded it is the image");
    assert_eq!((&report["base_sha256"], report["chunks"].as_u64()), (&serde_json::Value::Null, Some(520)));
    let shown = text(&pack(&bench.new, &bench.path("small"), &["--level", "5"]).stdout);
    assert!(shown.ends_with(".bin (528944 bytes)\n"), "for everybody: {shown}");

    let sealed = bench.path("sealed");
    let more = ["--codec", "heatshrink", "--chunk-size", "512", "--encrypt", &group, "--key", &operator];
    let packed = pack(&bench.new, &sealed, &more);
    assert_eq!((packed.status.code(), text(&packed.stderr).as_str()), (Some(0), ""));
    let shown = text(&packed.stdout);
    assert!(shown.contains(".bin (528944 bytes), for nodes that have group key "), "{shown}");
    let key = public_from_text(&std::fs::read_to_string(bench.path("operator.pub")).unwrap()).unwrap();
    let signed = std::fs::read(bench.path("sealed.descriptor")).unwrap();
    let descriptor = KeyStore::new(&[key]).unwrap().descriptor(&signed).unwrap().content;
    let bytes = std::fs::read(&sealed).unwrap();
    assert_eq!(descriptor.sha256, Sha256Sum::of(&bytes));
    let group = group_key_from_text(&std::fs::read_to_string(group).unwrap()).unwrap();
    let Descriptor { image: sum, base, chunk_size, seal, .. } = descriptor;
    assert_eq!((sum, base, chunk_size), (Sha256Sum::of(&image), None, 512));
    let recipe = Recipe {
        codec: descriptor.codec,
        sizes: descriptor.sizes,
        image_len: image.len() as u32,
        base_len: None,
    };
    let payload = Payload { bytes, recipe, image: sum, base, chunk_size, seal };
    assert_eq!(unpack(&payload, &[], Some(&group)).unwrap(), image, "as a node with both keys unpacks it");
}

#[test]
fn what_cannot_be_packed_is_named_and_nothing_is_written() {
    let bench = Bench::new();
    let output = bench.path("payload");
    let (empty, broken) = (bench.name("empty.bin"), bench.name("broken.bin.gz"));
    std::fs::write(&empty, b"").unwrap();
    std::fs::write(&broken, b"\x1f\x8b\x08 and no more").unwrap();
    says(&pack("/nowhere/at/all.bin", &output, &[]), 1, "cannot read the image /nowhere/at/all.bin");
    says(&pack(&empty, &output, &[]), 1, "empty.bin is empty");
    says(&pack(&broken, &output, &[]), 1, "broken.bin.gz");
    says(&pack(&bench.new, &output, &["--chunk-size", "64"]), 1, "chunk size 64: a multiple of 4");
    says(&pack(&bench.new, &output, &["--level", "0"]), 1, "level 0: 1 (quick) to 9 (small)");
    says(&pack(&bench.new, &output, &["--codec", "zip"]), 2, "none, heatshrink, lzma");
    says(&pack(&bench.new, &output, &[&bench.old]), 2, "unexpected argument");
    says(&run(&["firmware", "pack", &bench.new]), 2, "--output");
    says(&run(&["firmware", "delta", &bench.new, "-o", "x"]), 2, "<NEW>");
    let author = bench.name("author");
    says(&pack(&bench.new, &output, &["--key", &author]), 1, "nodes want kind operator");
    assert!(!output.exists() && !bench.path("payload.descriptor").exists());
}

#[test]
fn delta_writes_a_payload() {
    let bench = Bench::new();
    let output = bench.path("patch");
    let report = json(&delta(&bench, &output, &["--json"]));
    assert_eq!(report["size"], output.metadata().unwrap().len());
    assert!(report["ratio"].as_f64().unwrap() < 0.025, "{report}");
    says(&delta(&bench, &output, &[]), 1, "--force");
    let again = delta(&bench, &output, &["--force", "--codec", "heatshrink"]);
    let shown = text(&again.stdout);
    assert!(shown.contains("2.7 %") && shown.contains("node-c3-v1.4.2.bin"), "{shown}");
    let other = bench.path("other");
    says(
        &delta(&bench, &other, &["--chunk-size", "1023"]),
        1,
        "chunk size 1023: a multiple of 4 from 128 to 1400",
    );
    says(&delta(&bench, &other, &["--level", "11"]), 1, "level 11: 1 (quick) to 9 (small)");
    assert!(!other.exists());
    let nowhere = bench.path("no/such/folder/patch");
    says(&delta(&bench, &nowhere, &[]), 1, "cannot write");
}

#[test]
fn a_group_key_is_its_owners_and_seals_a_payload() {
    let bench = Bench::new();
    for kind in ["operator", "group"] {
        let made = bench.keygen(kind, &[]);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    assert_eq!(bench.path("group").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!bench.path("group.pub").exists(), "it has no public half");
    says(&bench.keygen("group", &[]), 1, "is there already: --force replaces it");
    let (group, operator, output) = (bench.name("group"), bench.name("operator"), bench.path("sealed"));
    let open = json(&delta(&bench, &bench.path("open"), &["--json"]));
    assert_eq!(open["group_key"], serde_json::Value::Null);
    let report = json(&delta(&bench, &output, &["--encrypt", &group, "--key", &operator, "--json"]));
    assert_eq!(report["size"].as_u64(), open["size"].as_u64().map(|size| size + 3 * 16), "three blocks");
    assert_eq!(report["salt"].as_str().map(str::len), Some(32));
    let again = delta(&bench, &bench.path("again"), &["--encrypt", &group]);
    says(&again, 0, "only a signed descriptor tells nodes the key's name and the salt");
    says(&again, 0, "with --force and --key OPERATOR makes the same payload again, and writes ");
    let shown = text(&again.stdout);
    let name = report["group_key"].as_str().unwrap();
    assert!(shown.ends_with(&format!("and have group key {name}\n")), "{shown}");
    assert_eq!(std::fs::read(&output).unwrap(), std::fs::read(bench.path("again")).unwrap());

    let (descriptor, author) = (bench.name("sealed.descriptor"), bench.name("author.pub"));
    let inspect = |image: &str, key: &str, more: &[&str]| {
        run(&[&["firmware", "inspect", image, "--descriptor", &descriptor, "--key", key], more].concat())
    };
    let public = bench.name("operator.pub");
    let report = json(&inspect(&bench.new, &public, &["--key", &author, "--json"]));
    assert_eq!(report["descriptor"]["group_key"], name);
    let shown = text(&inspect(&bench.new, &public, &[]).stdout);
    assert!(shown.contains(&format!("sealed by group key {name}, signed by")), "{shown}");
    says(&inspect(&bench.old, &public, &[]), 1, "is of image a69f7092");
    says(&inspect(&bench.new, &author, &[]), 1, "is not known");
    says(&inspect(&bench.new, &public, &["--key", &public]), 1, "a key twice");
    says(&run(&["firmware", "inspect", &bench.new, "--key", &author]), 2, "--manifest");
}

#[test]
fn what_cannot_be_sealed_is_named_and_nothing_is_written() {
    let bench = Bench::new();
    assert!(bench.keygen("group", &[]).status.success());
    let output = bench.path("sealed");
    let refused = |more: &[&str], needle: &str| {
        says(&delta(&bench, &output, more), 1, needle);
        assert!(!output.exists() && !bench.path("sealed.descriptor").exists());
    };
    let (group, author) = (bench.name("group"), bench.name("author"));
    refused(&["--encrypt", &author], "not a group key: expected one line `meshward-group-key:64");
    refused(&["--encrypt", "/nowhere/at/all"], "cannot read the group key /nowhere/at/all");
    refused(&["--key", &group], "meshward-secret-key:KIND");
    refused(&["--encrypt", &group, "--key", &author], "nodes want kind operator");
    std::fs::write(bench.path("sealed.descriptor"), b"").unwrap();
    says(&delta(&bench, &output, &["--key", &author]), 1, "sealed.descriptor is there already");
}
