//! The feed's steps, one by one.

use order_service::orders::feed::{Feed, FeedReader, Read, Subscription, Topic};
use order_service::orders::settlement::SettleOrders;
use shared::contract::subjects::ORDER_PROCESSED;
use shared::delivery::handler::AnyHandler;
use testing::service::delivery;

use crate::fixture::nats::confirmed;
use crate::fixture::parts::Parts;

/// The ids of the orders that the next changes are about, with their status.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<(String, String)> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let change = subscription.next().await.expect("nothing was dropped");
        taken.push((change.order_id.clone(), change.status.to_string()));
    }
    taken
}

async fn confirm(parts: &Parts, id: &str) {
    let delivery = delivery(ORDER_PROCESSED, confirmed(id));
    let mut tx = parts.database.begin().await.unwrap();
    SettleOrders.decide(&mut tx, vec![&delivery]).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn each_change_is_handed_once_and_only_to_those_whom_it_concerns() {
    let (_files, parts) = Parts::alone().await;
    parts.place(3, 1_000).await;
    let feed = Feed::default();
    let mut reader = FeedReader::new(parts.database.clone(), feed.clone());
    assert_eq!(reader.read_once().await.unwrap(), Read::Unwanted);

    let (mut alice, mut bob) =
        (feed.subscribe(Topic::User("alice".to_owned())), feed.subscribe(Topic::User("bob".to_owned())));
    assert_eq!(reader.read_once().await.unwrap(), Read::All(0), "what was there before is nobody's news");
    for early in [&mut alice, &mut bob] {
        assert!(early.next().await.is_none(), "what it read may be older than where the reader begins");
    }
    let orders = parts.place(2, 2_000).await;
    let mut one = feed.subscribe(Topic::Order(orders[1].id.clone()));
    assert_eq!(reader.read_once().await.unwrap(), Read::All(2));
    confirm(&parts, &orders[1].id).await;
    assert_eq!(reader.read_once().await.unwrap(), Read::All(1));
    assert_eq!(reader.read_once().await.unwrap(), Read::All(0));
    let change = |number: usize, status: &str| (orders[number].id.clone(), status.to_owned());
    let all = [change(0, "created"), change(1, "created"), change(1, "confirmed")];
    assert_eq!(take(&mut alice, 3).await, all);
    assert_eq!(take(&mut one, 2).await, all[1..]);
    let nothing = tokio::time::timeout(std::time::Duration::ZERO, bob.next()).await;
    assert!(nothing.is_err(), "bob has no orders");

    assert_eq!(feed.topics_count(), 3);
    let second = feed.subscribe(Topic::User("alice".to_owned()));
    drop((alice, bob, one));
    assert_eq!(feed.topics_count(), 1, "somebody still listens");
    drop(second);
    assert_eq!(feed.topics_count(), 0);
    parts.place(1, 3_000).await;
    assert_eq!(reader.read_once().await.unwrap(), Read::Unwanted);
}

#[tokio::test]
async fn a_subscriber_that_is_slow_is_told_so_and_holds_up_nobody() {
    let (_files, parts) = Parts::alone().await;
    let feed = Feed::default();
    let mut reader = FeedReader::new(parts.database.clone(), feed.clone());
    let mut slow = feed.subscribe(Topic::User("alice".to_owned()));
    assert_eq!(reader.read_once().await.unwrap(), Read::All(0));
    parts.place(1_500, 1_000).await;
    assert_eq!(reader.read_once().await.unwrap(), Read::Page(1_000), "a step is bounded");
    assert_eq!(reader.read_once().await.unwrap(), Read::All(500));
    assert!(slow.next().await.is_none(), "it is behind");
    let next = slow.next().await.expect("what is kept goes on");
    assert_eq!(next.id, 1_500 - 256 + 1, "with the newest, in order");
}

#[test]
fn subscribers_that_leave_at_the_same_moment_leave_no_topic_behind() {
    let feed = Feed::default();
    for _ in 0..20_000 {
        let (left, right) =
            (feed.subscribe(Topic::Order("a".into())), feed.subscribe(Topic::Order("a".into())));
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|threads| {
            for subscription in [left, right] {
                let start = &start;
                threads.spawn(move || {
                    start.wait();
                    drop(subscription);
                });
            }
        });
        assert_eq!(feed.topics_count(), 0);
    }
}
