//! The server answers wherever the reply subject says, with its own rights. Whoever sends a request can
//! therefore have its answer published in its own account: as an event, as another request, as an
//! acknowledgement. Here everybody tries to.

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use serde_json::json;
use testing::Broker;
use tokio::time::timeout;

use crate::guest::{
    ANSWER, Guest, INVENTORY, Names, ORDER, consumer_config, furnish, messages, stream_config,
};
use crate::picture::Picture;

/// Where an answer would do harm. `1.1.1.1.1` and `1.2.2.1.1` are what the consumers have delivered.
const TARGETS: &[&str] = &[
    "order_created",
    "order_processed",
    "$JS.API.STREAM.CREATE.ORDERS",
    "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.STREAM.UPDATE.ORDERS",
    "$JS.API.STREAM.DELETE.ORDERS",
    "$JS.API.STREAM.PURGE.ORDERS",
    "$JS.API.STREAM.MSG.DELETE.ORDERS",
    "$JS.API.STREAM.RESTORE.ORDERS",
    "$JS.API.STREAM.SNAPSHOT.ORDERS",
    "$JS.API.STREAM.LEADER.STEPDOWN.ORDERS",
    "$JS.API.STREAM.PEER.REMOVE.ORDERS",
    "$JS.API.CONSUMER.CREATE.ORDERS",
    "$JS.API.CONSUMER.CREATE.ORDERS.mine",
    "$JS.API.CONSUMER.CREATE.ORDERS.order-service.order_processed",
    "$JS.API.CONSUMER.CREATE.ORDERS.inventory-service.order_created",
    "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mine",
    "$JS.API.CONSUMER.DELETE.ORDERS.order-service",
    "$JS.API.CONSUMER.DELETE.ORDERS.inventory-service",
    "$JS.API.CONSUMER.PAUSE.ORDERS.order-service",
    "$JS.API.CONSUMER.PAUSE.ORDERS.inventory-service",
    "$JS.API.CONSUMER.RESET.ORDERS.order-service",
    "$JS.API.CONSUMER.RESET.ORDERS.inventory-service",
    "$JS.API.CONSUMER.UNPIN.ORDERS.inventory-service",
    "$JS.API.CONSUMER.LEADER.STEPDOWN.ORDERS.inventory-service",
    "$JS.API.CONSUMER.MSG.NEXT.ORDERS.order-service",
    "$JS.API.CONSUMER.MSG.NEXT.ORDERS.inventory-service",
    "$JS.API.ACCOUNT.PURGE.STREAM",
    "$JS.ACK.ORDERS.order-service.1.2.1.1.1",
    "$JS.ACK.ORDERS.inventory-service.1.1.1.1.1",
    "$JS.ACK.>",
    "_R_.forged.reply",
    "_GR_.forged.reply",
    "$SYS.REQ.SERVER.PING",
];

type Request = (String, String);

fn request(subject: &str, body: impl ToString) -> Request {
    (format!("$JS.API.{subject}"), body.to_string())
}

/// What anybody may ask, in every form that is answered in a way of its own: with JSON, with a bare message,
/// or with an empty body, which is a valid request to delete.
fn questions() -> Vec<Request> {
    let mut questions: Vec<Request> = [
        "INFO",
        "STREAM.NAMES",
        "STREAM.LIST",
        "STREAM.INFO.ORDERS",
        "CONSUMER.NAMES.ORDERS",
        "CONSUMER.LIST.ORDERS",
        "CONSUMER.INFO.ORDERS.order-service",
        "CONSUMER.INFO.ORDERS.inventory-service",
        "DIRECT.GET.ORDERS.order_created",
    ]
    .map(|subject| request(subject, ""))
    .to_vec();
    for body in [r#"{"seq":1}"#, r#"{"seq":999999}"#, r#"{"seq":1,"batch":9}"#, "no JSON"] {
        let calls = ["STREAM.MSG.GET.ORDERS", "DIRECT.GET.ORDERS"];
        questions.extend(calls.map(|subject| request(subject, body)));
    }
    questions
}

/// What a service may send beside that: its event, what makes the stream and its consumer as they are, pulls,
/// and acknowledgements of which some are pulls as well.
fn work(names: &Names) -> Vec<Request> {
    let Names { consumer, receives, publishes, .. } = names;
    let mut work = questions();
    work.push(((*publishes).to_owned(), "true".to_owned()));
    for call in ["CREATE", "UPDATE"] {
        work.push(request(&format!("STREAM.{call}.ORDERS"), json!(stream_config())));
    }
    let config = json!({"stream_name": "ORDERS", "config": jetstream_config(names)});
    work.push(request(&format!("CONSUMER.CREATE.ORDERS.{consumer}.{receives}"), config));
    for body in ["", r#"{"batch":5,"no_wait":true}"#, r#"{"batch":1,"expires":100000000}"#] {
        work.push(request(&format!("CONSUMER.MSG.NEXT.ORDERS.{consumer}"), body));
    }
    let delivered = if *consumer == ORDER.consumer { "1.2.1.1.1" } else { "1.1.1.1.1" };
    for kind in ["", "+ACK", "-NAK", "+WPI", "+NXT", r#"+NXT {"batch":5,"no_wait":true}"#, "+TERM"] {
        work.push((format!("$JS.ACK.ORDERS.{consumer}.{delivered}"), kind.to_owned()));
    }
    work.push(request(&format!("CONSUMER.RESET.ORDERS.{consumer}"), ""));
    work
}

