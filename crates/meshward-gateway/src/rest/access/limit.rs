//! How often somebody may ask: token buckets for requests, growing delays for log-ins that fail.
//!
//! Pure: time is an argument, and a clock that was set back counts as one that stands still. Both tables are bounded;
//! when one is full, the entry that matters least makes room and is counted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use jiff::Timestamp;

/// Most keys that a table remembers.
pub const KEYS_MAX: usize = 4_096;
/// Failed log-ins that cost nothing.
pub const FREE_FAILURES: u32 = 3;
/// The longest that somebody has to wait after a failed log-in.
pub const DELAY_MAX: Duration = Duration::from_secs(300);
/// After so long without a failure nobody remembers.
pub const FORGET: Duration = Duration::from_secs(3_600);

/// How fast a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub per_second: f64,
    /// Requests at once after a rest.
    pub burst: f64,
}

/// Where somebody comes from, as far as limits go: an IPv4 address, or the /64 that a site has of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(IpAddr);

impl Origin {
    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & !u128::from(u64::MAX))),
            short => short,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Timestamp,
}

/// A bucket for each key.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    buckets: BTreeMap<K, Bucket>,
    forgotten: u64,
}

impl<K: Ord + Clone> Buckets<K> {
    /// All of one rate.
    pub const fn new(rate: Rate) -> Self {
        Self { rate, buckets: BTreeMap::new(), forgotten: 0 }
    }

    /// Takes one from the bucket of `key`.
    ///
    /// # Errors
    /// How long until there is one again.
    pub fn take(&mut self, now: Timestamp, key: &K) -> Result<(), Duration> {
        if !self.buckets.contains_key(key) {
            self.make_room(now);
        }
        let Rate { per_second, burst } = self.rate;
        let bucket = self.buckets.entry(key.clone()).or_insert(Bucket { level: burst, at: now });
        bucket.level = level(bucket, now, self.rate);
        bucket.at = now;
        if bucket.level < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.level) / per_second));
        }
        bucket.level -= 1.0;
        Ok(())
    }

    /// Keys whose bucket was forgotten before it was full.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets the full buckets, and, if that is not enough, the fullest.
    fn make_room(&mut self, now: Timestamp) {
        if self.buckets.len() < KEYS_MAX {
            return;
        }
        let rate = self.rate;
        self.buckets.retain(|_, bucket| level(bucket, now, rate) < rate.burst);
        if self.buckets.len() < KEYS_MAX {
            return;
        }
        let levels = self.buckets.iter().map(|(key, bucket)| (level(bucket, now, rate), key));
        let fullest = levels.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, key)| key.clone());
        if let Some(key) = fullest {
            self.buckets.remove(&key);
            self.forgotten += 1;
        }
    }
}

fn level(bucket: &Bucket, now: Timestamp, rate: Rate) -> f64 {
    rate.per_second.mul_add(since(bucket.at, now).as_secs_f64(), bucket.level).min(rate.burst)
}

/// How long after `then` it is; not at all when the clock was set back.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    at: Timestamp,
}

/// Failed log-ins of each key. After the first few, each doubles the time that the next try has to wait.
#[derive(Debug)]
pub struct Delays<K> {
    free: u32,
    failures: BTreeMap<K, Failures>,
    forgotten: u64,
}

impl<K: Ord + Clone> Delays<K> {
    /// The first `free` failures cost nothing.
    pub const fn new(free: u32) -> Self {
        Self { free, failures: BTreeMap::new(), forgotten: 0 }
    }

    /// Whether `key` may try now.
    ///
    /// # Errors
    /// How long it has to wait. A try before that is not looked at, and does not make it longer.
    pub fn check(&self, now: Timestamp, key: &K) -> Result<(), Duration> {
        let Some(failures) = self.failures.get(key) else { return Ok(()) };
        let left = self.delay(failures.count).saturating_sub(since(failures.at, now));
        if left.is_zero() { Ok(()) } else { Err(left) }
    }

