//! The database belongs to one process, by whatever name, and stays the file that was opened.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;

use crate::fixture::caller::CONTRACT;
use crate::fixture::process::{Service, command, run};
use crate::fixture::{Files, NO_BROKER};

/// Why the service does not start on this file.
async fn refusal(database: &Path) -> String {
    let mut command = command(&["--port", "0", "--nats-url", NO_BROKER, "--database"]);
    command.arg(database);
    let (output, errors) = run(command).await;
    assert_eq!(output.status.code(), Some(1), "{errors}");
    errors
}

async fn orders_in(database: &Path) -> i64 {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(database)).await.unwrap();
    let orders = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&pool).await.unwrap();
    pool.close().await;
    orders
}

#[tokio::test]
async fn a_second_process_is_refused_by_whatever_name_it_finds_the_database() {
    let files = Files::new();
    let mut first = Service::start(&files, NO_BROKER, &[]).await;
    let beside = |name: &str| files.folder().join(name);
    symlink(files.database(), beside("link.db")).unwrap();
    symlink(files.folder(), beside("folder")).unwrap();
    fs::hard_link(files.database(), beside("hard.db")).unwrap();
    let _ = fs::remove_file(beside("order.db.lock"));
    for database in [files.database(), beside("link.db"), beside("folder/order.db"), beside("hard.db")] {
        let errors = refusal(&database).await;
        assert!(errors.contains("another process uses the database"), "{errors}");
    }
    first.user("alice").place("1", 1).await;
    assert_eq!(first.terminate().await.code(), Some(0), "the first is not disturbed");
}

#[tokio::test]
async fn a_database_with_two_names_is_refused_because_its_newest_commits_lie_beside_one_of_them() {
    let files = Files::new();
    let mut first = Service::start(&files, NO_BROKER, &[]).await;
    first.user("alice").place("1", 1).await;
    first.kill().await;
    let other = files.folder().join("other.db");
    fs::hard_link(files.database(), &other).unwrap();
    for database in [&files.database(), &other] {
        let errors = refusal(database).await;
        assert!(errors.contains("2 names (hard links)") && errors.contains("-wal"), "{errors}");
    }
    fs::remove_file(other).unwrap();
    let mut service = Service::start(&files, NO_BROKER, &[]).await;
    assert_eq!(files.look().orders().await, 1, "the order that was answered is there");
    assert_eq!(service.terminate().await.code(), Some(0));
}

/// Does something to the files of a running service.
type Mishap = fn(&Files) -> std::io::Result<()>;

fn beside(files: &Files, suffix: &str) -> PathBuf {
    files.folder().join(format!("order.db{suffix}"))
}

fn remove_all(files: &Files) -> std::io::Result<()> {
    ["", "-wal", "-shm"].iter().try_for_each(|suffix| fs::remove_file(beside(files, suffix)))
}

fn replace(files: &Files) -> std::io::Result<()> {
    fs::copy(files.database(), beside(files, ".copy"))?;
    fs::rename(beside(files, ".copy"), files.database())
}

fn move_away(files: &Files) -> std::io::Result<()> {
    fs::rename(files.database(), beside(files, ".moved"))
}

fn remove_wal(files: &Files) -> std::io::Result<()> {
    fs::remove_file(beside(files, "-wal"))
}

fn remove_index(files: &Files) -> std::io::Result<()> {
    fs::remove_file(beside(files, "-shm"))
}

#[tokio::test]
async fn a_database_that_is_moved_removed_or_replaced_in_use_stops_the_service_and_no_order_is_accepted() {
    let mishaps: [(Mishap, Option<&str>); 5] = [
        (remove_all, None),
        (replace, None),
        // What was accepted before is whole in the file that was in use, wherever it is now.
        (move_away, Some(".moved")),
        (remove_wal, Some("")),
        (remove_index, Some("")),
    ];
    for (mishap, whole) in mishaps {
        let files = Files::new();
        let mut service = Service::start(&files, NO_BROKER, &[]).await;
        let alice = service.user("alice");
        for _ in 0..3 {
            alice.place("1", 1).await;
        }
        mishap(&files).unwrap();
        let order = || {
            alice.request(reqwest::Method::POST, "/orders").json(&json!({"productId": "1", "quantity": 1}))
        };
        // Until the process is gone.
        while let Ok(answer) = CONTRACT.try_send(order()).await {
            assert_eq!(answer.status(), 503, "{answer:?}");
        }
        assert_eq!(service.end().await.code(), Some(1), "{}", service.log());
        assert!(service.log().contains("moved, removed or replaced"), "{}", service.log());
        assert!(!beside(&files, ".suspect").exists(), "the file is not the one that was in use");
        if let Some(suffix) = whole {
            assert_eq!(orders_in(&beside(&files, suffix)).await, 3);
        }
    }
}

fn empty(files: &Files) {
    fs::File::create(files.database()).unwrap();
}

/// Writes over the file in its place, as `cp` does.
fn write_over(files: &Files) {
    fs::copy(beside(files, ".backup"), files.database()).unwrap();
}

#[tokio::test]
async fn a_database_that_is_written_over_in_use_stops_the_service_and_leaves_a_marker() {
    for mishap in [write_over, empty] {
        let files = Files::new();
        let mut service = Service::start(&files, NO_BROKER, &[]).await;
        let alice = service.user("alice");
        alice.place("1", 1).await;
        let copy = beside(&files, ".backup");
        let mut backup = command(&["backup", copy.to_str().unwrap()]);
        backup.env("DATABASE", files.database());
        let (made, errors) = run(backup).await;
        assert!(made.status.success(), "{errors}");
        mishap(&files);
        let order = || {
            alice.request(reqwest::Method::POST, "/orders").json(&json!({"productId": "1", "quantity": 1}))
        };
        while let Ok(answer) = CONTRACT.try_send(order()).await {
            assert_eq!(answer.status(), 503, "{answer:?}");
        }
        assert_eq!(service.end().await.code(), Some(1), "{}", service.log());
        assert!(service.log().contains("somebody has written over the file"), "{}", service.log());
        assert!(beside(&files, ".suspect").exists());
        empty(&files);
        let errors = refusal(&files.database()).await;
        assert!(errors.contains("is empty") && errors.contains("order.db.suspect"), "{errors}");
    }
}

#[tokio::test]
async fn an_emptied_database_is_refused_while_the_newest_commits_lie_beside_it() {
    let files = Files::new();
    let mut service = Service::start(&files, NO_BROKER, &[]).await;
    service.user("alice").place("1", 1).await;
    service.kill().await;
    let whole = fs::read(files.database()).unwrap();
    empty(&files);
    let errors = refusal(&files.database()).await;
    assert!(errors.contains("is empty") && errors.contains("order.db-wal"), "{errors}");
    fs::write(files.database(), whole).unwrap();
    let mut service = Service::start(&files, NO_BROKER, &[]).await;
    assert_eq!(files.look().orders().await, 1, "the order that was answered is there");
    assert_eq!(service.terminate().await.code(), Some(0));
}
