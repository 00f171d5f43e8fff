//! The disk is full, or the file on it is damaged.

use std::{fs, path::Path};

use processes::{Logs, Port, Process};
use testing::{Broker, SmallDisk, wait_until};
use tokio::process::Command;

use crate::{
    bus::{Observer, Publisher, connection, order},
    fixture::{CONTRACT, Home},
};

/// Room for the WAL and the file that a probe makes.
const DISK_MEGABYTES: usize = 32;
/// What is left on a disk that is nearly full.
const ALMOST_FULL_BYTES: u64 = 128 << 10;
/// Orders that arrive while the disk is full; more than one delivery gives back.
const WAITING: usize = 300;

/// The real binary, with its log in the home.
struct Runner {
    process: Process,
    port: Port,
}

impl Runner {
    /// Runs `command` in the home, but with its database in another folder.
    fn start(home: &Home, mut command: Command, folder: &Path) -> Self {
        let port = Port::claim().unwrap();
        let (own, other) = (home.path("inventory.db"), folder.join("inventory.db"));
        let arguments = home.arguments(&["--port", &port.number().to_string(), "--log-format", "json"]);
        command.args(arguments.iter().map(Path::new).map(|word| if word == own { &other } else { word }));
        command.env("RUST_LOG", "info,shared=debug");
        let logs = Logs::Folder(home.folder.path().to_owned());
        Self { process: Process::spawn("inventory", command, &logs).unwrap(), port }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port.number());
        match CONTRACT.try_send(reqwest::Client::new().get(url)).await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    async fn until_readyz_is(&self, status: u16) {
        let what = format!("readyz answers {status}");
        wait_until(&what, async || self.get("/readyz").await.0 == status).await;
    }

    async fn until_metrics_show(&self, line: &str) {
        let what = format!("the metrics show {line}");
        wait_until(&what, async || self.get("/metrics").await.1.lines().any(|found| found == line)).await;
    }
}

#[tokio::test]
async fn orders_wait_at_the_broker_while_the_disk_is_full_and_are_decided_when_there_is_space() {
    let broker = Broker::start().await;
    connection(&broker).await;
    let home = Home::at(&broker);
    let Some(disk) = SmallDisk::over(&home.path("disk"), DISK_MEGABYTES) else { return };
    let seed = home.write("seed.json", r#"[{"productId":"1","stock":1000}]"#);
    let mut command = disk.command(env!("CARGO_BIN_EXE_inventory-service"));
    command.env("SEED_FILE", seed);
    let mut service = Runner::start(&home, command, disk.folder());
    service.until_readyz_is(200).await;
    let (publisher, observer) = (Publisher::new(&broker).await, Observer::new(&broker).await);
    publisher.backlog("before", 20).await;
    wait_until("the first orders are answered", async || observer.messages().await == 40).await;

    disk.fill();
    let mut filling = 0;
    while service.get("/readyz").await.0 == 200 {
        publisher.publish(order(&format!("filling-{filling}"), "1", 1)).await;
        filling += 1;
    }
    let (status, stock) = service.get("/inventory/1").await;
    assert_eq!(status, 200, "a read goes on");
    publisher.backlog("waiting", WAITING).await;
    let log = || fs::read_to_string(home.path("inventory.log")).unwrap();
    let until_tried = async |times: usize| {
        let tried = || log().matches("still not writable").count() >= times;
        wait_until(&format!("it was tried {times} times"), async || tried()).await;
    };
    until_tried(2).await;
    // Enough for a small write and not for a batch: to take that for writable would fail the same messages again and again.
    disk.give_back(ALMOST_FULL_BYTES);
    until_tried(4).await;
    assert!(!log().contains("database writable again"), "{}", log());
    assert_eq!(service.get("/inventory/1").await, (200, stock), "stock does not change");
    assert_eq!(service.get("/livez").await.0, 200);
    let complaints = log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    assert!(complaints < 20, "{}", log());

    disk.free();
    service.until_readyz_is(200).await;
    let (sent, left) = (20 + filling + WAITING, 1_000 - (20 + filling + WAITING));
    wait_until("every order is decided", async || {
        service.get("/inventory/1").await.1 == format!(r#"{{"productId":"1","stock":{left}}}"#)
    })
    .await;
    service.until_metrics_show("outbox_rows 0").await;

    // From here on the home's own look at its database is one at the copy.
    disk.copy_database("inventory.db", &home.path("inventory.db"));
    assert_eq!(home.reservations().await, sent as i64, "each order is decided once");
    assert_eq!(home.dead_letters().await, []);
    home.audit().await;
    assert_eq!(observer.messages().await, 2 * sent as u64, "each order is answered once");
    let status = service.process.terminate(testing::DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", log());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_what_to_do_until_it_is_replaced() {
    let home = Home::without_broker();
    home.start(&[]).await.stop().await;
    let (database, backup) = (home.path("inventory.db"), home.path("backup.db"));
    fs::copy(&database, &backup).unwrap();
    fs::write(&database, [0xA5; 16_384]).unwrap();
    for _ in 0..2 {
        let refusal = home.refusal(&[]).await;
        for part in ["inventory.db is damaged", "not a database", "Restore a backup"] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        assert!(home.path("inventory.db.suspect").exists());
    }

    fs::copy(&backup, &database).unwrap();
    let inventory = home.start(&[]).await;
    assert!(!home.path("inventory.db.suspect").exists(), "the backup passed its check");
    assert_eq!(inventory.json("/inventory/1").await["stock"], 10);
    inventory.stop().await;
    home.audit().await;
}
