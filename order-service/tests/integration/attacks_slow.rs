//! Clients that take their time: each costs a connection for a few seconds, and nobody else anything.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fixture::process::{command, spawn_alone, spawn_command};
use crate::fixture::raw::{connect, drip, post_head, read_to_end, statuses};
use crate::fixture::{Caller, Files, NO_BROKER, alone};

/// A connection that does not deliver a whole head is closed within this time.
const CLOSED_WITHIN: Duration = Duration::from_secs(6);

#[tokio::test]
async fn headers_that_come_slowly_cost_only_their_own_connection() {
    let (files, app) = alone(&[]).await;
    let started = Instant::now();
    let slow = async || {
        let mut stream = connect(&app.url).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        drip(stream, b"X-Slow: y\r\n").await
    };
    let slow = join_all((0..50).map(|_| slow()));
    let idle = async { read_to_end(&mut connect(&app.url).await).await };
    let alice = app.user("alice");
    let others = async {
        let mut served = 0;
        while started.elapsed() < Duration::from_secs(4) {
            assert_eq!(alice.post("1", 1).await.status, 201);
            served += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        served
    };
    let closed = async {
        let answers = tokio::join!(slow, idle);
        (answers, started.elapsed())
    };
    let (((slow, idle), took), served) = tokio::join!(closed, others);
    assert!(took <= CLOSED_WITHIN, "closed after {took:?}");
    for answer in slow.iter().chain([&idle]) {
        assert_eq!(answer, "", "closed without an answer");
    }
    assert_eq!(files.look().orders().await, served);
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_answered_408() {
    let (files, app) = alone(&[]).await;
    for length in ["Content-Length: 10000", "Transfer-Encoding: chunked"] {
        let mut stream = connect(&app.url).await;
        stream.write_all(format!("{}{length}\r\n\r\n", post_head()).as_bytes()).await.unwrap();
        let answer = drip(stream, b"1\r\n \r\n").await;
        assert_eq!(statuses(&answer), ["408"], "{length}: {answer}");
        assert!(answer.contains("application/problem+json"), "{length}: {answer}");
    }
    assert_eq!(files.look().orders().await, 0);
}

/// Lets this process, and those that it starts, open this many files. False where the hard limit forbids it.
fn may_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return true;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: limit.maximum }).is_ok()
}

/// This many connections that have sent half a head each.
async fn idle_connections(url: &str, count: usize) -> Vec<TcpStream> {
    let open = async |_| {
        let mut stream = connect(url).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        stream
    };
    stream::iter(0..count).map(open).buffer_unordered(64).collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_leave_the_service_quick() {
    const IDLE: usize = 10_000;
    if !may_open(IDLE as u64 + 1_000) {
        eprintln!("SKIPPED: the hard limit of open files is below 11,000 (ulimit -Hn)");
        return;
    }
    let (_files, mut service) = spawn_alone(&[]).await;
    // Each lives for five seconds. Where opening them takes most of that time, it is tried again.
    let mut lasted = false;
    for _ in 0..5 {
        let idle = idle_connections(&service.url(), IDLE).await;
        let median = median_answer(&service.user("alice")).await;
        assert!(median < Duration::from_secs(1), "the median answer took {median:?}");
        lasted = idle.iter().filter(|stream| is_open(stream)).count() > IDLE / 2;
        if lasted {
            break;
        }
    }
    assert!(lasted, "most connections were closed before the service was asked: there was no attack");
    service.stop().await;
}

/// Asks for life and places an order, often; how long the former takes.
async fn median_answer(alice: &Caller) -> Duration {
    let mut times = Vec::new();
    for _ in 0..21 {
        let started = Instant::now();
        assert_eq!(alice.get("/livez").await.status, 200);
        times.push(started.elapsed());
        assert_eq!(alice.post("1", 1).await.status, 201);
    }
    times.sort_unstable();
    times[10]
}

fn is_open(stream: &TcpStream) -> bool {
    let would_block = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    stream.try_read(&mut [0]).is_err_and(would_block)
}

/// Idle connections must not take the descriptors that the database and the broker need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_file_descriptors_leave_some_for_the_database() {
    const DESCRIPTORS: u64 = 256;
    let files = Files::new();
    let mut command = command(&[]);
    command.env("DATABASE", files.database()).env("NATS_URL", NO_BROKER);
    let mut limited = tokio::process::Command::new("sh");
    let service = command.as_std();
    let environment =
        service.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    limited.env_clear().envs(environment);
    limited.args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$0\"")]).arg(service.get_program());
    let mut service = spawn_command(&files, limited).await;
    let alice = service.user("alice");
    // One connection that is kept, and more idle ones than there are descriptors.
    assert_eq!(alice.post("1", 1).await.status, 201);
    let idle = idle_connections(&service.url(), 2 * DESCRIPTORS as usize).await;
    for number in 0..50 {
        assert_eq!(alice.post("1", number + 1).await.status, 201, "over the kept connection");
        assert_eq!(alice.get("/orders").await.status, 200);
    }
    let newcomer = service.user("bob");
    drop(idle);
    assert_eq!(newcomer.post("1", 1).await.status, 201);
    assert!(!service.log().contains("not accepted"), "{}", service.log());
    service.stop().await;
    assert_eq!(files.look().orders().await, 52);
}
