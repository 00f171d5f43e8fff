//! `GET /orders/events`: every change once, in order, however often a client comes back.

use std::time::{Duration, Instant};

use serde_json::json;
use shared::clock::now_ms;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::fixture::events::{Events, watch, watch_request};
use crate::fixture::nats::cancelled;
use crate::fixture::raw::{connect, head};
use crate::fixture::signer::hmac_token;
use crate::fixture::{
    App, CONTRACT, Caller, Db, Publisher, SECRET, alone, alone_with_alice, answer_to, connected, wait_until,
};

/// Stores orders of a user behind the service's back, which makes one change each.
async fn store_orders(look: &Db, user: &str, count: usize) {
    look.change(&format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
         INSERT INTO orders (id, user_id, product_id, quantity, status, created_at, traceparent, sent_at)
         SELECT format('{user}-%06d', n), '{user}', '1', 1, 'created', 1, '00-a-b-01', 1 FROM numbers"
    ))
    .await;
}

#[tokio::test]
async fn a_change_is_an_event_with_the_id_to_resume_from() {
    let (_files, broker, app, alice) = connected().await;
    let inventory = Publisher::inventory(&broker).await;
    alice.place("1", 1).await;
    let mut events = watch(&alice, None).await;
    assert_eq!(events.start, 1, "the newest change, although no event came yet");
    let id = alice.place("1", 1).await;
    let created = events.next().await.unwrap();
    inventory.publish(&cancelled(&id, "unknown_product")).await;
    let settled = events.next().await.unwrap();
    let order = alice.order(&id).await;
    assert_eq!((created.id, created.name.as_str()), (Some(2), "order"));
    assert_eq!(created.data, json!({"orderId": id, "status": "created", "at": order["createdAt"]}));
    assert_eq!(settled.id, Some(3));
    let expected =
        json!({"orderId": id, "status": "cancelled", "reason": "unknown_product", "at": order["settledAt"]});
    assert_eq!(settled.data, expected);

    let mut again = watch(&alice, Some(1)).await;
    assert_eq!(again.start, 1, "a client that loses this stream at once resumes from the same place");
    assert_eq!((again.next().await.unwrap(), again.next().await.unwrap()), (created, settled));
    drop((events, again));
    app.stop().await;
}

