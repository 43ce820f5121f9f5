//! `cargo xtask test`: everything that must hold before a change is good, in stages.
//!
//! Cheap stages come first, and all share one profile and one set of packages, so that each dependency is
//! checked once (lints and docs), built once (build and tests), and built once more for the device. The
//! first failing stage ends the run and says how to repeat it. Continuous integration runs just this.

use std::time::{Duration, Instant};

use crate::command::{Failure, Line};
use crate::{budget, no_arguments, program, system, tidy, toolchain, web};

/// One thing that must hold.
struct Stage {
    name: &'static str,
    what: &'static str,
    work: Work,
}

enum Work {
    /// The check that the toolchain is complete.
    Toolchain,
    /// The check that the programs are there that tests start.
    System,
    /// Commands that must succeed.
    Run(Vec<Line>),
    /// The core's memory on the device.
    Budget,
    /// The dashboard, built and tested by itself.
    Web,
    /// The dashboard in a browser, before the program that carries it.
    Browser,
}

impl Stage {
    fn new(name: &'static str, what: &'static str, line: Line) -> Self {
        Self { name, what, work: Work::Run(vec![line]) }
    }

    /// The command that repeats this stage alone.
    fn repeat(&self) -> String {
        match &self.work {
            Work::Toolchain | Work::System => "cargo xtask test".to_owned(),
            Work::Run(lines) => joined(lines),
            Work::Budget => "cargo xtask budget".to_owned(),
            Work::Web => format!("cargo xtask web && {}", joined(&web_lines())),
            Work::Browser => {
                format!("cargo xtask web && cargo build && {}", browser("target/debug/meshward"))
            }
        }
    }

    fn run(&self) -> Result<(), Failure> {
        let outcome = match &self.work {
            Work::Toolchain => toolchain::ready(),
            Work::System => system::ready(&system::ALL),
            Work::Run(lines) => lines.iter().try_for_each(|line| line.run().map(drop)),
            Work::Budget => budget::check(),
            Work::Web => {
                web::build().and_then(|()| web_lines().iter().try_for_each(|line| line.run().map(drop)))
            }
            Work::Browser => {
                program::built().and_then(|program| browser(&program.to_string()).run().map(drop))
            }
        };
        outcome.map_err(|cause| Failure::Stage {
            name: self.name,
            repeat: self.repeat(),
            cause: Box::new(cause),
        })
    }
}

/// What must hold of a dashboard that was built.
fn web_lines() -> [Line; 2] {
    [web::npm(&["test"]), web::npm(&["run", "size"])]
}

/// The tests in a browser, with this program.
fn browser(program: &str) -> Line {
    web::npm(&["run", "browser"]).env("MESHWARD", program)
}

/// Commands one after the other, as a shell takes them.
fn joined(lines: &[Line]) -> String {
    let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
    lines.join(" && ")
}

/// All stages, in order.
fn stages() -> Vec<Stage> {
    let core = ["build", "--package", "meshward-core", "--target", toolchain::DEVICE_TARGET];
    vec![
        Stage { name: "toolchain", what: "compiler, device target, components", work: Work::Toolchain },
        Stage { name: "system", what: "programs that tests start", work: Work::System },
        Stage {
            name: "format",
            what: "rustfmt has nothing to change",
            work: Work::Run(tidy::format(&["--check"])),
        },
        // Before anything that compiles the gateway, which carries it.
        Stage { name: "web", what: "the dashboard: build, types, unit tests, sizes", work: Work::Web },
        // `--workspace` selects the features that the later stages select, so nothing is compiled twice.
        Stage::new(
            "architecture",
            "crates, modules, purity, sizes, licences, hygiene",
            Line::cargo(&["test", "--workspace", "--test", "architecture"]),
        ),
        Stage {
            name: "lint",
            what: "clippy has nothing to say, of memory budget and fuzz targets too",
            work: Work::Run(tidy::clippy()),
        },
        Stage::new(
            "docs",
            "the documentation builds without a warning",
            Line::cargo(&["doc", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-D warnings"),
        ),
        Stage::new("device", "the core builds for the ESP32-C3's instruction set", Line::cargo(&core)),
        Stage { name: "budget", what: "the core's memory there is within its budgets", work: Work::Budget },
        Stage::new("build", "programs and tests", Line::cargo(&["test", "--workspace", "--no-run"])),
        Stage::new(
            "tests",
            "unit, integration, transcripts, examples",
            Line::cargo(&["test", "--workspace"]),
        ),
        Stage { name: "browser", what: "the dashboard in Chromium, before the demo", work: Work::Browser },
    ]
}

/// Runs all stages and prints the table of seconds, also when one fails.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("test", arguments)?;
    let mut times = Vec::new();
    let outcome = run_in_order(&stages(), &mut times);
    println!("\n{}", table(&times));
    outcome
}

fn run_in_order(stages: &[Stage], times: &mut Vec<(&'static str, Duration)>) -> Result<(), Failure> {
    for (index, stage) in stages.iter().enumerate() {
        println!("\n== {}/{} {}: {}", index + 1, stages.len(), stage.name, stage.what);
        if let Work::Run(lines) = &stage.work {
            lines.iter().for_each(|line| println!("== $ {line}"));
        }
        let started = Instant::now();
        let outcome = stage.run();
        times.push((stage.name, started.elapsed()));
        outcome?;
    }
    Ok(())
}

/// Seconds per stage, and their sum.
fn table(times: &[(&'static str, Duration)]) -> String {
    let total: Duration = times.iter().map(|&(_, took)| took).sum();
    let rows = times.iter().copied().chain([("total", total)]);
    rows.map(|(name, took)| format!("{name:<14}{:>8.1} s\n", took.as_secs_f64())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_ends_the_run_and_says_how_to_repeat_it() {
        let stages = [
            Stage::new("good", "", Line::cargo(&["--version"])),
            Stage::new("bad", "", Line::new("no-such-program-anywhere", &["with space"])),
            Stage::new("never", "", Line::cargo(&["--version"])),
        ];
        let mut times = Vec::new();
        let failure = run_in_order(&stages, &mut times).unwrap_err();
        assert_eq!(times.iter().map(|t| t.0).collect::<Vec<_>>(), ["good", "bad"]);
        let text = failure.to_string();
        assert!(text.starts_with("stage \"bad\" failed: "), "{text}");
        assert!(text.ends_with("to repeat it alone: no-such-program-anywhere 'with space'"), "{text}");
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn the_table_has_a_row_per_stage_and_a_sum() {
        let times = [("format", Duration::from_millis(1_250)), ("tests", Duration::from_secs(61))];
        assert_eq!(
            table(&times),
            "format             1.2 s\ntests             61.0 s\ntotal             62.2 s\n"
        );
    }

    #[test]
    fn stages_have_distinct_names() {
        let mut names: Vec<_> = stages().iter().map(|stage| stage.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), stages().len());
    }
}
