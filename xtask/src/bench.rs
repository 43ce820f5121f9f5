//! `cargo xtask bench`: measures, and writes the figures into the marked sections of `docs/benchmarks.md`.
//!
//! Seven sources: criterion's benchmarks of the core, a node between sockets and the store, the REST interface of a
//! gateway of 500 nodes, all on this machine, the core's memory on riscv32imc (`cargo xtask budget`), `meshward sim bench` and `meshward sim speed`. What stands outside the
//! markers is kept, and a page without them is refused. Names of sections in front measure those alone; other
//! arguments belong to `meshward sim bench`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::bench_rest;
use crate::budget;
use crate::command::{Failure, Line, root};
use crate::demo::own;
use crate::program;

/// The page with the figures.
const PAGE: &str = "docs/benchmarks.md";
/// What the other cases are compared with, as the benchmark calls it.
const REFERENCE: &str = "serde_json::Value";

/// The page's sections, in the order in which they are measured.
const SECTIONS: [&str; 9] =
    ["core", "forward", "store", "rest", "payload", "budget", "speed", "latency", "simulator"];

/// Measures and rewrites the page, a section at a time, so that a late failure loses nothing.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (sections, arguments) = wanted(arguments);
    for section in sections {
        let content = match section {
            "core" => core("peek")?,
            "forward" | "store" => gateway(section)?,
            "rest" => format!("{}\n\n{}", machine()?, bench_rest::table(bench_rest::Wanted::default())?),
            "payload" => core("unpack")?,
            "budget" => budget::table()?,
            "speed" => speed()?,
            "latency" => sim("latency", &[])?,
            _ => sim("bench", own(arguments))?,
        };
        refresh(section, &content)?;
    }
    Ok(())
}

/// The sections that the first arguments name, all if none does; and the other arguments.
fn wanted(arguments: &[String]) -> (Vec<&'static str>, &[String]) {
    let named: Vec<&str> = arguments
        .iter()
        .map_while(|argument| SECTIONS.into_iter().find(|section| section == argument))
        .collect();
    let rest = arguments.get(named.len()..).unwrap_or_default();
    if named.is_empty() { (SECTIONS.to_vec(), rest) } else { (named, rest) }
}

/// What a node costs on loopback, or the database. Built as tests and the demo are, so that nothing is compiled
/// twice.
fn gateway(bench: &str) -> Result<String, Failure> {
    let line = Line::cargo(&["bench", "--workspace", "--bench", bench, "--profile", "dev"]);
    let tables = shown(&line).output()?;
    Ok(format!("{}\n\n{tables}", machine()?))
}

/// What the figures were measured on, without a date.
fn machine() -> Result<String, Failure> {
    let rustc = Line::new("rustc", &["--version"]).output()?;
    let machine = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| cpu_model(&text));
    let machine = machine.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    Ok(format!("{machine}, {}.", rustc_version(&rustc)))
}

/// What the simulator itself costs, built as tests are.
fn speed() -> Result<String, Failure> {
    let table = sim("speed", &[])?;
    Ok(format!("{}\n\n{table}", machine()?))
}

/// Runs a command of the simulator, whose standard output is a section.
fn sim(command: &str, arguments: &[String]) -> Result<String, Failure> {
    shown(&program::build());
    let line = program::built()?.with(&["sim".to_owned(), command.to_owned()]).with(arguments);
    shown(&line).output()
}

/// Runs a benchmark of the core and puts what criterion found into a table.
fn core(bench: &str) -> Result<String, Failure> {
    let results = results_directory()?;
    let line = Line::cargo(&["bench", "--package", "meshward-core", "--bench", bench])
        .env("CRITERION_HOME", &results.to_string_lossy());
    let started = SystemTime::now();
    shown(&line).run()?;
    let cases = cases_since(&results, started)?;
    Ok(format!("{}\n\n{}", machine()?, table(&cases)))
}

fn shown(line: &Line) -> &Line {
    println!("xtask: $ {line}");
    line
}

/// Where criterion keeps its results: beside everything else that cargo builds.
fn results_directory() -> Result<PathBuf, Failure> {
    let line = Line::cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&line.output()?).unwrap_or_default();
    match metadata["target_directory"].as_str() {
        Some(target) => Ok(Path::new(target).join("criterion")),
        None => Err(Failure::Missing(format!("`{line}` names no target directory"))),
    }
}

/// One measured case.
#[derive(Debug, PartialEq)]
struct Case {
    name: String,
    bytes: u64,
    median_ns: f64,
}

