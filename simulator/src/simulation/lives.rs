//! How services begin and end, and come back as they were.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use shared::clock::{Instant, simulated};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::acts::UNLIMITED;
use super::crash;
use super::model::Loss;
use super::timeline::Side;
use super::world::World;

/// Every so often a service that has died opens its file anew.
const REOPENS_EVERY: u64 = 10;

impl World {
    pub(super) async fn start(&mut self, side: Side) {
        if self.node(side).running.is_some() {
            return;
        }
        self.tell(side.name(), || "starts".to_owned());
        let model = self.model.clone();
        simulated::set_offset_ms(self.node(side).offset_ms);
        match self.node(side).start(&model).await {
            Ok(tasks) => self.tasks.extend(tasks),
            Err(error) => self.failures.push(format!("the {side} does not start: {error:#}")),
        }
    }

    pub(super) async fn die(&mut self, side: Side, how: &str) {
        let Some(running) = &self.node(side).running else { return };
        let database = running.database.clone();
        self.tell(side.name(), || how.to_owned());
        self.tasks.retain(|task| task.side != side);
        self.deaths += 1;
        // Rolls back what was begun.
        if let Ok(tx) = database.begin().await {
            let _ = tx.rollback().await;
        }
        drop(database);
        let (model, closes) = (self.model.clone(), self.deaths.is_multiple_of(REOPENS_EVERY));
        self.node(side).die(&model, closes).await;
    }

    pub(super) fn stop(&mut self, side: Side) {
        if self.database(side).is_none() {
            return;
        }
        self.tell(side.name(), || "is told to end".to_owned());
        if let Some(running) = &mut self.node(side).running {
            running.stop();
        }
    }

    /// Both services are off for so long.
    pub(super) async fn night_off(&mut self, duration: Duration) {
        for side in Side::ALL {
            self.die(side, "is switched off").await;
        }
        simulated::advance(Instant::now() + duration);
        self.model.forget_the_old();
        self.begun = Instant::now();
        for side in Side::ALL {
            self.start(side).await;
        }
    }

    pub(super) async fn backup(&mut self) -> Result<()> {
        if self.database(Side::Order).is_none() {
            return Ok(());
        }
        self.tell("order", || "is backed up".to_owned());
        let file = self.node(Side::Order).file.clone();
        let backup = file.with_extension("backup");
        let mut connection = SqliteConnectOptions::new().filename(&file).connect().await?;
        let _ = fs::remove_file(&backup);
        sqlx::query("VACUUM INTO $1").bind(backup.to_string_lossy()).execute(&mut connection).await?;
        connection.close().await?;
        self.backup = Some((backup, self.clients.known()));
        Ok(())
    }

    pub(super) async fn restore_backup(&mut self) -> Result<()> {
        let Some((backup, known)) = self.backup.clone() else { return Ok(()) };
        self.die(Side::Order, "is killed").await;
        let model = self.model.clone();
        self.node(Side::Order).die(&model, true).await;
        self.tell("order", || "is restored from its backup".to_owned());
        let is_known = self.put_back(&backup).await?;
        self.clients.unlearn(known);
        self.memory.borrow_mut().has_forgotten = true;
        // Else only the sweeper finds out.
        let loss = if is_known { Loss::Noticed } else { Loss::Some };
        self.model.state().note_loss(loss);
        self.model.is_anothers(Side::Order, is_known);
        self.start(Side::Order).await;
        Ok(())
    }

    /// Copies the backup to where the database was: over it, or as a new file. Whether the service can know: by the file, or by the
    /// generation at its consumer.
    async fn put_back(&mut self, backup: &Path) -> Result<bool> {
        let file = self.node(Side::Order).file.clone();
        for name in [file.with_extension("db-wal"), file.with_extension("db-shm")] {
            let _ = fs::remove_file(name);
        }
        let is_new = self.deaths.is_multiple_of(2);
        // Beside the former file, so that it is certainly another one.
        let copy = if is_new { file.with_extension("restored") } else { file.clone() };
        fs::copy(backup, &copy).context("restore a backup")?;
        fs::rename(copy, file).context("restore a backup")?;
        let mut connection = SqliteConnectOptions::new().filename(backup).connect().await?;
        let generation: i64 =
            sqlx::query_scalar("SELECT generation FROM database_identity").fetch_one(&mut connection).await?;
        connection.close().await?;
        let at_broker = self.model.generation(Side::Order);
        Ok(at_broker.is_some_and(|at_broker| is_new || at_broker > generation))
    }

    /// Something of the service has ended: what ends with it, and whether it should have.
    pub(super) async fn end_of(&mut self, side: Side) {
        let left: Vec<&str> =
            self.tasks.iter().filter(|task| task.side == side).map(|task| task.name).collect();
        let Some(running) = &self.node(side).running else { return };
        if left.iter().all(|name| ["relay", "watch"].contains(name)) && running.shutdown.is_cancelled() {
            running.last_call.cancel();
        }
        if left.is_empty() {
            self.die(side, "has ended").await;
        }
    }

    /// Nothing goes wrong any more, and whoever was away comes back.
    pub async fn end_of_faults(&mut self) {
        self.tell("all", || "no more faults".to_owned());
        self.model.disarm();
        crash::disarm();
        for side in Side::ALL {
            self.node(side).offset_ms = 0;
            // One that is about to end is gone before it is started again.
            if self.node(side).running.as_ref().is_some_and(|running| running.shutdown.is_cancelled()) {
                self.die(side, "is killed").await;
            }
            self.start(side).await;
            self.limit(side, UNLIMITED).await;
            self.redrive_all(side).await;
        }
        if !self.model.is_up() {
            self.model.start();
        }
    }

    /// Ends both services.
    pub async fn end(&mut self) {
        self.tasks.clear();
        let model = self.model.clone();
        for node in &mut self.nodes {
            node.die(&model, true).await;
        }
    }
}
