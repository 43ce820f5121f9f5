//! What the system says of this process: read from `/proc` when somebody asks; what is not there is left out.

use std::fs;

/// Ticks of `/proc/self/stat` in a second: `USER_HZ`, which is 100 on every Linux that programs see.
const TICKS_PER_S: f64 = 100.0;

/// See the module's page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<f64>,
    pub(crate) virtual_bytes: Option<f64>,
    pub(crate) started_seconds: Option<f64>,
    pub(crate) open_files: Option<f64>,
    pub(crate) files_max: Option<f64>,
}

impl Process {
    pub(crate) fn read() -> Self {
        let file = |name: &str| fs::read_to_string(name).unwrap_or_default();
        let mut process = Self::parse(
            &file("/proc/self/stat"),
            &file("/proc/self/status"),
            &file("/proc/self/limits"),
            &file("/proc/stat"),
        );
        process.open_files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
        process
    }

    fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Self {
        // The second field is a name in brackets, which may hold blanks.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<f64>().ok();
        let line = |text: &str, name: &str, at: usize| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_whitespace().nth(at)?.parse::<f64>().ok()
        };
        let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
        let booted = line(system, "btime ", 0);
        Self {
            cpu_seconds: ticks.map(|ticks| ticks / TICKS_PER_S),
            resident_bytes: line(status, "VmRSS:", 0).map(|kb| kb * 1_024.0),
            virtual_bytes: line(status, "VmSize:", 0).map(|kb| kb * 1_024.0),
            started_seconds: booted.zip(field(22)).map(|(booted, ticks)| booted + ticks / TICKS_PER_S),
            open_files: None,
            files_max: line(limits, "Max open files", 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read_as_it_writes() {
        let stat = "4242 (mesh (ward) x) S 1 1 1 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 4 0 12345 99 7 1";
        let status = "Name:\tmeshward\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 524288               files\n";
        let read = Process::parse(stat, status, limits, "cpu 1 2\nbtime 1700000000\n");
        assert_eq!(read.cpu_seconds, Some(2.0));
        assert_eq!((read.resident_bytes, read.virtual_bytes), (Some(1_048_576.0), Some(2_097_152.0)));
        assert_eq!((read.started_seconds, read.files_max), (Some(1_700_000_123.45), Some(1_024.0)));
        assert_eq!(
            Process::parse("", "VmRSS: many", "Max open files unlimited", "btime"),
            Process::default()
        );
    }
}