impl Case {
    /// Reads criterion's `benchmark.json` and `estimates.json`; `None` when they are not as expected.
    fn parse(benchmark: &str, estimates: &str) -> Option<Self> {
        let benchmark: Value = serde_json::from_str(benchmark).ok()?;
        let estimates: Value = serde_json::from_str(estimates).ok()?;
        Some(Self {
            name: benchmark["function_id"].as_str()?.to_owned(),
            bytes: benchmark["throughput"]["Bytes"].as_u64()?,
            median_ns: estimates["median"]["point_estimate"].as_f64()?,
        })
    }
}

/// The cases that were measured after `started`, in the order in which they were. Older ones may be of a
/// benchmark that has another name now.
fn cases_since(results: &Path, started: SystemTime) -> Result<Vec<Case>, Failure> {
    let mut found = Vec::new();
    collect(results, started, &mut found);
    found.sort_by_key(|(at, _)| *at);
    let none = || Failure::Missing(format!("criterion left no results in {}", results.display()));
    if found.is_empty() { Err(none()) } else { Ok(found.into_iter().map(|(_, case)| case).collect()) }
}

fn collect(directory: &Path, started: SystemTime, found: &mut Vec<(SystemTime, Case)>) {
    let estimates = directory.join("estimates.json");
    let written = fs::metadata(&estimates).and_then(|metadata| metadata.modified());
    if let Ok(at) = written
        && at >= started
        && directory.ends_with("new")
        && let (Ok(benchmark), Ok(estimates)) =
            (fs::read_to_string(directory.join("benchmark.json")), fs::read_to_string(&estimates))
    {
        found.extend(Case::parse(&benchmark, &estimates).map(|case| (at, case)));
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), started, found);
        }
    }
}

/// A row per case; times of the reference in the same run, where it was measured, beside them.
fn table(cases: &[Case]) -> String {
    let reference = cases.iter().find(|case| case.name == REFERENCE).map(|case| case.median_ns);
    let (title, rule) = match reference {
        Some(_) => (format!(" time ÷ `{REFERENCE}`'s |"), " ---: |"),
        None => (String::new(), ""),
    };
    let mut text = format!("| case | bytes | time (median) | throughput |{title}\n");
    text.push_str(&format!("| --- | ---: | ---: | ---: |{rule}\n"));
    for Case { name, bytes, median_ns } in cases {
        let ratio = reference.map_or_else(String::new, |other| format!(" {:.2} |", median_ns / other));
        let rate = rate(*bytes as f64 / median_ns);
        text.push_str(&format!("| {name} | {bytes} | {} | {rate} |{ratio}\n", time(*median_ns)));
    }
    text
}

/// Bytes per nanosecond are gigabytes per second.
fn rate(rate: f64) -> String {
    if rate < 0.1 { format!("{:.1} MB/s", rate * 1e3) } else { format!("{rate:.2} GB/s") }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

/// The model in the text of `/proc/cpuinfo`; chips of some families have none.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `rustc 1.95.0` out of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn rustc_version(text: &str) -> String {
    text.split(" (").next().unwrap_or_default().trim().to_owned()
}

/// Writes a section of the page.
fn refresh(section: &str, content: &str) -> Result<(), Failure> {
    let path = root().join(PAGE);
    let cannot =
        |verb: &str, error: std::io::Error| Failure::Missing(format!("cannot {verb} {PAGE}: {error}"));
    let page = fs::read_to_string(&path).map_err(|error| cannot("read", error))?;
    let page = replaced(&page, section, content)?;
    fs::write(&path, page).map_err(|error| cannot("write", error))?;
    println!("xtask: section \"{section}\" of {PAGE} is written");
    Ok(())
}

