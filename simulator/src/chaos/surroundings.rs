//! Faults of what a service stands on: its log, clock, database file, the lock on it, and one of its tasks.
//!
//! Where a service has to end by itself, one that goes on is a violation: it would answer for a database that
//! is not there, or without one of its tasks.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use processes::Logs;
use shared::storage::beside::WHILE_OPEN;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::time::sleep;

use crate::topology::{Part, Topology};

/// A service that cannot go on must have ended after this time.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How far ahead a clock is. Idempotency keys live for a day of that clock, and the load repeats them.
const AHEAD: &str = "+23h";

/// How long a service runs on with a clock that was put right.
const PUT_RIGHT: Duration = Duration::from_secs(1);

/// Where Debian, Fedora and Homebrew put it.
const FAKETIME: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// How many steps a busy task lives: it panics in the middle of its work.
const BUSY_SKIP: &str = "50";

/// The background tasks of a service (see `service.rs`), and how many of their steps go well. Those that may
/// have nothing to do for a long time panic at once.
fn tasks(part: Part) -> Vec<(&'static str, &'static str)> {
    let both = ["jobs", "broker watch", "database watch", "server", "signals"].map(|task| (task, "0"));
    let busy = ["consumer", "relay"].map(|task| (task, BUSY_SKIP));
    let own = match part {
        Part::Order => vec![("committer", BUSY_SKIP), ("sweeper", "0"), ("feed reader", BUSY_SKIP)],
        _ => vec![("committer", "0")],
    };
    both.into_iter().chain(busy).chain(own).collect()
}

/// The library that fakes a clock; `None`: this machine has none.
pub fn faketime() -> Option<&'static str> {
    FAKETIME.into_iter().find(|library| Path::new(library).exists())
}

pub async fn lose_log(topology: &mut Topology, part: Part) -> Result<()> {
    topology.stop_part(part).await?;
    topology.start_part_with(part, &[], Some(&Logs::Gone)).await
}

pub async fn restart(topology: &mut Topology, part: Part) -> Result<()> {
    topology.stop_part(part).await?;
    topology.start_part(part).await
}

pub async fn set_clock_ahead(topology: &mut Topology, part: Part) -> Result<()> {
    let library = faketime().context("libfaketime is not installed")?;
    let clock = clock_file(topology, part);
    fs::write(&clock, AHEAD).context("cannot write the file of the clock")?;
    let environment = [
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        // Timers run on the monotonic clock, which no operator sets.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    topology.stop_part(part).await?;
    topology.start_part_with(part, &environment, None).await
}

/// Puts the clock right while the service runs, and then starts it again without the library.
pub async fn put_clock_right(topology: &mut Topology, part: Part) -> Result<()> {
    fs::write(clock_file(topology, part), "+0").context("cannot write the file of the clock")?;
    sleep(PUT_RIGHT).await;
    restart(topology, part).await
}

fn clock_file(topology: &Topology, part: Part) -> PathBuf {
    topology.config.folder.join(format!("{}.clock", part.name()))
}

/// Moves the database's files away, and waits until the service has noticed and ended.
pub async fn move_database(topology: &mut Topology, part: Part) -> Result<()> {
    let database = topology.config.database(part);
    rename_all(&database, &moved(&database))?;
    let status = topology.wait_for_end(part, ENDS_WITHIN).await?;
    ensure!(!status.success(), "{} lost its database and ended as if nothing were wrong", part.name());
    Ok(())
}

pub async fn bring_database_back(topology: &mut Topology, part: Part) -> Result<()> {
    let database = topology.config.database(part);
    rename_all(&moved(&database), &database)?;
    topology.start_part(part).await
}

fn moved(database: &Path) -> PathBuf {
    database.with_extension("moved")
}

fn rename_all(from: &Path, to: &Path) -> Result<()> {
    let with = |path: &Path, suffix| format!("{}{suffix}", path.display());
    for suffix in [""].into_iter().chain(WHILE_OPEN) {
        match fs::rename(with(from, suffix), with(to, suffix)) {
            // The files beside the database come and go with its connections.
            Err(error) if error.kind() != ErrorKind::NotFound || suffix.is_empty() => {
                return Err(error).with_context(|| format!("cannot move {}{suffix}", from.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes the write lock of the service's database, as another process would.
pub async fn lock(topology: &Topology, part: Part) -> Result<SqliteConnection> {
    let options =
        SqliteConnectOptions::new().filename(topology.config.database(part)).create_if_missing(false);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.context("cannot take the write lock")?;
    Ok(connection)
}

pub async fn unlock(mut connection: SqliteConnection) -> Result<()> {
    sqlx::query("ROLLBACK").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Starts the service again with one task, chosen by `number`, that panics, and waits until it has ended.
pub async fn panic_a_task(topology: &mut Topology, part: Part, number: usize) -> Result<()> {
    let tasks = tasks(part);
    let (task, skip) = tasks[number % tasks.len()];
    topology.stop_part(part).await?;
    let environment = [
        ("FAIL_POINT", format!("task: {task}")),
        ("FAIL_POINT_SKIP", skip.to_owned()),
        ("FAIL_POINT_PANIC", "1".to_owned()),
    ];
    topology.spawn_part(part, &environment, None)?;
    let ended = topology.wait_for_end(part, ENDS_WITHIN).await;
    let status = ended.with_context(|| format!("its task {task} panicked"))?;
    ensure!(!status.success(), "{} lost its task {task} and ended as if nothing were wrong", part.name());
    Ok(())
}
