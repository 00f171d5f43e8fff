//! The `backup` command, beside a running service and without one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testing::DEADLINE;
use testing::service::Ran;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fixture::process::{command, run};
use crate::fixture::{Db, Files, NO_BROKER, alone, start, wait_until};

/// Runs `backup` on the test's database.
async fn backup(files: &Files, target: impl AsRef<Path>, flags: &[&str]) -> Ran {
    run(command(&["backup"]).arg(target.as_ref()).args(flags).env("DATABASE", files.database())).await
}

/// The one text that `sql` selects from a file that no service has opened.
async fn select(file: &Path, sql: &str) -> String {
    let db = Db::read_only(file);
    let found = db.text(sql).await;
    db.close().await;
    found
}

fn names_in(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_under_load_is_one_moment_in_which_every_order_has_its_outbox_row() {
    let files = Files::new();
    // Without a broker every outbox row stays, so that a copy of two moments would show.
    let app = start(&files, NO_BROKER, &[]).await;
    let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let (user, accepted, stop) = (app.user(&format!("user-{number}")), accepted.clone(), stop.clone());
        clients.spawn(async move {
            while !stop.is_cancelled() {
                user.place("1", 1).await;
                accepted.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let mut latest = 0;
    for round in 0..3 {
        let before = accepted.load(Ordering::SeqCst);
        let more = || async { accepted.load(Ordering::SeqCst) >= before + 100 };
        wait_until("more orders are accepted", more).await;
        let before = accepted.load(Ordering::SeqCst);
        let copy = files.path(&format!("copy-{round}.db"));
        let Ran { code, output, errors, .. } = backup(&files, &copy, &[]).await;
        assert_eq!((code, output.len()), (Some(0), 0), "{errors}");
        assert_eq!(select(&copy, "PRAGMA integrity_check").await, "ok");
        let lonely = "SELECT group_concat(id) FROM (SELECT id FROM orders EXCEPT SELECT order_id FROM outbox
            UNION ALL SELECT order_id FROM outbox EXCEPT SELECT id FROM orders)";
        assert_eq!(select(&copy, &format!("SELECT coalesce(({lonely}), '')")).await, "");
        let orders: usize = select(&copy, "SELECT CAST(count(*) AS TEXT) FROM orders").await.parse().unwrap();
        assert!(orders >= before, "{orders} orders, and {before} were answered 201 before");
        assert!(errors.contains(&format!("orders {orders}, outbox_batches ")), "{errors}");
        latest = orders;
    }
    assert!(latest < accepted.load(Ordering::SeqCst) + 8, "orders went on");
    stop.cancel();
    clients.join_all().await;
    app.stop().await;
}

#[tokio::test]
async fn a_restored_backup_is_a_database_of_its_own_and_opens_in_a_new_place() {
    let (files, elsewhere) = (Files::new(), Files::new());
    let app = start(&files, NO_BROKER, &[]).await;
    let order = app.user("alice").place("1", 2).await;
    files.look().change("UPDATE database_identity SET id = 'the-original', inode = 7").await;
    let copy = elsewhere.database();
    backup(&files, &copy, &[]).await.success();
    assert_eq!(select(&copy, "SELECT id || inode FROM database_identity").await, "0");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o077, 0, "it holds user ids");
    app.stop().await;

    let app = start(&elsewhere, NO_BROKER, &[]).await;
    assert_eq!(app.user("alice").order(&order).await["quantity"], 2);
    app.user("alice").place("1", 1).await;
    app.stop().await;
    // Without a running service, too.
    backup(&elsewhere, elsewhere.path("again.db"), &[]).await.success();
}

#[tokio::test]
async fn nothing_is_overwritten_unasked_and_the_database_itself_never() {
    let (files, app) = alone(&[]).await;
    let target = files.path("copy.db");
    fs::write(&target, "precious").unwrap();
    let errors = backup(&files, &target, &[]).await.failure(1);
    assert!(errors.contains("copy.db exists; --force replaces it"), "{errors}");
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    backup(&files, &target, &["--force"]).await.success();
    assert_eq!(select(&target, "PRAGMA integrity_check").await, "ok");

    let errors = backup(&files, files.database(), &["--force"]).await.failure(1);
    assert!(errors.contains("is the database itself"), "{errors}");
    fs::write(files.path("copy.db-wal"), "of another database").unwrap();
    let errors = backup(&files, &target, &["--force"]).await.failure(1);
    assert!(errors.contains("copy.db-wal belongs to another database"), "{errors}");
    for part in ["order.db-wal", "order.db-shm"] {
        let errors = backup(&files, files.path(part), &["--force"]).await.failure(1);
        assert!(errors.contains("choose another name"), "{errors}");
    }
    app.user("alice").place("1", 1).await;
    app.stop().await;

    let errors = backup(&Files::new(), &target, &["--force"]).await.failure(1);
    assert!(errors.contains("there is no database"), "{errors}");
}

#[tokio::test]
async fn a_full_disk_or_a_folder_that_cannot_be_written_leaves_no_file_and_says_so() {
    let (files, app) = alone(&[]).await;
    app.user("alice").place("1", 1).await;
    let before = names_in(&files.folder());
    let target = files.path("copy.db");
    // A limit on the size of files stands in for a full disk: the write fails in the same place.
    let script = "trap '' XFSZ; ulimit -f 32; exec \"$0\" backup \"$1\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", script, env!("CARGO_BIN_EXE_order-service")]).arg(&target);
    limited.env("DATABASE", files.database());
    let errors = run(&mut limited).await.failure(1);
    assert!(errors.contains("copy") && errors.contains(files.folder().to_str().unwrap()), "{errors}");
    assert_eq!(names_in(&files.folder()), before);

    for folder in ["/proc", files.database().to_str().unwrap()] {
        let errors = backup(&files, format!("{folder}/copy.db"), &[]).await.failure(1);
        assert!(errors.contains(&format!("make a file in the folder {folder}")), "{errors}");
    }
    assert_eq!(names_in(&files.folder()), before);
    app.user("alice").place("1", 1).await;
    app.stop().await;
}