/// `page` with `content` between the markers of `section`, and nothing else changed.
fn replaced(page: &str, section: &str, content: &str) -> Result<String, Failure> {
    let (begin, end) = (format!("<!-- bench:{section} -->"), format!("<!-- /bench:{section} -->"));
    let missing = || Failure::Missing(format!("{PAGE} must have `{begin}` and then `{end}`, each once"));
    if page.matches(&begin).count() != 1 || page.matches(&end).count() != 1 {
        return Err(missing());
    }
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_old, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", content.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_BEFORE: &str = "# Title\n\n<!-- bench:core -->\nold\n<!-- /bench:core -->\nwords\n<!-- bench:simulator --><!-- /bench:simulator -->\n";

    #[test]
    fn sections_are_named_first() {
        let check = |arguments: &[&str], sections: &[&str], rest: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            let (found, left) = wanted(&arguments);
            assert_eq!((found.as_slice(), left.join(" ")), (sections, rest.join(" ")), "{arguments:?}");
        };
        check(&[], &SECTIONS, &[]);
        check(&["--n", "100"], &SECTIONS, &["--n", "100"]);
        check(&["budget"], &["budget"], &[]);
        check(&["payload", "simulator", "--n", "budget"], &["payload", "simulator"], &["--n", "budget"]);
    }

    #[test]
    fn only_the_section_changes() {
        let once = replaced(PAGE_BEFORE, "core", "| new |\n").unwrap();
        let want = "# Title\n\n<!-- bench:core -->\n\n| new |\n\n<!-- /bench:core -->\nwords\n\
                    <!-- bench:simulator --><!-- /bench:simulator -->\n";
        assert_eq!(once, want);
        assert_eq!(replaced(&once, "core", "| new |").unwrap(), once, "again changes nothing");
        let both = replaced(&once, "simulator", "s").unwrap();
        assert!(
            both.ends_with("words\n<!-- bench:simulator -->\n\ns\n\n<!-- /bench:simulator -->\n"),
            "{both}"
        );
        assert!(both.contains("| new |"));
    }

    #[test]
    fn a_page_without_its_markers_is_refused() {
        for page in [
            "",
            "<!-- bench:core -->",
            "<!-- /bench:core --><!-- bench:core -->",
            "<!-- bench:core --><!-- bench:core --><!-- /bench:core -->",
            "<!-- bench:core --><!-- /bench:core --><!-- /bench:core -->",
            "<!-- bench:other --><!-- /bench:other -->",
        ] {
            let failure = replaced(page, "core", "x").unwrap_err().to_string();
            assert!(failure.contains("must have `<!-- bench:core -->`"), "{page}: {failure}");
        }
    }

    #[test]
    fn the_page_has_all_sections() {
        let page = fs::read_to_string(root().join(PAGE)).unwrap();
        for section in SECTIONS {
            assert!(replaced(&page, section, "x").is_ok(), "{section}");
        }
    }

    #[test]
    fn what_criterion_writes_is_read() {
        let benchmark = r#"{"group_id":"ota_data","function_id":"peek, head first","value_str":null,
            "throughput":{"Bytes":1555},"full_id":"ota_data/peek, head first","title":"ota_data/peek, head first"}"#;
        let estimates = r#"{"mean":{"point_estimate":205.19},"median":{"confidence_interval":
            {"confidence_level":0.95,"lower_bound":203.0,"upper_bound":204.6},"point_estimate":203.9,"standard_error":0.4}}"#;
        let case = Case::parse(benchmark, estimates).unwrap();
        assert_eq!(case, Case { name: "peek, head first".to_owned(), bytes: 1_555, median_ns: 203.9 });
        for (benchmark, estimates) in [
            ("", estimates),
            (benchmark, "{}"),
            (benchmark, r#"{"median":{"point_estimate":"fast"}}"#),
            (r#"{"function_id":"x","throughput":null}"#, estimates),
            (r#"{"throughput":{"Bytes":1}}"#, estimates),
        ] {
            assert_eq!(Case::parse(benchmark, estimates), None, "{benchmark} {estimates}");
        }
    }

    #[test]
    fn a_table_has_a_row_per_case_and_its_ratio() {
        let case = |name: &str, median_ns| Case { name: name.to_owned(), bytes: 1_000, median_ns };
        let rows = |cases: &[Case]| table(cases).lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            rows(&[case("a", 200.4), case(REFERENCE, 1_250.0), case("b", 2_500_000.0)]),
            [
                "| a | 1000 | 200 ns | 4.99 GB/s | 0.16 |",
                "| serde_json::Value | 1000 | 1.25 µs | 0.80 GB/s | 1.00 |",
                "| b | 1000 | 2.50 ms | 0.4 MB/s | 2000.00 |",
            ]
        );
        assert_eq!(rows(&[case("a", 500.0)]), ["| a | 1000 | 500 ns | 2.00 GB/s |"]);
    }

    #[test]
    fn the_machine_is_named_without_a_date() {
        assert_eq!(rustc_version("rustc 1.95.0 (59807616e 2026-04-14)\n"), "rustc 1.95.0");
        let cpuinfo = "processor\t: 0\nmodel name\t: A Chip: fast\nprocessor\t: 1\nmodel name\t: Another\n";
        assert_eq!(cpu_model(cpuinfo).as_deref(), Some("A Chip: fast"));
        assert_eq!(cpu_model("processor\t: 0\n"), None);
    }
}
