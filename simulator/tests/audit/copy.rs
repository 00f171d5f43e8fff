//! A copy of the healthy databases and answers, and the means to break it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use simulator::answers;
use simulator::answers::{Answer, Line, Outcome};
use simulator::check;
use simulator::check::snapshot::Snapshot;
use simulator::check::{Databases, Moment, Report};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use tempfile::TempDir;

use crate::healthy;

/// One test's own copy.
pub struct Copy(TempDir);

impl Copy {
    pub async fn new() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for (name, content) in healthy::FILES.iter().zip(healthy::contents().await) {
            fs::write(copy.path(name), content).unwrap();
        }
        copy
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs SQL on order.db that its schema would refuse: without its triggers, checks and foreign keys.
    pub async fn order(&self, sql: &str) {
        self.break_with("order.db", &["orders_settle_once", "orders_stay"], sql).await;
    }

    /// The same on inventory.db.
    pub async fn inventory(&self, sql: &str) {
        let triggers = [
            "reservations_do_not_change",
            "reservations_stay",
            "adjustments_do_not_change",
            "adjustments_stay",
        ];
        self.break_with("inventory.db", &triggers, sql).await;
    }

    async fn break_with(&self, name: &str, triggers: &[&str], sql: &str) {
        let mut database = self.open(name).await;
        for trigger in triggers {
            let drop = format!("DROP TRIGGER IF EXISTS {trigger}");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut database).await.unwrap();
        }
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut database).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing was broken by {sql}");
        database.close().await.unwrap();
    }

    async fn open(&self, name: &str) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path(name)).foreign_keys(false);
        SqliteConnection::connect_with(&options.pragma("ignore_check_constraints", "ON")).await.unwrap()
    }

    /// The id of some order for which `condition` holds.
    pub async fn some_order(&self, condition: &str) -> String {
        let mut database = self.open("order.db").await;
        let sql = AssertSqlSafe(format!("SELECT id FROM orders WHERE {condition} ORDER BY id LIMIT 1"));
        sqlx::query(sql).fetch_one(&mut database).await.unwrap().get(0)
    }

    /// A number out of inventory.db.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut database = self.open("inventory.db").await;
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut database).await.unwrap().get(0)
    }

    /// What the client of an order was answered.
    pub fn answer_of(&self, id: &str) -> Answer {
        let names = |line| match line {
            Line::Answer(answer) => {
                matches!(&answer.outcome, Outcome::Accepted { order_id, .. } if order_id == id)
                    .then_some(answer)
            }
            _ => None,
        };
        answers::read(&self.path("answers")).unwrap().map(Result::unwrap).find_map(names).unwrap()
    }

    /// Rewrites the answers, with lines changed, left out or added before the end.
    pub fn rewrite_answers(&self, change: impl FnMut(Line) -> Option<Line>, added: &[Line]) {
        let path = self.path("answers");
        let lines = answers::read(&path).unwrap().map(Result::unwrap);
        let lines = lines.filter(|line| !matches!(line, Line::End { .. })).filter_map(change);
        let mut lines: Vec<Line> = lines.chain(added.iter().cloned()).collect();
        lines.push(Line::End { lines: lines.len() as u64 });
        let text = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n");
        fs::write(path, text.collect::<String>()).unwrap();
    }

    /// Forgets what clients saw of an order after its 201.
    pub fn forget_observations(&self, id: &str) {
        let seen = |line: &Line| matches!(line, Line::Observed { order_id, .. } if order_id == id);
        self.rewrite_answers(|line| (!seen(&line)).then_some(line), &[]);
    }

    pub async fn audit(&self, moment: Moment) -> Report {
        check::audit(&self.read().await, moment)
    }

    pub async fn read(&self) -> Snapshot {
        check::read(&Databases::in_folder(self.0.path()), Some(&self.path("answers"))).await.unwrap()
    }

    /// Exactly this invariant is violated, once, and its witness names `witness`.
    pub async fn assert_violates(&self, name: &str, witness: &str) {
        let report = self.audit(Moment::Final).await;
        let violated: Vec<&str> = report.violated().map(|finding| finding.name).collect();
        assert_eq!(violated, [name], "{report}");
        let listing = &report.violated().next().unwrap().violations;
        assert!(
            listing.witnesses.iter().any(|text| text.contains(witness)),
            "{witness:?} is not in {report}"
        );
    }

    /// `sim check` on this copy: its exit status and standard output.
    pub fn command(&self, flags: &[&str]) -> (ExitStatus, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
        command.arg("check").arg("--order-db").arg(self.path("order.db"));
        command.arg("--inventory-db").arg(self.path("inventory.db"));
        let output = command.arg("--answers").arg(self.path("answers")).args(flags).output().unwrap();
        (output.status, String::from_utf8(output.stdout).unwrap())
    }
}
