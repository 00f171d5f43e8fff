//! Orders that were stored and whose 201 was lost on the way: repeated by key, they are the same orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use simulator::answers::{Coverage, Recorder};
use simulator::check::Moment;
use simulator::load::plan::{Limit, LoadPlan, Mix, Pace};
use simulator::load::{Load, Target};
use testing::DEADLINE;
use tokio::io::{AsyncReadExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::client::topology;
use crate::load::audit;

const ORDERS: u64 = 50;
/// So many connections break when the service has answered.
const LOST: u64 = 10;

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_and_makes_no_second_order() {
    let (mut topology, folder) = topology(json!([{"productId": "1", "stock": 1000}])).await;
    let url = lose_replies(topology.order_url().strip_prefix("http://").unwrap().to_owned()).await;
    let mix = Mix { products: 1, hot: 0.0, unknown: 0.0, users: 1, quantity_max: 3 };
    let plan = LoadPlan::new(5, Pace::Closed { connections: 4 }, Limit::Count(ORDERS), mix);
    let target = Target::signed(&url, shared::settings::DEMO_SECRET, &plan.mix).unwrap();
    let recorder = Recorder::create(&folder.path().join("answers"), Coverage::Complete).unwrap();
    let load = Load::new(plan, target, Some(recorder.clone()));
    let watch = load.watch(Some(&topology.nats_url())).await.unwrap();
    load.send(&CancellationToken::new()).await.unwrap();
    assert_eq!(load.wait_until_settled(DEADLINE).await, 0, "orders are not settled");
    drop(watch);
    recorder.finish().unwrap();
    topology.stop().await.unwrap();
    let tally = load.tally.totals();
    assert_eq!((tally.accepted, tally.unknown), (ORDERS, 0));
    assert!((1..=LOST).contains(&tally.resolved), "{}", tally.resolved);
    let report = audit(folder.path(), Moment::Final).await;
    assert!(report.clean, "{report}");
    assert_eq!(report.orders, ORDERS);
}

/// A proxy to `upstream` that closes its first connections instead of passing on the first answer.
async fn lose_replies(upstream: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let lost = connections.fetch_add(1, Ordering::Relaxed) < LOST;
            tokio::spawn(pass_on(client, TcpStream::connect(upstream.clone()).await.unwrap(), lost));
        }
    });
    url
}

async fn pass_on(client: TcpStream, server: TcpStream, lost: bool) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upwards = copy(&mut from_client, &mut to_server);
    let downwards = async {
        if lost {
            from_server.read_u8().await.map(u64::from)
        } else {
            copy(&mut from_server, &mut to_client).await
        }
    };
    // Whichever ends first ends both: what is dropped is closed.
    tokio::select! {
        _ = upwards => {}
        _ = downwards => {}
    }
}
