//! A short version of `meshward sim powercut`.

use meshward_sim::powercut::{Effort, Kind, run};

const SHORT: Effort = Effort { stride: 3, pairs: Some(60), flips: 10, trusting: false };

#[test]
fn no_power_cut_costs_more_than_a_chunk() {
    for kind in Kind::ALL {
        let report = run(kind, 16 * 1024, SHORT);
        assert!(report.is_sound(), "{}: {report:#?}", kind.name());
    }
}

#[test]
fn a_boot_loader_that_looks_at_nothing_is_found() {
    let report = run(Kind::Lzma, 16 * 1024, Effort { trusting: true, flips: 60, ..SHORT });
    assert!(report.wrong_images > 0 && !report.is_sound(), "{report:#?}");
    assert!(report.failures.iter().any(|failure| failure.ends_with("Wrong")), "{report:#?}");
}
