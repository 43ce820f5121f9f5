//! Small rows of the benchmark, kept: a change of their figures is a diff.
//!
//! To accept new figures: `UPDATE_SNAPSHOT=1 cargo test -p meshward-sim --test it bench`.

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
            cases.push(Case { n, topology, image: 16 * 1024, scheme, loss, channel: Channel::default() });
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