    /// A try failed.
    pub fn failed(&mut self, now: Timestamp, key: &K) {
        if !self.failures.contains_key(key) {
            self.make_room(now);
        }
        let failures = self.failures.entry(key.clone()).or_insert(Failures { count: 0, at: now });
        if since(failures.at, now) > FORGET {
            failures.count = 0;
        }
        *failures = Failures { count: failures.count.saturating_add(1), at: now };
    }

    /// A try succeeded: what was before is forgotten.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Keys that were forgotten before their time.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn delay(&self, count: u32) -> Duration {
        match count.checked_sub(self.free) {
            None | Some(0) => Duration::ZERO,
            Some(costly) => Duration::from_secs(1 << (costly - 1).min(16)).min(DELAY_MAX),
        }
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.failures.len() < KEYS_MAX {
            return;
        }
        self.failures.retain(|_, failures| since(failures.at, now) <= FORGET);
        if self.failures.len() < KEYS_MAX {
            return;
        }
        let least = self.failures.iter().min_by_key(|(_, failures)| (failures.count, failures.at));
        if let Some(key) = least.map(|(key, _)| key.clone()) {
            self.failures.remove(&key);
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut buckets = Buckets::new(Rate { per_second: 2.0, burst: 3.0 });
        for (when, key, wait) in [
            (0, "a", None),
            (0, "a", None),
            (0, "a", None),
            (0, "a", Some(500)),
            (0, "b", None),
            (250, "a", Some(250)),
            (500, "a", None),
            (500, "a", Some(500)),
            // A clock that is set back fills no bucket, and does not lock anybody out.
            (-3_600_000, "a", Some(500)),
            (-3_599_000, "a", None),
            (60_000, "a", None),
        ] {
            let taken = buckets.take(at(when), &key).map_err(|wait| wait.as_millis());
            assert_eq!(taken.err(), wait, "{key} at {when}");
        }
    }

    #[test]
    fn a_full_table_forgets_who_asked_least() {
        let mut buckets = Buckets::new(Rate { per_second: 1.0, burst: 2.0 });
        assert!(buckets.take(at(0), &0).is_ok() && buckets.take(at(0), &0).is_ok());
        for key in 1..KEYS_MAX + 64 {
            assert!(buckets.take(at(0), &key).is_ok());
        }
        assert_eq!((buckets.buckets.len(), buckets.forgotten()), (KEYS_MAX, 64));
        assert!(buckets.take(at(0), &0).is_err(), "whoever asks much is remembered");
        assert!(buckets.take(at(60_000), &usize::MAX).is_ok());
        assert_eq!(buckets.buckets.len(), 1, "full buckets need not be remembered");
    }

    #[test]
    fn failures_cost_more_each_time() {
        let mut delays = Delays::new(FREE_FAILURES);
        let mut now = 0;
        for seconds in [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            delays.failed(at(now), &"a");
            let wait = delays.check(at(now), &"a").err().unwrap_or_default();
            assert_eq!(wait.as_secs(), seconds);
            assert!(delays.check(at(now), &"b").is_ok());
            now += 1_000 * i64::try_from(seconds).unwrap();
            assert!(delays.check(at(now), &"a").is_ok(), "after {seconds} s");
        }
        // It is forgotten in time, and by success at once.
        let late = at(now + 3_601_000);
        delays.failed(late, &"a");
        assert!(delays.check(late, &"a").is_ok());
        (0..5).for_each(|_| delays.failed(late, &"a"));
        assert!(delays.check(late, &"a").is_err());
        delays.succeeded(&"a");
        assert!(delays.check(late, &"a").is_ok());
    }

    #[test]
    fn a_full_table_remembers_whoever_failed_most() {
        let mut delays = Delays::new(0);
        (0..3).for_each(|_| delays.failed(at(0), &0));
        (1..=KEYS_MAX).for_each(|key| delays.failed(at(1), &key));
        assert_eq!((delays.failures.len(), delays.forgotten()), (KEYS_MAX, 1));
        assert!(delays.check(at(1), &0).is_err());
    }

    #[test]
    fn a_site_of_ipv6_is_one_origin() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
    }
}
