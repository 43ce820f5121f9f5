//! One gateway per database: a row that says who uses it, and until when unless he says so again.
//!
//! A gateway takes the lease at its start, renews it every few seconds and stops when it cannot. One that was
//! killed leaves its lease behind; who finds it there on the same machine, and the process gone, need not wait.

use jiff::Timestamp;

use super::value::values;
use super::{Store, StoreError};

/// How long a lease lasts unless it is renewed.
pub const LEASE_SECONDS: i64 = 15;

/// Who uses a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Tells this process from all others, now and later.
    pub id: String,
    /// The same for people.
    pub words: String,
}

impl Holder {
    /// This process.
    pub fn this_process() -> Self {
        let pid = std::process::id();
        let host = read("/proc/sys/kernel/hostname");
        let host = if host.is_empty() { "an unknown machine" } else { host.as_str() };
        Self {
            id: format!("{}/{pid}/{}", place(), started(pid).unwrap_or_default()),
            words: format!("process {pid} on {host}"),
        }
    }

    /// Whether the process of an id is certainly not there any more: it was on this machine, since this start
    /// of it, in this container, and nobody has its number, or somebody who started at another time.
    fn is_gone(id: &str) -> bool {
        let mut parts = id.rsplitn(3, '/');
        let (Some(start), Some(pid), Some(there)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let Ok(pid) = pid.parse::<u32>() else { return false };
        there == place() && started(pid).is_none_or(|found| found != start)
    }
}

impl Store {
    /// Takes the lease, or renews it.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another gateway has it; another when the database cannot be written.
    pub async fn take_lease(&self, holder: &Holder, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.database.begin("take the lease of the database").await?;
        let expires = now.as_millisecond() + LEASE_SECONDS * 1000;
        // Of two that begin at once the first to write wins, and the other reads what it wrote.
        let sql = "INSERT INTO lease (name, id, holder, expires) VALUES ('gateway', $1, $2, $3) \
                   ON CONFLICT (name) DO UPDATE SET id = excluded.id, holder = excluded.holder, \
                   expires = excluded.expires WHERE lease.id = excluded.id OR lease.expires <= $4";
        let row = values![holder.id.clone(), holder.words.clone(), expires, now];
        if transaction.write(sql, row).await? == 0 {
            let sql = "SELECT id, holder, expires FROM lease WHERE name = 'gateway'";
            if let Some(mut row) = transaction.read_one(sql, Vec::new()).await? {
                let (id, words, until) = (row.text()?, row.text()?, row.time()?);
                if !Holder::is_gone(&id) {
                    return Err(StoreError::Held { holder: words, until });
                }
                let sql = "UPDATE lease SET id = $1, holder = $2, expires = $3 \
                           WHERE name = 'gateway' AND id = $4";
                let row = values![holder.id.clone(), holder.words.clone(), expires, id];
                transaction.write(sql, row).await?;
            }
        }
        transaction.commit().await
    }

    /// Gives the lease back, if it is still this holder's.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then the lease ends by itself.
    pub async fn release_lease(&self, holder: &Holder) -> Result<(), StoreError> {
        let sql = "DELETE FROM lease WHERE name = 'gateway' AND id = $1";
        self.database.write("give the lease back", sql, values![holder.id.clone()]).await.map(drop)
    }
}

/// This start of this machine, and the container within it: process numbers mean something only there.
fn place() -> String {
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", read("/proc/sys/kernel/random/boot_id"), namespace.display())
}

/// When a process started, in ticks since the machine did (field 22 of `/proc/PID/stat`).
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in brackets and may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    // One that has ended and that nobody has asked for its end does nothing any more.
    fields.next().filter(|state| *state != "Z")?;
    fields.nth(18).map(str::to_owned)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_is_known_to_be_gone() {
        let own = Holder::this_process().id;
        assert!(!Holder::is_gone(&own), "{own}");
        let (rest, start) = own.rsplit_once('/').unwrap();
        assert!(Holder::is_gone(&format!("{rest}/{start}1")), "another process has the number");
        assert!(Holder::is_gone(&format!("{}/4294967295/7", place())), "nobody has the number");
        for elsewhere in
            [format!("another{own}"), "host/4294967295/7".to_owned(), "x".to_owned(), String::new()]
        {
            assert!(!Holder::is_gone(&elsewhere), "{elsewhere}");
        }
    }
}
