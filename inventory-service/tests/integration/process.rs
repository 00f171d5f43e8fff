//! The real binary as a process: signals, sudden death, and a second one on the same file.

use std::time::{Duration, Instant};

use processes::Port;
use testing::service::run;
use testing::{Broker, wait_until};

use crate::fixture::{Home, Observer, Publisher, ServiceProcess, command, connection};

/// Orders that wait, many pulls' worth.
const BACKLOG: usize = 8_000;
/// `DRAIN_SECONDS` of the processes here.
const DRAIN: Duration = Duration::from_secs(10);

/// A service that is started again and again.
struct Runner {
    home: Home,
    seed: String,
}

impl Runner {
    /// Product 1 has `stock` and nothing else is sold.
    fn with_stock(home: Home, stock: i64) -> Self {
        let seed = home.write("seed.json", &format!(r#"[{{"productId":"1","stock":{stock}}}]"#));
        Self { home, seed }
    }

    async fn spawn(&self) -> ServiceProcess {
        let drain = DRAIN.as_secs().to_string();
        self.home.spawn(&["--seed-file", &self.seed, "--drain-seconds", &drain]).await
    }

    /// Waits until more than `before` orders of the backlog are decided.
    async fn until_it_has_decided_more_than(&self, before: i64) {
        let decided = async || self.home.reservations().await;
        wait_until("it decides the backlog", async || decided().await > before).await;
    }

    async fn until_all_is_decided_and_answered(&self) {
        self.home.until_reservations_are(BACKLOG).await;
        self.home.look().until_outbox_is_empty().await;
    }
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_backlog_exits_0_in_time_and_nothing_handled_comes_again() {
    let broker = Broker::start().await;
    connection(&broker).await;
    Publisher::order(&broker).await.backlog("order", BACKLOG).await;
    let runner = Runner::with_stock(Home::at(&broker), 3_000);
    let (observer, mut decided) = (Observer::of_answers(&broker).await, 0);
    for _ in 0..3 {
        let mut service = runner.spawn().await;
        runner.until_it_has_decided_more_than(decided).await;
        let started = Instant::now();
        let status = service.terminate().await;
        let took = started.elapsed();
        decided = runner.home.reservations().await;
        assert_eq!(status.code(), Some(0), "{}", service.log());
        assert!(took < DRAIN, "drained in {took:?}");
        assert!(decided < BACKLOG as i64, "all were decided before the signal; the test shows nothing");
        assert_eq!(runner.home.outbox().await, 0, "a drain sends what it has decided");
        wait_until("nothing is left that the process was given", async || {
            observer.unacknowledged().await == 0
        })
        .await;
    }

    let service = runner.spawn().await;
    runner.until_all_is_decided_and_answered().await;
    // A redelivery of something handled would be a repeat, and each repeat is answered again.
    let answers = observer.messages().await - BACKLOG as u64;
    assert_eq!(answers, BACKLOG as u64, "exactly one answer per order");
    let metrics = service.get("/metrics").await.1;
    let handled = |outcome: &str| {
        let line = format!(r#"messages_handled_total{{consumer="inventory-service",outcome="{outcome}"}} "#);
        metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse::<u64>().unwrap()
    };
    assert!(handled("cancelled") > 0 && handled("repeated") == 0, "{metrics}");
    assert_eq!(runner.home.stock("1").await, 0);
    runner.home.audit().await;
}

#[tokio::test]
async fn kill_9_in_the_middle_of_a_backlog_decides_every_order_once_in_the_end() {
    let broker = Broker::start().await;
    connection(&broker).await;
    Publisher::order(&broker).await.backlog("order", BACKLOG).await;
    let runner = Runner::with_stock(Home::at(&broker), 3_000);
    let mut service = runner.spawn().await;
    runner.until_it_has_decided_more_than(0).await;
    service.kill().await;
    let decided = runner.home.reservations().await;
    assert!((1..BACKLOG as i64).contains(&decided), "killed too late: {decided}");

    let _service = runner.spawn().await;
    runner.until_all_is_decided_and_answered().await;
    let confirmed = runner.home.number("SELECT count(*) FROM reservations WHERE status = 'confirmed'").await;
    assert_eq!((confirmed, runner.home.stock("1").await), (3_000, 0));
    let answers = Observer::of_answers(&broker).await.messages().await - BACKLOG as u64;
    assert!(answers >= BACKLOG as u64, "{answers} answers");
    runner.home.audit().await;
}

/// Neither a service nor a broker that is killed at any moment makes a database look like somebody else's.
#[tokio::test]
async fn ten_kills_in_a_row_under_load_never_make_a_service_doubt_its_database() {
    let broker = Broker::start().await;
    connection(&broker).await;
    let publisher = Publisher::order(&broker).await;
    let runner = Runner::with_stock(Home::at(&broker), BACKLOG as i64);
    let mut decided = -1;
    for round in 0..10 {
        publisher.backlog(&format!("round-{round}"), BACKLOG / 10).await;
        let mut service = runner.spawn().await;
        if round % 2 == 0 {
            runner.until_it_has_decided_more_than(decided).await;
        } else {
            // The moment in which the first generation of a start is written.
            wait_until("it has found the broker", async || {
                service.get("/readyz").await.1.contains(r#""broker":"connected""#)
            })
            .await;
        }
        service.kill().await;
        assert!(!service.log().contains("not the owner"), "{}", service.log());
        decided = runner.home.reservations().await;
        if round % 3 == 2 {
            broker.kill().await;
            broker.start_again().await;
        }
    }
    let service = runner.spawn().await;
    runner.until_all_is_decided_and_answered().await;
    assert!(service.get("/readyz").await.1.contains(r#""status":"ready""#));
    assert!(!service.log().contains("not the owner"), "{}", service.log());
    assert_eq!(runner.home.stock("1").await, 0);
    runner.home.audit().await;
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused_and_the_first_goes_on() {
    let home = Home::without_broker();
    let mut first = home.spawn(&[]).await;
    let error = run(command(&[]).args(home.arguments(&["--port", "0"]))).await.failure(1);
    for part in ["another process uses the database", "inventory.db", "DATABASE"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(first.get("/inventory").await.0, 200);
    // SIGTERM with nothing to do, and a file that is free again afterwards.
    first.stop().await;
    assert!(first.log().contains(r#""message":"drained""#), "{}", first.log());
    let mut again = home.spawn(&[]).await;
    again.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named_and_the_chosen_one_is_logged() {
    let (home, port) = (Home::without_broker(), Port::claim().unwrap().number().to_string());
    let service = home.spawn(&["--port", &port]).await;
    let address = format!(r#""address":"127.0.0.1:{port}""#);
    let log = service.log();
    let is_named = |line: &str| line.contains(r#""message":"listening""#) && line.contains(&address);
    assert!(log.lines().any(is_named), "{log}");
    let other = Home::without_broker();
    let error = run(command(&[]).args(other.arguments(&["--port", &port]))).await.errors;
    assert!(error.contains("PORT") && error.contains(&port), "{error}");
}
