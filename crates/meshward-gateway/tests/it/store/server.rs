//! A PostgreSQL server of our own: made in a temporary folder, listening on a socket there and nowhere else,
//! as a user without privileges; started once per test program.
//!
//! A shell watches over it and holds one end of a pipe. When this program ends, in whatever way, the pipe
//! closes, and the shell stops the server and removes the folder.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

/// `$1` is the folder of the server's programs. Prints where the server listens, once it does; or what went
/// wrong. Durability is off: nothing here outlives the tests.
const WATCH: &str = r#"
dir=$(mktemp -d /tmp/meshward-postgres.XXXXXX) || exit 1
cd "$dir" || exit 1
stop() { [ -n "$pid" ] && kill -INT "$pid" 2>/dev/null && wait "$pid"; rm -rf "$dir"; }
"$1/initdb" -D "$dir/data" -U meshward -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || {
    echo "initdb: $(tail -n 3 "$dir/log" | tr '\n' ' ')"; stop; exit 1; }
"$1/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off -c synchronous_commit=off \
    -c full_page_writes=off -c max_connections=200 >"$dir/log" 2>&1 </dev/null &
pid=$!
until "$1/pg_isready" -q -h "$dir"; do
    kill -0 "$pid" 2>/dev/null || { echo "postgres: $(tail -n 3 "$dir/log" | tr '\n' ' ')"; stop; exit 1; }
    sleep 0.05
done
echo "listens $dir $pid"
exec >/dev/null
cat >/dev/null
stop
"#;

/// The server that this program has started.
#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    /// The process that everything of the server belongs to.
    #[allow(dead_code, reason = "the benchmark reads its processor time, the tests do not")]
    pub(crate) process: u32,
    databases: AtomicU32,
}

impl Server {
    /// It, started when first asked for.
    pub(crate) fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    #[allow(clippy::zombie_processes, reason = "it ends after this program, which is what it is for")]
    fn start() -> Self {
        let programs = programs();
        let mut command = match unprivileged() {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--", "sh"]);
                command
            }
            None => Command::new("sh"),
        };
        let mut watch = command
            .args(["-c", WATCH, "watch"])
            .arg(&programs)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`sh`, and `runuser` for root, can be started");
        // Never closed by us: the system does that when this program ends.
        std::mem::forget(watch.stdin.take());
        let mut line = String::new();
        let stdout = watch.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the shell speaks text");
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["listens", folder, process] = words[..] else {
            panic!("PostgreSQL in {} could not be started: {line}", programs.display());
        };
        let process = process.parse().expect("the shell gives a process id");
        Self { folder: PathBuf::from(folder), process, databases: AtomicU32::new(0) }
    }

    /// Where its socket is.
    #[allow(dead_code, reason = "the benchmark, which shares this file, does not ask")]
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new, empty database: what a gateway would be told of it.
    pub(crate) async fn database(&self) -> String {
        let name = format!("mesh{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}")).await;
        format!("postgres:///{name}?host={}&user=meshward", self.folder.display())
    }

    /// Executes one statement as the server's owner.
    pub(crate) async fn execute(&self, database: &str, sql: &str) {
        let mut connection = self.connect(database).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A connection that knows nothing of the store.
    pub(crate) async fn connect(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&self.folder)
            .username("meshward")
            .database(database);
        PgConnection::connect_with(&options).await.unwrap()
    }
}

/// The folder with `initdb` and `postgres`: what PATH finds, followed to where it really is, or Debian's place.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path)
        .filter_map(|folder| folder.join("initdb").canonicalize().ok())
        .filter_map(|program| program.parent().map(Path::to_owned))
        .collect();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    let whole =
        |folder: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|p| folder.join(p).is_file());
    folders.into_iter().find(whole).expect(
        "the tests of the store need PostgreSQL's server: install Debian's package `postgresql` \
         (`initdb`, `postgres` and `pg_isready`, in PATH or in /usr/lib/postgresql/*/bin)",
    )
}

/// Whom to be instead of root, as whom PostgreSQL does not run.
fn unprivileged() -> Option<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = users.lines().any(|line| line.starts_with("postgres:"));
    root.then_some(if known { "postgres" } else { "nobody" })
}
