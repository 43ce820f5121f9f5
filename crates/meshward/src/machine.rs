//! What `meshward node` tells of the machine that it runs on: how busy its process keeps a processor, how warm the
//! machine is, how strong its Wi-Fi. What the machine does not say is not told; a process has no heap that runs out as
//! a chip's does, so nothing is told of that.

use std::fs::read_to_string;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use meshward_core::telemetry::Metric;
use meshward_gateway::host::Sensors;

/// Ticks of `/proc/self/stat` in a second: fixed for programs on Linux, whatever the kernel counts in.
const TICKS: f64 = 100.0;

/// Processor time of this process so far, in seconds.
fn busy(stat: &str) -> Option<f64> {
    // The name in brackets may hold anything; the state follows it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let (user, system) = (fields.nth(11)?, fields.next()?);
    Some((user.parse::<f64>().ok()? + system.parse::<f64>().ok()?) / TICKS)
}

/// In tenths of a degree.
fn temperature(thousandths: &str) -> Option<i64> {
    Some(thousandths.trim().parse::<i64>().ok()? / 100)
}

/// Of the first Wi-Fi interface that has a connection, in dBm.
fn rssi(wireless: &str) -> Option<i64> {
    let line = wireless.lines().nth(2)?;
    let level = line.split_ascii_whitespace().nth(3)?.trim_end_matches('.').parse().ok()?;
    (-127..0).contains(&level).then_some(level)
}

/// See the module's page.
pub(crate) fn sensors() -> Sensors {
    let before: Mutex<Option<(Instant, f64)>> = Mutex::new(None);
    Sensors::new(move || {
        let read = |path| read_to_string(path).ok();
        let mut told = Vec::new();
        if let Some(busy) = read("/proc/self/stat").as_deref().and_then(busy) {
            let (now, mut before) = (Instant::now(), before.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some((then, was)) = before.replace((now, busy)) {
                let percent = 100.0 * (busy - was) / now.duration_since(then).as_secs_f64().max(0.1);
                told.push((Metric::Cpu, (percent.round() as i64).clamp(0, 100)));
            }
        }
        let temperature = read("/sys/class/thermal/thermal_zone0/temp").as_deref().and_then(temperature);
        told.extend(temperature.map(|value| (Metric::ChipTemperature, value)));
        let rssi = read("/proc/net/wireless").as_deref().and_then(rssi);
        told.extend(rssi.map(|value| (Metric::Rssi, value)));
        told
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 500 0 0 0 150 50 0 0 20 0 3 0 100 1000 200";
        assert_eq!(busy(stat), Some(2.0));
        assert_eq!(busy("42 (cut off"), None);
        assert_eq!((temperature("47250\n"), temperature("hot")), (Some(472), None));
        let heads = "Inter-| sta\n face | tus\n";
        let wlan = " wlan0: 0000   54.  -56.  -256        0      0      0      0      0        0\n";
        assert_eq!(rssi(&format!("{heads}{wlan}")), Some(-56));
        assert_eq!(rssi(heads), None);
    }
}
