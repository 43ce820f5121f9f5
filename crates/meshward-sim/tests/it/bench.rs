//! Small rows of the benchmark, kept: a change of their figures is a diff.
//!
//! To accept new figures: `UPDATE_SNAPSHOT=1 cargo test -p meshward-sim --test it bench`.

use meshward_core::time::Duration;
use meshward_sim::bench::speed::{self, Course, Lap, Load, Timed};
use meshward_sim::bench::{Case, Scheme, markdown, row, run_one, standard_cases};
use meshward_sim::topology::Topology;
use meshward_sim::world::Channel;

const SEEDS: u64 = 3;

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, topology, loss) in [
        (10, Topology::Random(4), 0),
        (10, Topology::Random(4), 5),
        (6, Topology::Chain, 0),
        (10, Topology::Star, 0),
    ] {
        for scheme in Scheme::ALL {
            cases.push(Case {
                n,
                topology,
                image: 16 * 1024,
                scheme,
                loss,
                channel: Channel::default(),
                airtime: 100,
            });
        }
    }
    cases
}

#[test]
fn small_rows_are_as_they_were() {
    let path = format!("{}/tests/it/bench.ndjson", env!("CARGO_MANIFEST_DIR"));
    let rows: Vec<_> = cases()
        .iter()
        .map(|case| row(case, &(0..SEEDS).map(|seed| run_one(case, seed)).collect::<Vec<_>>()))
        .collect();
    let now: String = rows.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect();
    if std::env::var_os("UPDATE_SNAPSHOT").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(now == before, "rows have changed; see the top of this file\n{}", markdown(&rows));
}

#[test]
fn a_row_has_the_fields_that_are_promised() {
    let case = Case {
        n: 3,
        topology: Topology::Star,
        image: 2_000,
        scheme: Scheme::MeshwardUnicast,
        loss: 0,
        channel: Channel::default(),
        airtime: 100,
    };
    let row = row(&case, &[run_one(&case, 1)]);
    assert_eq!((row.completed, row.of, row.mean_depth), (3, 3, 1.0));
    let object = serde_json::to_value(&row).unwrap();
    for field in [
        "n",
        "topology",
        "mean_depth",
        "image",
        "scheme",
        "loss",
        "seeds",
        "seconds_mean",
        "seconds_sd",
        "channel_busy",
        "link_bytes",
        "control_bytes",
        "bound_ratio",
        "completed",
        "of",
    ] {
        assert!(!object[field].is_null(), "{field}");
    }
    assert!(markdown(&[row]).lines().last().unwrap().ends_with("| 3 of 3 |"));
    assert!(standard_cases(false).len() > 50);
    assert!(standard_cases(true).iter().any(|case| case.n == 500));
}

#[test]
fn laps_of_one_course_and_seed_are_the_same_and_a_table_says_what_was_kept() {
    for load in [Load::Idle, Load::Update(4_096)] {
        let course = Course { n: 4, load, free_sync: true };
        let lap = course.ready(1).run();
        assert_eq!(lap, course.ready(1).run());
        assert_ne!(lap.trace_hash, course.ready(2).run().trace_hash);
        assert!(lap.steps > 100 && lap.span > Duration::from_secs(4), "{lap:?}");
        assert_eq!(lap.updated, (load != Load::Idle).then_some(4));
    }
    let row = |n, load, updated, seconds| {
        let lap = Lap { span: Duration::from_secs(6_000), steps: 1, trace_hash: 0, updated };
        let timed = Timed { lap, processor_seconds: seconds, elapsed_seconds: 2.0 * seconds };
        Course { n, load, free_sync: false }.row(&[timed], Some(5_000_000))
    };
    let table = |row| speed::markdown(&[row]).lines().last().unwrap().to_owned();
    let idle = "| 100 | idle | count | – | 6000 s | 0.25 s | 24000 (24000 to 24000) | ≥ 20000: kept | 5 MB |";
    assert_eq!(table(row(100, Load::Idle, None, 0.25)), idle);
    assert!(table(row(100, Load::Idle, None, 1.0)).contains("| ≥ 20000: missed |"));
    assert!(
        table(row(500, Load::Update(9), Some(500), 10.0)).contains("| 500 of 500 | 6000 s | 10.00 s | 600 ")
    );
    assert!(table(row(500, Load::Update(9), Some(499), 10.0)).contains(": kept, but not all were updated |"));
    assert!(table(row(7, Load::Idle, None, 1.0)).contains("| – | 5 MB |"));
}
