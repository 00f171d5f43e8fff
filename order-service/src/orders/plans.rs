//! How SQLite would read what a statement asks for; for tests.

use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{AssertSqlSafe, SqlitePool};

use crate::migrations::MIGRATIONS;

pub struct Plans(SqlitePool);

impl Plans {
    /// With the tables and indexes of the service, and nothing in them.
    pub async fn open() -> Self {
        let database = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        MIGRATIONS.run(&database).await.unwrap();
        Self(database)
    }

    /// One step a line.
    pub async fn of(&self, sql: &str) -> String {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&self.0).await.unwrap();
        steps.into_iter().map(|(_, _, _, step)| step).collect::<Vec<_>>().join("\n")
    }
}
