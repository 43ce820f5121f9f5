//! A short version of `meshward sim powercut`.

use meshward_sim::powercut::{Effort, Kind, Subject, run};

const SHORT: Effort = Effort { stride: 3, pairs: Some(60), flips: 10, trusting: false };

#[test]
fn no_power_cut_costs_more_than_a_chunk() {
    for kind in Kind::ALL {
        let report = run((kind, Subject::Made(16 * 1024), SHORT));
        assert!(report.is_sound(), "{}: {report:#?}", kind.name());
    }
}

#[test]
fn nor_does_one_with_a_real_image() {
    let effort = Effort { stride: 700, pairs: Some(4), flips: 1, trusting: false };
    let report = run((Kind::Delta, Subject::Real, effort));
    assert!(report.is_sound() && report.cuts > 60, "{report:#?}");
    assert_eq!(report.image, 528_944);
}

#[test]
fn a_boot_loader_that_looks_at_nothing_is_found() {
    let report = run((Kind::Lzma, Subject::Made(16 * 1024), Effort { trusting: true, flips: 60, ..SHORT }));
    assert!(report.wrong_images > 0 && !report.is_sound(), "{report:#?}");
    assert!(report.failures.iter().any(|failure| failure.ends_with("Wrong")), "{report:#?}");
}
