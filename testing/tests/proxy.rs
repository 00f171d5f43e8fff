//! The proxy between a service and the broker, as a real client sees it.

#![allow(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use processes::proxy::{Direction, Link, Proxy};
use testing::{Broker, wait_until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far more than a round trip on this machine takes, and less than a client waits before it gives a
/// connection up.
const SILENCE: Duration = Duration::from_millis(300);

async fn proxied() -> (Broker, Proxy) {
    let broker = Broker::start().await;
    let proxy = Proxy::start((Ipv4Addr::LOCALHOST, broker.port()).into()).unwrap();
    (broker, proxy)
}

async fn client(proxy: &Proxy) -> async_nats::Client {
    async_nats::ConnectOptions::with_user_and_password(
        "operator".to_owned(),
        "operator-demo-password".to_owned(),
    )
    .reconnect_delay_callback(|_| Duration::from_millis(20))
    .connect(format!("nats://127.0.0.1:{}", proxy.port()))
    .await
    .unwrap()
}

/// Whether a request over the link is answered before `patience` ends.
async fn answers(client: &async_nats::Client, patience: Duration) -> bool {
    timeout(patience, client.request("$JS.API.INFO", "".into())).await.is_ok_and(|answer| answer.is_ok())
}

/// A connection that has read the broker's greeting, and speaks for itself.
async fn greeted(proxy: &Proxy) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap());
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("INFO "), "{line}");
    stream
}

#[tokio::test]
async fn what_passes_arrives_whole_and_in_order() {
    let (_broker, proxy) = proxied().await;
    let client = client(&proxy).await;
    let mut messages = client.subscribe("through.the.proxy").await.unwrap();
    let bodies: Vec<Vec<u8>> =
        (0..200_u8).map(|number| vec![number; 1 + usize::from(number) * 997]).collect();
    for body in &bodies {
        client.publish("through.the.proxy", body.clone().into()).await.unwrap();
    }
    for body in &bodies {
        let message =
            timeout(Duration::from_secs(5), messages.next()).await.expect("a message in time").unwrap();
        assert_eq!(message.payload, *body);
    }
}

#[tokio::test]
async fn a_cut_closes_connections_and_refuses_new_ones_until_it_is_mended() {
    let (_broker, proxy) = proxied().await;
    let client = client(&proxy).await;
    let mut open = greeted(&proxy).await;
    proxy.set(Link::Cut);
    let end = timeout(Duration::from_secs(5), open.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(end.unwrap(), 0, "the open connection ends without another byte");
    wait_until("new connections are refused", async || {
        let error = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.err();
        error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
    assert!(!answers(&client, SILENCE).await, "a request crossed a link that is cut");
    proxy.set(Link::Pass);
    wait_until("the client is connected again", async || answers(&client, Duration::from_secs(1)).await)
        .await;
}

#[tokio::test]
async fn a_stalled_direction_delivers_late_and_the_other_one_at_once() {
    let (_broker, proxy) = proxied().await;
    let mut stream = greeted(&proxy).await;
    proxy.set(Link::Stall(Direction::FromBroker));
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.unwrap();
    let mut line = String::new();
    assert!(timeout(SILENCE, stream.read_line(&mut line)).await.is_err(), "{line} crossed a stalled link");
    proxy.set(Link::Pass);
    timeout(Duration::from_secs(5), stream.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "PONG\r\n");

    proxy.set(Link::Stall(Direction::ToBroker));
    let mut fresh = greeted(&proxy).await;
    fresh.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.unwrap();
    line.clear();
    assert!(timeout(SILENCE, fresh.read_line(&mut line)).await.is_err(), "{line} answers what was held back");
    proxy.set(Link::Pass);
    timeout(Duration::from_secs(5), fresh.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "PONG\r\n");
}

#[tokio::test]
async fn a_slow_link_delays_every_answer_by_its_latency_twice() {
    let (_broker, proxy) = proxied().await;
    let client = client(&proxy).await;
    let latency = Duration::from_millis(80);
    proxy.set(Link::Slow { latency, jitter: Duration::from_millis(40) });
    let start = Instant::now();
    assert!(answers(&client, Duration::from_secs(10)).await);
    assert!(start.elapsed() >= latency * 2, "there and back took {:?}", start.elapsed());
}

#[tokio::test]
async fn a_reset_ends_the_present_connections_and_no_other() {
    let (_broker, proxy) = proxied().await;
    let mut stream = greeted(&proxy).await;
    proxy.reset();
    let error =
        timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    greeted(&proxy).await;
}

#[tokio::test]
async fn a_broker_that_is_away_ends_the_connection_and_not_the_proxy() {
    let (broker, proxy) = proxied().await;
    broker.kill().await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    broker.start_again().await;
    greeted(&proxy).await;
}
