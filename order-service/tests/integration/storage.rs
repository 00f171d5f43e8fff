//! The disk is full, or the file on it is damaged.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testing::SmallDisk;
use testing::service::WriteLock;
use tokio::task::JoinSet;

use crate::fixture::nats::stored_messages;
use crate::fixture::process::{command_on, refusal, run, spawn, spawn_alone, spawn_on};
use crate::fixture::{Broker, CONTRACT, Caller, Files, NO_BROKER, Publisher, ServiceProcess, wait_until};

/// Room for the WAL and the file that a probe makes.
const DISK_MEGABYTES: usize = 32;
/// Bytes on a full disk with which no service can go on.
const TOO_LITTLE: u64 = 2 << 20;
/// Far above what a refusal takes, and far below the 10 s that a POST may wait for its commit.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Orders with keys, and what became of each.
struct Orders {
    alice: Caller,
    accepted: Vec<(String, String)>,
    refused: Vec<String>,
}

impl Orders {
    fn of(alice: Caller) -> Self {
        Self { alice, accepted: Vec::new(), refused: Vec::new() }
    }

    async fn place(&mut self, key: &str) -> u16 {
        let answer = self.alice.post_with_key(key, "1", 1).await;
        match answer.status {
            201 => self.accepted.push((key.to_owned(), answer.id())),
            503 => {
                assert_eq!(answer.header("retry-after"), "1");
                assert!(answer.problem(503).contains("nothing was stored"));
                self.refused.push(key.to_owned());
            }
            _ => panic!("{answer:?}"),
        }
        answer.status
    }

    /// Fills the pages that the WAL already has, until one order is refused.
    async fn place_until_refused(&mut self) {
        for number in 0..1_000 {
            if self.place(&format!("filling-{number}")).await == 503 {
                return;
            }
        }
        panic!("1,000 orders found room on a full disk");
    }

    /// Many at once: each is refused, and none waits.
    async fn are_all_refused_at_once(&mut self) {
        let (started, mut posts) = (Instant::now(), JoinSet::new());
        for number in 0..50 {
            let (alice, key) = (self.alice.clone(), format!("full-{number}"));
            posts.spawn(async move { (alice.post_with_key(&key, "1", 1).await, key) });
        }
        for (answer, key) in posts.join_all().await {
            answer.problem(503);
            self.refused.push(key);
        }
        println!("50 orders refused in {:?}", started.elapsed());
        assert!(started.elapsed() < AT_ONCE, "refused in {:?}", started.elapsed());
    }

    /// An accepted key still means its order, and a refused one had left nothing behind.
    async fn keep_their_answers(&mut self) {
        for (key, id) in &self.accepted {
            let again = self.alice.post_with_key(key, "1", 1).await;
            assert_eq!((again.status, again.header("idempotency-replayed"), &again.id()), (201, "true", id));
        }
        for key in std::mem::take(&mut self.refused) {
            let answer = self.alice.post_with_key(&key, "1", 1).await;
            let told = (answer.status, answer.header("idempotency-replayed"));
            assert_eq!(told, (201, ""), "{key}: {answer:?}");
            self.accepted.push((key, answer.id()));
        }
    }

    fn ids(&self) -> BTreeSet<String> {
        self.accepted.iter().map(|(_, id)| id.clone()).collect()
    }
}

