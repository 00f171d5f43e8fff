//! Whoever connects without a name looks at everything and changes nothing.

use async_nats::{ConnectOptions, jetstream};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::guest::{ANSWER, Guest, INVENTORY, ORDER, furnish, messages};

#[tokio::test]
async fn the_observer_sees_events_and_reads_states() {
    let (broker, operator) = furnish().await;
    let mut guest = Guest::new(&broker, "observer").await;
    let open = ["order_created", "order_processed", "_INBOX.>", "_INBOX.mine.*"];
    assert_eq!(guest.denied_to_subscribe(&open).await, Vec::<&str>::new());

    assert_eq!(guest.ask("STREAM.NAMES", "").await["streams"][0], "ORDERS");
    assert_eq!(guest.ask("STREAM.LIST", "").await["streams"][0]["config"]["name"], "ORDERS");
    assert_eq!(guest.ask("STREAM.INFO.ORDERS", "").await["state"]["messages"], 2);
    assert_eq!(guest.ask("CONSUMER.NAMES.ORDERS", "").await["total"], 2);
    assert_eq!(guest.ask("CONSUMER.LIST.ORDERS", "").await["total"], 2);
    for consumer in ["order-service", "inventory-service"] {
        assert_eq!(guest.ask(&format!("CONSUMER.INFO.ORDERS.{consumer}"), "").await["name"], consumer);
    }
    let first = guest.ask("STREAM.MSG.GET.ORDERS", r#"{"seq":1}"#).await;
    assert_eq!(first["message"]["subject"], "order_created");
    guest.ask("INFO", "").await;

    let mut both = futures_util::stream::select(
        guest.client.subscribe("order_created").await.unwrap(),
        guest.client.subscribe("order_processed").await.unwrap(),
    );
    guest.complaints_so_far().await;
    for names in [ORDER, INVENTORY] {
        let service = jetstream::new(broker.connect(names.user).await);
        for publisher in [&service, &operator] {
            publisher.publish(names.publishes, "seen".into()).await.unwrap().await.unwrap();
            let event = timeout(ANSWER, both.next()).await.unwrap().unwrap();
            assert_eq!((event.subject.as_str(), &event.payload[..]), (names.publishes, &b"seen"[..]));
        }
    }
}

#[tokio::test]
async fn the_observer_changes_nothing() {
    let (broker, operator) = furnish().await;
    let mut guest = Guest::new(&broker, "observer").await;
    let forbidden = [
        "order_created",
        "order_processed",
        "anything",
        "$JS.API.STREAM.CREATE.ORDERS",
        "$JS.API.STREAM.CREATE.OTHER",
        "$JS.API.STREAM.UPDATE.ORDERS",
        "$JS.API.STREAM.DELETE.ORDERS",
        "$JS.API.STREAM.PURGE.ORDERS",
        "$JS.API.STREAM.MSG.DELETE.ORDERS",
        "$JS.API.STREAM.RESTORE.ORDERS",
        "$JS.API.CONSUMER.CREATE.ORDERS",
        "$JS.API.CONSUMER.CREATE.ORDERS.mine",
        "$JS.API.CONSUMER.CREATE.ORDERS.mine.order_created",
        "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mine",
        "$JS.API.CONSUMER.DELETE.ORDERS.order-service",
        "$JS.API.CONSUMER.PAUSE.ORDERS.order-service",
        "$JS.API.CONSUMER.RESET.ORDERS.inventory-service",
        "$JS.API.CONSUMER.MSG.NEXT.ORDERS.inventory-service",
        "$JS.API.DIRECT.GET.ORDERS",
        "$JS.API.DIRECT.GET.ORDERS.order_created",
        "$JS.ACK.ORDERS.inventory-service.1.1.1.1.1",
        "_INBOX.x",
        "_INBOX_order.x",
        "_INBOX_inventory.x",
        "_R_.x",
        "$SYS.REQ.SERVER.PING",
    ];
    assert_eq!(guest.denied_to_publish(&forbidden).await, forbidden);
    let closed = [
        ">",
        "*",
        "order_created.>",
        "_INBOX_order.>",
        "_INBOX_inventory.>",
        "_INBOX_operator.>",
        "$JS.>",
        "$SYS.>",
    ];
    assert_eq!(guest.denied_to_subscribe(&closed).await, closed);
    assert_eq!(messages(&operator).await, 2);
}

#[tokio::test]
async fn a_forged_answer_reaches_neither_the_stream_nor_anybody() {
    let (broker, operator) = furnish().await;
    let mut watcher = Guest::new(&broker, "observer").await;
    let mut answers = watcher.client.subscribe("order_processed").await.unwrap();
    watcher.complaints_so_far().await;
    for user in ["observer", "order"] {
        let mut guest = Guest::new(&broker, user).await;
        assert_eq!(guest.denied_to_publish(&["order_processed"]).await, ["order_processed"], "{user}");
    }
    let mut inventory = Guest::new(&broker, "inventory").await;
    assert_eq!(inventory.denied_to_publish(&["order_created"]).await, ["order_created"]);
    assert_eq!(messages(&operator).await, 2);
    let genuine = jetstream::new(inventory.client.clone());
    let ack = genuine.publish("order_processed", "genuine".into()).await.unwrap().await.unwrap();
    assert_eq!(ack.sequence, 3);
    assert_eq!(&timeout(ANSWER, answers.next()).await.unwrap().unwrap().payload[..], b"genuine");
}

/// Events carry the subject of their PubAck. With `allow_responses` every observer could answer there.
#[tokio::test]
async fn whoever_sees_an_event_can_neither_answer_in_the_brokers_name_nor_read_the_answer() {
    let (broker, _) = furnish().await;
    let mut guest = Guest::new(&broker, "observer").await;
    let mut events = guest.client.subscribe("order_created").await.unwrap();
    let mut replies = guest.client.subscribe("_INBOX.>").await.unwrap();
    guest.complaints_so_far().await;
    let order = jetstream::new(broker.connect("order").await);
    let ack = order.publish("order_created", "true".into()).await.unwrap();
    let event = timeout(ANSWER, events.next()).await.unwrap().unwrap();
    let reply = event.reply.expect("the event shows where its PubAck goes");
    assert!(reply.starts_with("_INBOX_order."), "{reply}");
    assert_eq!(guest.denied_to_publish(&[reply.as_str()]).await, [reply.as_str()]);
    assert_eq!(ack.await.unwrap().sequence, 3);
    // Not even the operator's replies, which have no prefix of their own: another account has other subjects.
    let password = processes::broker::password("operator");
    let operator = ConnectOptions::with_user_and_password("operator".to_owned(), password);
    let operator = operator.connect(broker.url()).await.unwrap();
    operator.request("$JS.API.INFO", "".into()).await.unwrap();
    guest.client.publish_with_reply("$JS.API.STREAM.NAMES", "_INBOX.marker", "".into()).await.unwrap();
    let first = timeout(ANSWER, replies.next()).await.unwrap().unwrap();
    assert_eq!(first.subject.as_str(), "_INBOX.marker", "no reply to anybody else was seen");
}
