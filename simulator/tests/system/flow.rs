//! The seed's flow: what a user sees at both ends, and what an independent observer sees between them.

use futures_util::StreamExt;
use serde_json::json;
use testing::wait_until;

use crate::client::{Buyer, topology};

#[tokio::test]
async fn an_order_is_confirmed_refused_for_stock_or_refused_as_unknown() {
    let (mut topology, _folder) =
        topology(json!([{"productId": "1", "stock": 10}, {"productId": "2", "stock": 5}])).await;
    let observer = async_nats::connect(topology.nats_url()).await.unwrap();
    let mut created = observer.subscribe("order_created").await.unwrap();
    let mut processed = observer.subscribe("order_processed").await.unwrap();
    // A flush only hands over to the socket; the answer to a request shows that the subscriptions are known.
    observer.request("$JS.API.INFO", "".into()).await.unwrap();
    let buyer = Buyer::new(&topology, "alice");
    let cases = [
        ("1", 2, "confirmed", None),
        ("2", 6, "cancelled", Some("insufficient_stock")),
        ("3", 1, "cancelled", Some("unknown_product")),
    ];
    for (product, quantity, status, reason) in cases {
        let id = buyer.order_until_accepted(product, quantity, product).await;
        wait_until("the order is settled", async || buyer.show(&id).await["status"] != "created").await;
        let order = buyer.show(&id).await;
        assert_eq!((&order["status"], &order["reason"]), (&json!(status), &json!(reason)), "{order}");

        let announced = created.next().await.unwrap();
        let expected = format!(
            r#"{{"orderId":"{id}","productId":"{product}","quantity":{quantity},"status":"created","userId":"alice","createdAt":{}}}"#,
            order["createdAt"]
        );
        assert_eq!(announced.payload, expected.as_bytes());
        let answered = processed.next().await.unwrap();
        let expected = match reason {
            None => format!(r#"{{"orderId":"{id}","status":"{status}"}}"#),
            Some(reason) => format!(r#"{{"orderId":"{id}","status":"{status}","reason":"{reason}"}}"#),
        };
        assert_eq!(answered.payload, expected.as_bytes());
        let trace =
            |message: &async_nats::Message| message.headers.as_ref().unwrap().get("traceparent").cloned();
        assert_eq!(trace(&announced), trace(&answered), "one trace from the POST to the answer");
    }
    assert_eq!(buyer.stock(&topology, "1").await["stock"], 8);
    assert_eq!(buyer.stock(&topology, "2").await["stock"], 5);
    topology.stop().await.unwrap();
}
