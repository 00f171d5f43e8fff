//! A service does its work, and reaches nothing of the other's.

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::Config;
use futures_util::StreamExt;
use testing::Broker;

use crate::guest::{
    ANSWER, Guest, INVENTORY, Names, ORDER, consumer_config, furnish, messages, stream_config,
};

/// Everything that a service does with the broker, with the real client. Each step gets its answer, so
/// nothing is denied.
async fn a_service_can_do_its_work(names: &Names, other: &Names) {
    let broker = Broker::start().await;
    let guest = Guest::new(&broker, names.user).await;
    let context = jetstream::new(guest.client.clone());
    context.create_stream(stream_config()).await.unwrap();
    context.update_stream(Config { max_messages: 1000, ..stream_config() }).await.unwrap();
    let stream = context.get_stream("ORDERS").await.unwrap();
    context.query_account().await.unwrap();

    assert_eq!(context.publish(names.publishes, "mine".into()).await.unwrap().await.unwrap().sequence, 1);
    let operator = jetstream::new(broker.connect("operator").await);
    operator.publish(names.receives, "theirs".into()).await.unwrap().await.unwrap();
    operator.create_consumer_on_stream(consumer_config(other), "ORDERS").await.unwrap();

    let mut pulls: PullConsumer =
        context.create_consumer_on_stream(consumer_config(names), "ORDERS").await.unwrap();
    for _ in 0..2 {
        // Delivered, then once more because of the reset.
        let mut batch = pulls.batch().max_messages(1).expires(ANSWER).messages().await.unwrap();
        assert_eq!(&batch.next().await.unwrap().unwrap().payload[..], b"theirs");
        pulls.reset(None).await.unwrap();
    }
    let mut batch = pulls.batch().max_messages(1).expires(ANSWER).messages().await.unwrap();
    batch.next().await.unwrap().unwrap().double_ack().await.unwrap();
    for consumer in [names.consumer, other.consumer] {
        let found: PullConsumer = stream.get_consumer(consumer).await.unwrap();
        assert_eq!(found.cached_info().name, consumer);
    }
    for (sequence, body) in [(1, &b"mine"[..]), (2, b"theirs")] {
        assert_eq!(&stream.get_raw_message(sequence).await.unwrap().payload[..], body);
    }
}

#[tokio::test]
async fn the_order_service_can_do_its_work() {
    a_service_can_do_its_work(&ORDER, &INVENTORY).await;
}

#[tokio::test]
async fn the_inventory_service_can_do_its_work() {
    a_service_can_do_its_work(&INVENTORY, &ORDER).await;
}

/// Fills the places `{own}`, `{other}`, `{in}` and `{out}` of a list of subjects.
fn fill(subjects: &[&str], names: &Names, other: &Names) -> Vec<String> {
    let fill = |subject: &&str| {
        subject
            .replace("{own}", names.consumer)
            .replace("{other}", other.consumer)
            .replace("{in}", names.receives)
            .replace("{out}", names.publishes)
            .replace("{user}", names.user)
            .replace("{neighbour}", other.user)
    };
    subjects.iter().map(fill).collect()
}

#[tokio::test]
async fn a_service_may_publish_its_own_subject_and_use_its_own_consumer_and_nothing_else() {
    let (broker, operator) = furnish().await;
    for (names, other) in [(&ORDER, &INVENTORY), (&INVENTORY, &ORDER)] {
        let mut guest = Guest::new(&broker, names.user).await;
        let allowed = fill(
            &[
                "{out}",
                "$JS.API.INFO",
                "$JS.API.STREAM.INFO.ORDERS",
                "$JS.API.STREAM.CREATE.ORDERS",
                "$JS.API.STREAM.UPDATE.ORDERS",
                "$JS.API.CONSUMER.INFO.ORDERS.{own}",
                "$JS.API.CONSUMER.INFO.ORDERS.{other}",
                "$JS.API.CONSUMER.CREATE.ORDERS.{own}.{in}",
                "$JS.API.CONSUMER.RESET.ORDERS.{own}",
                "$JS.API.CONSUMER.MSG.NEXT.ORDERS.{own}",
                "$JS.API.STREAM.MSG.GET.ORDERS",
                "$JS.ACK.ORDERS.{own}.1.1.1.1.1",
            ],
            names,
            other,
        );
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        assert_eq!(guest.denied_to_publish(&allowed).await, Vec::<&str>::new(), "{} may", names.user);

        let forbidden = fill(
            &[
                "{in}",
                "{out}.more",
                "anything",
                "$JS.API.STREAM.NAMES",
                "$JS.API.STREAM.INFO.OTHER",
                "$JS.API.STREAM.CREATE.OTHER",
                "$JS.API.STREAM.UPDATE.OTHER",
                "$JS.API.STREAM.DELETE.ORDERS",
                "$JS.API.STREAM.PURGE.ORDERS",
                "$JS.API.STREAM.MSG.DELETE.ORDERS",
                "$JS.API.STREAM.RESTORE.ORDERS",
                "$JS.API.STREAM.SNAPSHOT.ORDERS",
                "$JS.API.CONSUMER.CREATE.ORDERS",
                "$JS.API.CONSUMER.CREATE.ORDERS.{own}",
                "$JS.API.CONSUMER.CREATE.ORDERS.{own}.{out}",
                "$JS.API.CONSUMER.CREATE.ORDERS.{other}",
                "$JS.API.CONSUMER.CREATE.ORDERS.{other}.{out}",
                "$JS.API.CONSUMER.CREATE.ORDERS.mine.{in}",
                "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.{own}",
                "$JS.API.CONSUMER.DELETE.ORDERS.{own}",
                "$JS.API.CONSUMER.DELETE.ORDERS.{other}",
                "$JS.API.CONSUMER.PAUSE.ORDERS.{own}",
                "$JS.API.CONSUMER.RESET.ORDERS.{other}",
                "$JS.API.CONSUMER.MSG.NEXT.ORDERS.{other}",
                "$JS.API.DIRECT.GET.ORDERS",
                "$JS.API.DIRECT.GET.OTHER",
                "$JS.ACK.ORDERS.{other}.1.1.1.1.1",
                "_INBOX_{user}.x",
                "_INBOX_{neighbour}.x",
                "_INBOX.x",
                "$SYS.REQ.SERVER.PING",
            ],
            names,
            other,
        );
        let forbidden: Vec<&str> = forbidden.iter().map(String::as_str).collect();
        assert_eq!(guest.denied_to_publish(&forbidden).await, forbidden, "{} may not", names.user);

        let own_inbox = format!("_INBOX_{}.>", names.user);
        assert_eq!(guest.denied_to_subscribe(&[&own_inbox]).await, Vec::<&str>::new());
        let neighbours_inbox = format!("_INBOX_{}.>", other.user);
        let closed = [
            "order_created",
            "order_processed",
            ">",
            "*",
            "_INBOX.>",
            "_INBOX.*",
            &neighbours_inbox,
            "_INBOX_operator.>",
            "$JS.>",
            "$SYS.>",
        ];
        assert_eq!(guest.denied_to_subscribe(&closed).await, closed, "{} may not", names.user);
    }
    assert_eq!(messages(&operator).await, 4, "one more event of each service, on its own subject");
}
