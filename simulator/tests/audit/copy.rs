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
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::TempDir;
use testing::service::Db;

use crate::healthy;

/// What keeps the data of either database as it is.
const TRIGGERS: [&str; 6] = [
    "orders_settle_once",
    "orders_stay",
    "reservations_do_not_change",
    "reservations_stay",
    "adjustments_do_not_change",
    "adjustments_stay",
];

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

    /// A copy, and the id of some order in it for which `condition` holds.
    pub async fn with_order(condition: &str) -> (Self, String) {
        let copy = Self::new().await;
        let id = copy.some_order(condition).await;
        (copy, id)
    }

    pub async fn order(&self, sql: &str) {
        self.change("order.db", sql).await;
    }

    pub async fn inventory(&self, sql: &str) {
        self.change("inventory.db", sql).await;
    }

    /// Runs SQL that the schema would refuse: without the triggers on what it changes, checks and foreign keys.
    pub async fn change(&self, name: &str, sql: &str) {
        let mut database = self.open(name).await;
        for trigger in TRIGGERS {
            let drop = format!("DROP TRIGGER IF EXISTS {trigger}");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut database).await.unwrap();
        }
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut database).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing was broken by {sql}");
        database.close().await.unwrap();
    }

    /// Deletes an order from order.db.
    pub async fn delete_order(&self, id: &str) {
        self.order(&format!("DELETE FROM orders WHERE id = '{id}'")).await;
    }

    async fn open(&self, name: &str) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path(name)).foreign_keys(false);
        SqliteConnection::connect_with(&options.pragma("ignore_check_constraints", "ON")).await.unwrap()
    }

    /// The id of some order for which `condition` holds.
    pub async fn some_order(&self, condition: &str) -> String {
        let sql = format!("SELECT id FROM orders WHERE {condition} ORDER BY id LIMIT 1");
        Db::read_only(&self.path("order.db")).text(&sql).await
    }

    /// A number out of inventory.db.
    pub async fn number(&self, sql: &str) -> i64 {
        Db::read_only(&self.path("inventory.db")).number(sql).await
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

    /// The report, in which nothing may be violated.
    pub async fn clean_report(&self, moment: Moment) -> Report {
        let report = self.audit(moment).await;
        assert!(report.clean, "{report}");
        report
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
        let is_told = listing.witnesses.iter().any(|text| text.contains(witness));
        assert!(is_told, "{witness:?} is not in {report}");
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
