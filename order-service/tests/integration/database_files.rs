//! The database belongs to one process, by whatever name, and stays the file that was opened.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::fixture::process::{command, refusal, run, spawn, spawn_alone};
use crate::fixture::{CONTRACT, Db, Files, NO_BROKER, ServiceProcess};

async fn orders_in(database: &Path) -> i64 {
    let db = Db::of(database);
    let orders = db.orders().await;
    db.close().await;
    orders
}

/// Places orders until the process is gone, which accepts none and fails.
async fn until_it_ends(service: &mut ServiceProcess) {
    let alice = service.user("alice");
    while let Ok(answer) = CONTRACT.try_send(alice.order_request("1", 1)).await {
        assert_eq!(answer.status(), 503, "{answer:?}");
    }
    assert_eq!(service.end().await.code(), Some(1), "{}", service.log());
}

/// A killed service's files, with the newest commits in the WAL.
async fn killed() -> Files {
    let (files, mut service) = spawn_alone(&[]).await;
    service.user("alice").place("1", 1).await;
    service.kill().await;
    files
}

/// Starts the service again, which still has the order that was answered.
async fn the_order_is_there(files: &Files) {
    let mut service = spawn(files, NO_BROKER, &[]).await;
    assert_eq!(files.look().orders().await, 1, "the order that was answered is there");
    service.stop().await;
}

#[tokio::test]
async fn a_second_process_is_refused_by_whatever_name_it_finds_the_database() {
    let (files, mut first) = spawn_alone(&[]).await;
    let beside = |name: &str| files.path(name);
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
    let files = killed().await;
    let other = files.path("other.db");
    fs::hard_link(files.database(), &other).unwrap();
    for database in [&files.database(), &other] {
        let errors = refusal(database).await;
        assert!(errors.contains("2 names (hard links)") && errors.contains("-wal"), "{errors}");
    }
    fs::remove_file(other).unwrap();
    the_order_is_there(&files).await;
}

/// Does something to the files of a running service.
type Mishap = fn(&Files) -> io::Result<()>;

fn beside(files: &Files, suffix: &str) -> PathBuf {
    files.path(&format!("order.db{suffix}"))
}

fn remove(files: &Files, suffixes: &[&str]) -> io::Result<()> {
    suffixes.iter().try_for_each(|suffix| fs::remove_file(beside(files, suffix)))
}

fn replace(files: &Files) -> io::Result<()> {
    fs::copy(files.database(), beside(files, ".copy"))?;
    fs::rename(beside(files, ".copy"), files.database())
}

#[tokio::test]
async fn a_database_that_is_moved_removed_or_replaced_in_use_stops_the_service_and_no_order_is_accepted() {
    let mishaps: [(Mishap, Option<&str>); 5] = [
        (|files| remove(files, &["", "-wal", "-shm"]), None),
        (replace, None),
        // What was accepted before is whole in the file that was in use, wherever it is now.
        (|files| fs::rename(files.database(), beside(files, ".moved")), Some(".moved")),
        (|files| remove(files, &["-wal"]), Some("")),
        (|files| remove(files, &["-shm"]), Some("")),
    ];
    for (mishap, whole) in mishaps {
        let (files, mut service) = spawn_alone(&[]).await;
        let alice = service.user("alice");
        for _ in 0..3 {
            alice.place("1", 1).await;
        }
        mishap(&files).unwrap();
        until_it_ends(&mut service).await;
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
        let (files, mut service) = spawn_alone(&[]).await;
        let alice = service.user("alice");
        alice.place("1", 1).await;
        let mut backup = command(&["backup"]);
        run(backup.arg(beside(&files, ".backup")).env("DATABASE", files.database())).await.success();
        mishap(&files);
        until_it_ends(&mut service).await;
        assert!(service.log().contains("somebody has written over the file"), "{}", service.log());
        assert!(beside(&files, ".suspect").exists());
        empty(&files);
        let errors = refusal(&files.database()).await;
        assert!(errors.contains("is empty") && errors.contains("order.db.suspect"), "{errors}");
    }
}

#[tokio::test]
async fn an_emptied_database_is_refused_while_the_newest_commits_lie_beside_it() {
    let files = killed().await;
    let whole = fs::read(files.database()).unwrap();
    empty(&files);
    let errors = refusal(&files.database()).await;
    assert!(errors.contains("is empty") && errors.contains("order.db-wal"), "{errors}");
    fs::write(files.database(), whole).unwrap();
    the_order_is_there(&files).await;
}