/// The first event of a stream as it stands, and then the connection is cut.
async fn cut_after_the_first_event(app: &App, target: &str) -> String {
    let mut stream = connect(&app.url).await;
    stream.write_all((head("GET", target, "alice") + "\r\n").as_bytes()).await.unwrap();
    let (mut received, mut buffer) = (String::new(), [0; 1024]);
    while !received.contains("\n\n") {
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the stream goes on: {received}");
        received += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    received
}

#[tokio::test]
async fn a_client_cut_after_the_first_event_resumes_from_its_id_by_header_or_by_parameter() {
    let (_files, app, alice) = alone_with_alice().await;
    alice.place("1", 1).await;
    let first = cut_after_the_first_event(&app, "/orders/events").await;
    // Parsers differ in what becomes of the id of an event without data; none loses that of one with data.
    assert!(first.contains("event: ready\nid: 1\nretry: 1000\ndata: {}\n\n"), "{first}");
    let missed = [alice.place("1", 1).await, alice.place("2", 1).await];
    for (by, path, header) in [
        ("header", "/orders/events", Some("1")),
        ("parameter", "/orders/events?lastEventId=1", None),
        ("parameter among others", "/orders/events?a=b&lastEventId=1&c", None),
        // As a browser does whose URL already had the parameter.
        ("header before parameter", "/orders/events?lastEventId=3", Some("1")),
    ] {
        let mut request = alice.request(reqwest::Method::GET, path);
        if let Some(id) = header {
            request = request.header("Last-Event-ID", id);
        }
        let mut events = Events::open(request).await;
        assert_eq!(events.start, 1, "{by}");
        assert_eq!([events.change().await.0, events.change().await.0], missed, "{by}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_carries_heartbeats() {
    let (_files, app) = alone(&[]).await;
    let mut response = CONTRACT.send(watch_request(&app.user("alice"), None)).await;
    let mut text = String::new();
    // A comment is a line that begins with a colon; clients pass it over.
    let heartbeat = async {
        while !text.contains("\n: heartbeat\n") {
            let chunk = response.chunk().await.unwrap().expect("a stream that goes on");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(testing::DEADLINE, heartbeat).await.expect("a heartbeat in time");
    drop(response);
    app.stop().await;
}

/// Watches until every order of the user is settled, and comes back again and again meanwhile.
async fn watch_with_interruptions(caller: Caller, orders: usize) -> Vec<(i64, String, String)> {
    let (mut seen, mut last_id, mut settled) = (Vec::new(), Some(0), 0);
    while settled < orders {
        let mut events = watch(&caller, last_id).await;
        // A few events, more each time, and away.
        for _ in 0..seen.len() % 17 + 1 {
            let (order, status) = events.change().await;
            settled += usize::from(status != "created");
            seen.push((events.last_id, order, status));
            if settled == orders {
                break;
            }
        }
        last_id = Some(events.last_id);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_resumes_misses_no_change_and_sees_none_twice() {
    const USERS: usize = 4;
    const ORDERS: usize = 150;
    let (files, broker, app, _alice) = connected().await;
    let (mut watchers, mut posts) = (JoinSet::new(), JoinSet::new());
    for number in 0..USERS {
        let user = app.user(&format!("user-{number}"));
        watchers.spawn(watch_with_interruptions(user.clone(), ORDERS));
        let inventory = Publisher::inventory(&broker).await;
        posts.spawn(async move {
            for _ in 0..ORDERS {
                let id = user.place("1", 1).await;
                inventory.confirm(&id).await;
            }
        });
    }
    posts.join_all().await;
    let look = files.look();
    let mut owners = Vec::new();
    for seen in watchers.join_all().await {
        assert_eq!(seen.len(), 2 * ORDERS, "no change is missing and none came twice");
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "in the order of their ids");
        let owner = look.text(&format!("SELECT user_id FROM orders WHERE id = '{}'", seen[0].1)).await;
        let stored = look
            .texts(&format!(
                "SELECT id || ' ' || order_id || ' ' || status FROM status_changes WHERE user_id = '{owner}' ORDER BY id"
            ))
            .await;
        let seen: Vec<String> =
            seen.into_iter().map(|(id, order, status)| format!("{id} {order} {status}")).collect();
        assert_eq!(seen, stored, "a watcher sees its own orders only");
        owners.push(owner);
    }
    owners.sort_unstable();
    owners.dedup();
    assert_eq!(owners.len(), USERS);
    app.stop().await;
}

#[tokio::test]
async fn a_watcher_sees_only_its_own_orders() {
    let (_files, app) = alone(&[]).await;
    let (alice, bob, admin) = (app.user("alice"), app.user("bob"), app.admin());
    let (mut of_alice, mut of_admin) = (watch(&alice, None).await, watch(&admin, Some(0)).await);
    for _ in 0..5 {
        bob.place("1", 1).await;
    }
    let (id, of_operator) = (alice.place("1", 1).await, admin.place("1", 1).await);
    assert_eq!(of_alice.change().await.0, id);
    assert_eq!(of_admin.change().await.0, of_operator, "an admin, too");
    let mut resumed = watch(&alice, Some(0)).await;
    assert_eq!(resumed.change().await.0, id);
    drop((of_alice, of_admin, resumed));
    app.stop().await;
}

#[tokio::test]
async fn a_last_event_id_above_the_newest_is_taken_as_the_newest_and_nonsense_is_refused() {
    let (files, app, alice) = alone_with_alice().await;
    alice.place("1", 1).await;
    for (above, request) in [("7", 7), ("9223372036854775807", i64::MAX)] {
        let mut events = watch(&alice, Some(request)).await;
        assert_eq!(events.start, files.look().number("SELECT max(id) FROM status_changes").await, "{above}");
        let id = alice.place("1", 1).await;
        assert_eq!(events.change().await.0, id);
    }
    for nonsense in ["", "-1", "+1", "1.5", "abc", "1 2"] {
        let answer = answer_to(watch_request(&alice, None).header("Last-Event-ID", nonsense)).await;
        assert!(answer.refused("Last-Event-ID").starts_with("Last-Event-ID "), "{nonsense}");
    }
    answer_to(watch_request(&alice, Some(1)).header("Last-Event-ID", "1")).await.problem(400);
    for nonsense in ["", "-1", "+1", "%2B1", "1.5", "abc", "1&lastEventId=1"] {
        let path = format!("/orders/events?lastEventId={nonsense}");
        let answer = alice.get(&path).await;
        assert!(answer.refused("lastEventId").starts_with("lastEventId "), "{nonsense}");
    }
    let nobody = app.caller("");
    answer_to(watch_request(&nobody, None)).await.problem(401);
    app.stop().await;
}

#[tokio::test]
async fn a_watcher_that_was_away_for_long_gets_all_pages_and_then_what_is_new() {
    let (files, app, alice) = alone_with_alice().await;
    alice.place("1", 1).await;
    store_orders(&files.look(), "alice", 1_000).await;
    let mut events = watch(&alice, Some(1)).await;
    for number in 1..=1_000 {
        assert_eq!(events.change().await.0, format!("alice-{number:06}"));
    }
    let id = alice.place("1", 1).await;
    assert_eq!(events.change().await.0, id);
    app.stop().await;
}

/// A client that asks for a stream and then reads nothing, with as little room in its own buffers as it can have.
async fn deaf_watcher(app: &App, user: &str) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(app.url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
    stream.write_all((head("GET", "/orders/events", user) + "\r\n").as_bytes()).await.unwrap();
    // Its answer has begun, so it watches; the rest stays unread.
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test]
async fn a_slow_watcher_slows_nobody_and_is_closed() {
    let (files, app, alice) = alone_with_alice().await;
    let mut quick = watch(&alice, None).await;
    let mut deaf = deaf_watcher(&app, "alice").await;
    store_orders(&files.look(), "alice", 30_000).await;
    for number in 1..=30_000 {
        assert_eq!(quick.change().await.0, format!("alice-{number:06}"));
    }
    let started = Instant::now();
    let id = alice.place("1", 1).await;
    assert_eq!(quick.change().await.0, id);
    assert!(started.elapsed() < Duration::from_secs(5), "nobody waited for the other");

    // Whoever takes nothing for some seconds is closed. What was on its way still comes, and then the end.
    wait_until("only the quick one is left", || async {
        app.metrics().await.lines().any(|line| line == "http_requests_waiting 1")
    })
    .await;
    let metrics = app.metrics().await;
    let stalled = metrics.lines().find_map(|line| line.strip_prefix("http_connections_stalled_total "));
    assert!(stalled.is_some_and(|count| count != "0"), "{metrics}");
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), deaf.read_to_end(&mut rest)).await;
    end.expect("the stream ends").ok();
    assert!(!String::from_utf8_lossy(&rest).contains("alice-030000"), "it did not get everything");
    app.stop().await;
}

#[tokio::test]
async fn streams_end_with_the_drain() {
    let (_files, app) = alone(&[]).await;
    let mut streams = Vec::new();
    for number in 0..20 {
        streams.push(watch(&app.user(&format!("user-{number}")), None).await);
    }
    let started = Instant::now();
    app.stop().await;
    assert!(started.elapsed() < Duration::from_secs(8), "the drain did not wait for them");
    for mut stream in streams {
        assert_eq!(stream.next().await, None, "a stream ends whole");
    }
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_does_not_hold_up_the_drain() {
    let (files, app) = alone(&["--drain-seconds", "20"]).await;
    let mut quick = watch(&app.user("alice"), None).await;
    let _deaf = deaf_watcher(&app, "alice").await;
    store_orders(&files.look(), "alice", 30_000).await;
    for _ in 1..=30_000 {
        quick.change().await;
    }
    drop(quick);
    app.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let (_files, app) = alone(&[]).await;
    // It ends one to two seconds from now: a token is valid for 30 seconds beyond its `exp`.
    let exp = now_ms() / 1_000 - 29;
    // With a fraction, as some libraries write it; the leeway ends with a whole second all the same.
    let claims = json!({"sub": "alice", "exp": exp as f64 + 0.5});
    let token = hmac_token(json!({"alg": "HS256"}), SECRET.as_bytes(), &claims);
    let alice = app.caller(&token);
    let mut events = watch(&alice, None).await;
    let mut lasting = watch(&app.user("alice"), None).await;
    assert_eq!(events.next().await, None, "it ends, and nothing was to be told");
    assert!(now_ms() >= (exp + 31) * 1_000, "not before the token does");
    alice.get("/orders").await.problem(401);
    let id = app.user("alice").place("1", 1).await;
    assert_eq!(lasting.change().await.0, id, "another token goes on");
    app.stop().await;
}

#[tokio::test]
async fn the_path_of_the_stream_is_no_order_id() {
    let (_files, app) = alone(&[]).await;
    answer_to(app.user("alice").request(reqwest::Method::POST, "/orders/events")).await.problem(405);
    drop(watch(&app.user("alice"), None).await);
    app.stop().await;
}