fn complaints(service: &ServiceProcess) -> Vec<String> {
    let log = service.log();
    let lines = log.lines().filter(|line| line.contains(r#""WARN""#) || line.contains(r#""ERROR""#));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_full_disk_is_answered_503_at_once_while_reads_go_on_and_mends_itself() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let Some(disk) = SmallDisk::over(&files.path("disk"), DISK_MEGABYTES) else { return };
    let mut service = spawn_on(&disk, &files, &broker.url()).await;
    let alice = service.user("alice");
    let mut orders = Orders::of(alice.clone());
    for number in 0..20 {
        assert_eq!(orders.place(&format!("before-{number}")).await, 201);
    }
    let first = orders.accepted[0].1.clone();
    wait_until("all are announced", || async { stored_messages(&broker).await.len() == 20 }).await;

    disk.fill();
    orders.place_until_refused().await;
    orders.are_all_refused_at_once().await;
    assert_eq!(service.get("/livez").await.0, 200);
    let (status, body) = service.get("/readyz").await;
    assert!(status == 503 && body.contains(r#""database":"not writable""#), "{status} {body}");
    assert!(service.get("/metrics").await.1.contains("database_writable 0"));
    // An answer that arrives meanwhile waits, and is no dead letter afterwards.
    Publisher::inventory(&broker).await.confirm(&first).await;
    let probes = || service.log().matches("database still not writable").count();
    wait_until("it was tried three times", || async { probes() >= 3 }).await;
    assert_eq!(alice.order(&first).await["status"], "created", "a read goes on");
    assert_eq!(orders.place("still-full").await, 503);
    assert!(complaints(&service).len() < 20, "{:#?}", complaints(&service));
    let taken = || disk.size_of("order.db") + disk.size_of("order.db-wal");
    let (before, tried) = (taken(), probes());
    disk.give_back(TOO_LITTLE);
    wait_until("it was tried three times more", || async { probes() >= tried + 3 }).await;
    assert!(taken() <= before, "what is too little for this service is left to others");

    disk.free();
    service.until_readyz_is(200).await;
    assert_eq!(orders.place("after").await, 201);
    orders.keep_their_answers().await;
    alice.until_order_is(&first, "confirmed").await;
    let sent = || async { service.get("/metrics").await.1.lines().any(|line| line == "outbox_rows 0") };
    wait_until("everything is announced", sent).await;

    disk.copy_database("order.db", &files.database());
    let look = files.look();
    let stored: BTreeSet<String> = look.texts("SELECT id FROM orders").await.into_iter().collect();
    assert_eq!(stored, orders.ids(), "every 201 is stored, and nothing else");
    assert_eq!(look.dead_letters().await, 0);
    assert_eq!(stored_messages(&broker).await.len(), stored.len() + 1, "each event once, and the answer");
    service.stop().await;
}

#[tokio::test]
async fn a_start_on_a_full_disk_ends_and_says_so_and_goes_well_once_there_is_room() {
    let files = Files::new();
    let Some(disk) = SmallDisk::over(&files.path("disk"), DISK_MEGABYTES) else { return };
    let mut service = spawn_on(&disk, &files, NO_BROKER).await;
    let id = service.user("alice").place("1", 1).await;
    service.stop().await;
    disk.fill();
    let errors = run(command_on(&disk, NO_BROKER).env("PORT", "0")).await.failure(1);
    assert!(errors.contains("the disk is full: make room, and start again"), "{errors}");
    disk.free();
    let mut service = spawn_on(&disk, &files, NO_BROKER).await;
    assert_eq!(service.user("alice").order(&id).await["status"], "created");
    service.stop().await;
}

#[tokio::test]
async fn a_start_while_somebody_holds_the_write_lock_ends_and_says_so() {
    let files = Files::new();
    spawn(&files, NO_BROKER, &[]).await.stop().await;
    let lock = WriteLock::take(&files.database()).await;
    let errors = refusal(&files.database()).await;
    assert!(errors.contains("somebody else holds the lock of the database"), "{errors}");
    lock.release().await;
    spawn(&files, NO_BROKER, &[]).await.stop().await;
}

/// Bytes of a page.
const PAGE: usize = 4096;

/// Overwrites one page in place, so that a running process meets it through the descriptor that it has.
fn overwrite(files: &Files, page: usize, bytes: &[u8]) {
    let file = File::options().write(true).open(files.database()).unwrap();
    file.write_all_at(bytes, ((page - 1) * PAGE) as u64).unwrap();
}

/// A database with one order, closed, so that all is in the file; its id, a backup, and the page to damage.
async fn with_backup(files: &Files) -> (String, PathBuf, usize) {
    let mut service = spawn(files, NO_BROKER, &[]).await;
    let id = service.user("alice").place("1", 1).await;
    service.stop().await;
    let backup = files.path("backup.db");
    fs::copy(files.database(), &backup).unwrap();
    let page = files.look().number("SELECT rootpage FROM sqlite_schema WHERE name = 'orders'").await;
    (id, backup, page as usize)
}

#[tokio::test]
async fn a_corrupt_database_stops_the_service_leaves_a_marker_and_is_checked_before_it_serves_again() {
    let files = Files::new();
    let (id, backup, page) = with_backup(&files).await;
    let marker = files.path("order.db.suspect");
    let mut service = spawn(&files, NO_BROKER, &[]).await;
    overwrite(&files, page, &[0xA5; PAGE]);
    let request = service.user("alice").request(reqwest::Method::GET, "/orders");
    // The process may be gone before it has answered.
    if let Ok(answer) = CONTRACT.try_send(request).await {
        assert!(answer.status().is_server_error(), "{answer:?}");
    }
    assert_eq!(service.end().await.code(), Some(1), "{}", service.log());
    let log = service.log();
    assert!(log.contains("database damaged") && log.contains("order.db"), "{log}");
    let note = fs::read_to_string(&marker).unwrap();
    assert!(note.contains("malformed") && note.starts_with("20"), "{note}");

    for _ in 0..2 {
        let errors = refusal(&files.database()).await;
        for part in ["order.db is damaged", "Restore a backup", "order.db-wal"] {
            assert!(errors.contains(part), "{part}: {errors}");
        }
        assert!(marker.exists());
    }

    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(files.path(&format!("order.db{suffix}")));
    }
    fs::copy(backup, files.database()).unwrap();
    let mut service = spawn(&files, NO_BROKER, &[]).await;
    assert!(!marker.exists(), "the backup passed its check");
    assert_eq!(service.user("alice").order(&id).await["status"], "created");
    service.stop().await;
}

#[tokio::test]
async fn a_lock_that_somebody_else_holds_makes_the_service_not_ready_until_it_is_released() {
    let (files, mut service) = spawn_alone(&[]).await;
    let alice = service.user("alice");
    let id = alice.place("1", 1).await;
    // Nobody writes meanwhile.
    let lock = files.hold_write_lock().await;
    service.until_readyz_is(503).await;
    let (_, body) = service.get("/readyz").await;
    assert!(body.contains(r#""database":"not writable""#) && body.contains("lock"), "{body}");
    let started = Instant::now();
    assert!(alice.post("1", 1).await.problem(503).contains("nothing was stored"));
    assert!(started.elapsed() < AT_ONCE, "refused in {:?}", started.elapsed());
    assert_eq!(alice.order(&id).await["status"], "created", "a read goes on");

    lock.release().await;
    service.until_readyz_is(200).await;
    alice.place("1", 1).await;
    assert_eq!(files.look().orders().await, 2, "what was refused was not stored");
    service.stop().await;
}

#[tokio::test]
async fn the_marker_of_a_database_lies_beside_the_file_and_not_beside_a_link_to_it() {
    let files = Files::new();
    let (_, _, page) = with_backup(&files).await;
    let link = files.path("link.db");
    std::os::unix::fs::symlink(files.database(), &link).unwrap();
    let mut service = spawn(&files, NO_BROKER, &[("DATABASE", link.to_str().unwrap())]).await;
    overwrite(&files, page, &[0xA5; PAGE]);
    let _ = CONTRACT.try_send(service.user("alice").request(reqwest::Method::GET, "/orders")).await;
    assert_eq!(service.end().await.code(), Some(1), "{}", service.log());
    assert!(files.path("order.db.suspect").exists());
}

#[tokio::test]
async fn a_marker_that_cannot_be_read_is_refused_and_not_taken_for_none() {
    let (files, mut service) = spawn_alone(&[]).await;
    service.stop().await;
    let marker = files.path("order.db.suspect");
    // A folder can be read by nobody, not even by root.
    fs::create_dir(&marker).unwrap();
    let errors = refusal(&files.database()).await;
    assert!(errors.contains("order.db.suspect") && errors.contains("directory"), "{errors}");

    fs::remove_dir(&marker).unwrap();
    fs::write(&marker, [0xFF]).unwrap();
    let mut service = spawn(&files, NO_BROKER, &[]).await;
    assert!(!marker.exists(), "a marker without a readable text has the file checked like any other");
    service.stop().await;
}

#[tokio::test]
async fn a_write_that_meets_a_damaged_page_is_not_stored_and_stops_the_service_too() {
    let files = Files::new();
    let (_, backup, page) = with_backup(&files).await;
    let mut service = spawn(&files, NO_BROKER, &[]).await;
    overwrite(&files, page, &[0xA5; PAGE]);
    if let Ok(answer) = CONTRACT.try_send(service.user("alice").order_request("1", 1)).await {
        assert_eq!(answer.status(), 503);
    }
    assert_eq!(service.end().await.code(), Some(1), "{}", service.log());
    assert!(files.path("order.db.suspect").exists());
    // With the page mended, what was committed shows: in the file, or in the WAL beside it.
    let backup = fs::read(backup).unwrap();
    overwrite(&files, page, &backup[(page - 1) * PAGE..][..PAGE]);
    assert_eq!(files.look().orders().await, 1, "the refused order was not stored");
}