fn jetstream_config(names: &Names) -> async_nats::jetstream::consumer::Config {
    use async_nats::jetstream::consumer::IntoConsumerConfig;
    consumer_config(names).into_consumer_config()
}

/// Headers beside an answer's way: none, any, a forged note of the server's own about who asks, and the one
/// that has the server report on a message's way to a subject.
fn headers(target: &str) -> [HeaderMap; 4] {
    let with = |name: &str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        headers
    };
    [
        HeaderMap::new(),
        with("ce-id", "forged"),
        with("Nats-Request-Info", r#"{"acc":"STREAM","svc":"STREAM","user":"operator"}"#),
        with("Nats-Trace-Dest", target),
    ]
}

/// Sends every request with every kind of headers, and has the answers sent to every one of `targets`.
async fn attack(guest: &Guest, requests: &[Request], targets: impl Iterator<Item = &'static str>) {
    for target in targets {
        for (subject, body) in requests {
            for headers in headers(target) {
                let (subject, body) = (subject.clone(), body.clone().into());
                guest.client.publish_with_reply_and_headers(subject, target, headers, body).await.unwrap();
            }
        }
        // Behind all of it, and no more at once than the server takes on.
        guest.ask("INFO", "").await;
    }
}

/// Furnished, and each consumer has delivered its first message, which waits for its acknowledgement. The
/// operator beside the broker.
async fn furnished_and_delivered() -> (Broker, Guest) {
    let (broker, context) = furnish().await;
    for names in [ORDER, INVENTORY] {
        let pulls: PullConsumer = context.get_consumer_from_stream(names.consumer, "ORDERS").await.unwrap();
        let mut batch = pulls.batch().max_messages(1).expires(ANSWER).messages().await.unwrap();
        batch.next().await.unwrap().unwrap();
    }
    let operator = Guest::new(&broker, "operator").await;
    (broker, operator)
}

#[tokio::test]
async fn an_observer_changes_nothing_wherever_it_has_the_answers_sent() {
    let (broker, operator) = furnished_and_delivered().await;
    let before = Picture::take(&operator).await;
    let observer = Guest::new(&broker, "observer").await;
    attack(&observer, &questions(), TARGETS.iter().copied()).await;
    Picture::take(&operator).await.assert_untouched_since(&before, None);
}

#[tokio::test]
async fn a_flood_of_questions_whose_answers_should_be_events_stores_nothing() {
    let (broker, operator) = furnish().await;
    let observer = Guest::new(&broker, "observer").await;
    for _ in 0..20 {
        for _ in 0..1_000 {
            let question = "$JS.API.STREAM.INFO.ORDERS";
            observer.client.publish_with_reply(question, "order_created", "".into()).await.unwrap();
        }
        // No more at once than the server takes on.
        observer.ask("INFO", "").await;
    }
    assert_eq!(messages(&operator).await, 2);
}

/// The services live beside the stream, where an answer may become an event or a request. The server itself
/// takes none for an acknowledgement, and reports on a message's way only where its sender may publish.
#[tokio::test]
async fn a_service_cannot_have_an_answer_acknowledge_what_the_other_one_was_given() {
    let (broker, operator) = furnished_and_delivered().await;
    for names in [ORDER, INVENTORY] {
        let before = Picture::take(&operator).await;
        let service = Guest::new(&broker, names.user).await;
        let reserved = |target: &&str| !target.starts_with("order_") && !target.starts_with("$JS.API.");
        attack(&service, &work(&names), TARGETS.iter().copied().filter(reserved)).await;
        Picture::take(&operator).await.assert_untouched_since(&before, Some(&names));
    }
}

#[tokio::test]
async fn a_service_cannot_have_a_report_on_a_messages_way_become_an_event_or_a_request() {
    let (broker, operator) = furnished_and_delivered().await;
    for names in [ORDER, INVENTORY] {
        let before = Picture::take(&operator).await;
        let service = Guest::new(&broker, names.user).await;
        let work = work(&names);
        let is_own = |target: &str| work.iter().any(|(subject, _)| subject == target);
        for target in TARGETS.iter().filter(|target| !is_own(target)) {
            for (subject, body) in &work {
                let [.., traced] = headers(target);
                let body = body.clone().into();
                service.client.publish_with_headers(subject.clone(), traced, body).await.unwrap();
            }
        }
        service.ask("INFO", "").await;
        Picture::take(&operator).await.assert_untouched_since(&before, Some(&names));
    }
}

/// What the tests above rest on: each question is answered where its reply subject says.
#[tokio::test]
async fn what_an_observer_asks_is_answered_where_it_asked_for() {
    let (broker, _) = furnish().await;
    let mut observer = Guest::new(&broker, "observer").await;
    let mut answers = observer.client.subscribe("order_created").await.unwrap();
    observer.complaints_so_far().await;
    let question = "$JS.API.STREAM.INFO.ORDERS";
    observer.client.publish_with_reply(question, "order_created", "".into()).await.unwrap();
    let answer = timeout(ANSWER, answers.next()).await.unwrap().unwrap();
    assert!(answer.payload.starts_with(b"{\"type\""), "{answer:?}");
}
