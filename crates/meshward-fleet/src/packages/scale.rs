//! Numbers that come in more than one scale: the Wi-Fi byte, and the quality of a link.

use meshward_core::telemetry::Metric;
use meshward_core::wire::status::decimal;

use crate::reading::Doubt;

/// The weakest signal that anybody hears, as a magnitude in dBm; also where percentages end.
const DBM_MAX: i64 = 100;

/// What the field `wifi` of types 202 and 604 likely is. It is a byte without a sign, so sketches put a percentage,
/// the strength without its sign, or a strength that has wrapped (191 is -65 dBm, as the library's own guide would
/// have it with `WiFi.RSSI()`). `rssi` is what the node said elsewhere, in dBm. 0 is a field that nobody has set.
pub(super) fn wifi(byte: i64, rssi: Option<f64>) -> Option<(Metric, f64, Option<Doubt>)> {
    let guessed = Some(Doubt::Guessed);
    match byte {
        -128..0 => Some((Metric::Rssi, byte as f64, guessed)),
        0 => None,
        1..=DBM_MAX => Some(match rssi {
            Some(rssi) if is_magnitude(byte as f64, rssi) => (Metric::Rssi, -byte as f64, guessed),
            _ => (Metric::WifiQuality, byte as f64, guessed),
        }),
        101..=127 => Some((Metric::Rssi, -byte as f64, guessed)),
        128..=255 => Some((Metric::Rssi, (byte - 256) as f64, guessed)),
        _ => Some((Metric::WifiQuality, byte as f64, Some(Doubt::Absurd))),
    }
}

/// Whether a byte is nearer to a known strength without its sign than to that strength as a percentage, which
/// firmware usually makes of it by 2 · (dBm + 100).
fn is_magnitude(byte: f64, rssi: f64) -> bool {
    let percent = (2.0 * (rssi + 100.0)).clamp(0.0, 100.0);
    (byte + rssi).abs() < (byte - percent).abs()
}

/// A real as it was written: it comes as the float that a C++ node makes of it, 41.2 as 41.20000076.
pub(super) fn as_written(real: f64) -> f64 {
    if real.fract() == 0.0 || !real.is_finite() { real } else { decimal(real).parse().unwrap_or(real) }
}

/// By what the qualities of one package are divided to be from 0 to 1, and what is doubtful about that. Type 601
/// has 0 to 1; tests and documents of the same library have 0 to 100. One package has one scale.
pub(super) fn quality_scale(qualities: impl Iterator<Item = f64>) -> (f64, Option<Doubt>) {
    let best = qualities.fold(0.0, f64::max);
    if best > 1.0 && best <= 100.0 { (100.0, Some(Doubt::Guessed)) } else { (1.0, None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wifi_byte_is_read_by_its_range() {
        use Metric::{Rssi, WifiQuality};
        for (byte, rssi, want) in [
            (0, None, None),
            (1, None, Some((WifiQuality, 1.0))),
            (75, None, Some((WifiQuality, 75.0))),
            (100, None, Some((WifiQuality, 100.0))),
            (101, None, Some((Rssi, -101.0))),
            (127, None, Some((Rssi, -127.0))),
            (128, None, Some((Rssi, -128.0))),
            (191, None, Some((Rssi, -65.0))),
            (255, None, Some((Rssi, -1.0))),
            (-65, None, Some((Rssi, -65.0))),
            // What the node says elsewhere decides between a percentage and a magnitude.
            (52, Some(-50.0), Some((Rssi, -52.0))),
            (98, Some(-50.0), Some((WifiQuality, 98.0))),
            (40, Some(-80.0), Some((WifiQuality, 40.0))),
            (82, Some(-80.0), Some((Rssi, -82.0))),
        ] {
            let found = wifi(byte, rssi);
            assert_eq!(found.map(|(metric, value, _)| (metric, value)), want, "{byte}, {rssi:?}");
            assert!(found.is_none_or(|(_, _, doubt)| doubt == Some(Doubt::Guessed)));
        }
        assert_eq!(wifi(300, None).unwrap().2, Some(Doubt::Absurd));
    }

    #[test]
    fn one_package_has_one_scale() {
        for (qualities, want) in [
            (&[0.95, 0.3][..], (1.0, None)),
            (&[1.0], (1.0, None)),
            (&[1.0, 95.0], (100.0, Some(Doubt::Guessed))),
            (&[0.0], (1.0, None)),
            (&[500.0, 3.0], (1.0, None)),
            (&[], (1.0, None)),
        ] {
            assert_eq!(quality_scale(qualities.iter().copied()), want, "{qualities:?}");
        }
    }
}