#[tokio::test]
async fn a_backup_to_standard_output_is_the_database_and_nothing_else() {
    let (files, app) = alone(&[]).await;
    app.user("alice").place("1", 1).await;
    let before = names_in(&files.folder());
    let Ran { code, output, errors, .. } = backup(&files, "-", &[]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(names_in(&files.folder()), before, "the temporary file is gone");
    let copy = files.path("copy.db");
    fs::write(&copy, &output).unwrap();
    assert_eq!(select(&copy, "PRAGMA integrity_check").await, "ok");
    assert_eq!(select(&copy, "SELECT user_id FROM orders").await, "alice");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains(&format!("{} bytes", output.len())) && errors.contains("orders 1"), "{errors}");
    app.stop().await;
}

/// A backup that waits for the reader of its output, with its copy still there.
async fn stuck_backup(files: &Files) -> Child {
    // More than a pipe holds.
    let columns = "subject, body, headers, reason, detail, attempts, first_seen_at, last_seen_at";
    let row = "'order_processed', zeroblob(1000000), '{}', 'invalid_event', '', 1, 0, 0";
    files.look().change(&format!("INSERT INTO dead_letters ({columns}) VALUES ({row})")).await;
    let mut command = command(&["backup", "-"]);
    command.env("DATABASE", files.database()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdout.as_mut().unwrap().read_u8().await.unwrap();
    child
}

#[tokio::test]
async fn what_a_killed_backup_leaves_behind_is_removed_by_the_next_one_and_one_under_way_is_not() {
    let (files, app) = alone(&[]).await;
    let before = names_in(&files.folder());
    let mut killed = stuck_backup(&files).await;
    let left = names_in(&files.folder());
    assert_eq!(left.len(), before.len() + 1);
    let target = files.path("copy.db");
    backup(&files, &target, &[]).await.success();
    fs::remove_file(&target).unwrap();
    assert_eq!(names_in(&files.folder()), left, "what is under way stays");

    killed.kill().await.unwrap();
    assert_eq!(names_in(&files.folder()), left, "nobody could tidy up");
    let others = [".backup-2025/orders", ".backup-photos", ".backup-abcdef"].map(|name| files.path(name));
    for folder in &others {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("o.db"), "precious").unwrap();
    }
    let Ran { code, errors, .. } = backup(&files, &target, &[]).await;
    assert!(code == Some(0) && errors.contains("left by a backup that was killed"), "{errors}");
    for folder in &others {
        assert_eq!(fs::read(folder.join("o.db")).unwrap(), b"precious", "{folder:?} is somebody else's");
    }
    fs::remove_file(&target).unwrap();
    let expected = before.len() + others.len();
    assert_eq!(names_in(&files.folder()).len(), expected, "{:?}", names_in(&files.folder()));
    app.stop().await;
}

#[tokio::test]
async fn an_interrupted_backup_ends_at_once_and_leaves_no_file_behind() {
    let (files, app) = alone(&[]).await;
    let before = names_in(&files.folder());
    let mut child = stuck_backup(&files).await;
    assert_eq!(names_in(&files.folder()).len(), before.len() + 1);
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(DEADLINE, child.wait()).await.expect("it ends by itself").unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
    assert_eq!((status.code(), names_in(&files.folder())), (Some(1), before), "{errors}");
    assert!(errors.contains("interrupted; there is no backup"), "{errors}");
    app.stop().await;
}
