//! By how much a counter rose between two values: a restart, a wrap and a step back are three things.

/// What happened between two values of a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// It rose by that much.
    Rise(f64),
    /// It rose by that much, over the end of 16 or 32 bits.
    Wrap(f64),
    /// The node restarted and counted that many since: at least so many, over an unknown part of the time.
    Reset(f64),
    /// It is less than before, and nobody knows why.
    Unclear,
}

/// Where counters of C++ nodes wrap: `pktsDrop` of type 204 is a `uint16_t`, the others are `uint32_t`.
const WIDTHS: [f64; 2] = [65_536.0, 4_294_967_296.0];

/// The step from `before` to `after`. `restarted` is what the uptime says of the time between; `None` where no
/// uptime came.
pub fn step(before: f64, after: f64, restarted: Option<bool>) -> Step {
    match restarted {
        Some(true) => Step::Reset(after),
        _ if after >= before => Step::Rise(after - before),
        None => Step::Unclear,
        Some(false) => wrap(before, after).map_or(Step::Unclear, Step::Wrap),
    }
}

/// A wrap is believed when it is the shorter way: from the upper half to the lower one, by less than half.
fn wrap(before: f64, after: f64) -> Option<f64> {
    let shorter = |width: &f64| {
        before < *width && before > width / 2.0 && after < width / 2.0 && width - before + after < width / 2.0
    };
    WIDTHS.iter().find(|width| shorter(width)).map(|width| width - before + after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wraps_and_steps_back_are_told_apart() {
        for (before, after, restarted, expected) in [
            (10.0, 25.0, Some(false), Step::Rise(15.0)),
            (10.0, 25.0, None, Step::Rise(15.0)),
            // More than before, and yet from zero.
            (10.0, 25.0, Some(true), Step::Reset(25.0)),
            (65_000.0, 100.0, Some(false), Step::Wrap(636.0)),
            (65_000.0, 100.0, Some(true), Step::Reset(100.0)),
            (65_000.0, 100.0, None, Step::Unclear),
            (4_294_967_290.0, 4.0, Some(false), Step::Wrap(10.0)),
            (70_000.0, 100.0, Some(false), Step::Unclear),
            (500.0, 100.0, Some(false), Step::Unclear),
        ] {
            assert_eq!(step(before, after, restarted), expected, "{before} to {after}, {restarted:?}");
        }
    }
}
