//! Pages of orders: which, in which order, and for whom.

use serde_json::Value;
use shared::http::paging::LIMIT_MAX;

use tokio::task::JoinSet;

use crate::fixture::{Caller, alone, alone_with_alice};

fn ids(orders: &[Value]) -> Vec<String> {
    orders.iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect()
}

/// The ids of all pages from this one on.
async fn walk(caller: &Caller, path: &str) -> Vec<String> {
    ids(&caller.pages(path).await)
}

#[tokio::test]
async fn pages_are_stable_while_orders_arrive() {
    let (_files, app, alice) = alone_with_alice().await;
    let mut before = Vec::new();
    for _ in 0..60 {
        before.push(alice.place("1", 1).await);
    }
    before.reverse();
    let (mut seen, mut path) = (Vec::new(), Some("/orders?limit=7".to_owned()));
    while let Some(page) = path {
        let answer = alice.get(&page).await;
        assert!(ids(answer.list()).len() <= 7);
        seen.extend(ids(answer.list()));
        path = answer.next_page();
        // Before every page, some of everybody.
        for user in ["alice", "bob", "alice"] {
            app.user(user).place("1", 1).await;
        }
    }
    // Each order that was there exactly once, newest first, and none that came later.
    assert_eq!(seen, before);
    app.stop().await;
}

#[tokio::test]
async fn a_list_is_filtered_by_status_and_product_and_its_pages_keep_the_filters() {
    let (files, app, alice) = alone_with_alice().await;
    let odd = "a&b=c d/ü";
    let mut placed = Vec::new();
    for number in 0..24 {
        let product = ["1", odd, "1"][number % 3];
        placed.push((alice.place(product, 1).await, number));
        // Each filter would find these, too.
        app.user("bob").place(product, 1).await;
    }
    let look = files.look();
    for (id, number) in placed.iter().filter(|(_, number)| number % 4 == 0) {
        let outcome = if number % 8 == 0 { "'confirmed'" } else { "'cancelled', reason = 'unknown_product'" };
        look.change(&format!("UPDATE orders SET settled_at = 1, settled_number = number + 1000, status = {outcome} WHERE id = '{id}'")).await;
    }
    let expected = |wanted: &dyn Fn(usize) -> bool| -> Vec<String> {
        placed.iter().rev().filter(|(_, number)| wanted(*number)).map(|(id, _)| id.clone()).collect()
    };
    let product = percent_encoded(odd);
    let cases: [(String, Vec<String>); 7] = [
        (String::new(), expected(&|_| true)),
        ("&status=created".to_owned(), expected(&|number| number % 4 != 0)),
        ("&status=confirmed".to_owned(), expected(&|number| number % 8 == 0)),
        ("&status=cancelled".to_owned(), expected(&|number| number % 8 == 4)),
        (format!("&productId={product}"), expected(&|number| number % 3 == 1)),
        (
            format!("&productId={product}&status=created"),
            expected(&|number| number % 3 == 1 && number % 4 != 0),
        ),
        ("&productId=nothing".to_owned(), Vec::new()),
    ];
    for (filters, wanted) in cases {
        assert_eq!(walk(&alice, &format!("/orders?limit=2{filters}")).await, wanted, "{filters}");
        assert_eq!(walk(&alice, &format!("/orders?limit=200{filters}")).await, wanted, "{filters}");
    }
    app.stop().await;
}

fn percent_encoded(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_parameter_of_a_list_that_breaks_a_rule_is_refused_by_its_name() {
    let (_files, app, alice) = alone_with_alice().await;
    let long = format!("productId={}", "p".repeat(65));
    let cases = [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("status=open", "status"),
        ("status=", "status"),
        ("status=Created", "status"),
        ("status=created&status=created", "status"),
        ("productId=", "productId"),
        (&long, "productId"),
        ("cursor=", "cursor"),
        ("cursor=nonsense", "cursor"),
        ("cursor=Ingi", "cursor"),
        ("userId=bob", "userId"),
        ("page=2", "page"),
    ];
    for (query, field) in cases {
        alice.get(&format!("/orders?{query}")).await.refused(field);
    }
    assert_eq!(ids(alice.get(&format!("/orders?limit={LIMIT_MAX}")).await.list()), [""; 0]);
    app.stop().await;
}

#[tokio::test]
async fn an_admin_sees_all_orders() {
    let (_files, app) = alone(&[]).await;
    let (alice, bob, admin) = (app.user("alice"), app.user("bob"), app.admin());
    let mut placed = vec![alice.place("1", 1).await, bob.place("2", 1).await, alice.place("2", 1).await];
    let owners: Vec<Value> = vec!["alice".into(), "bob".into(), "alice".into()];
    for (id, owner) in placed.iter().zip(&owners) {
        assert_eq!(&admin.order(id).await["userId"], owner);
    }
    placed.reverse();
    assert_eq!(walk(&admin, "/orders?limit=1").await, placed);
    assert_eq!(walk(&admin, "/orders?limit=1&status=created&productId=2").await, &placed[..2]);
    assert_eq!(walk(&admin, "/orders?status=confirmed").await, [""; 0]);
    assert_eq!(walk(&admin, "/orders?productId=1").await, &placed[2..]);
    assert_eq!(walk(&bob, "/orders?limit=1").await, &placed[1..2], "a user sees only their own");
    app.stop().await;
}

#[tokio::test]
async fn a_cursor_of_another_user_leads_to_nobody_elses_orders() {
    let (_files, app) = alone(&[]).await;
    let (alice, bob) = (app.user("alice"), app.user("bob"));
    let of_bob = bob.place("1", 1).await;
    for _ in 0..3 {
        alice.place("1", 1).await;
    }
    let path = alice.get("/orders?limit=1").await.next_page().expect("a second page");
    assert_eq!(ids(bob.get(&path).await.list()), [of_bob]);
    app.stop().await;
}

#[tokio::test]
async fn an_admins_filtered_lists_of_everybodys_orders_keep_no_other_read_waiting() {
    const SCANS: usize = 12;
    let (files, app, alice) = alone_with_alice().await;
    let columns = "id, user_id, product_id, quantity, status, created_at, traceparent, sent_at";
    let row = "printf('old-%07d', i), 'bob', '1', 1, 'created', 0, '', 9000000000000";
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)";
    files.look().change(&format!("{numbers} INSERT INTO orders ({columns}) SELECT {row} FROM n")).await;
    let mut scans = JoinSet::new();
    for _ in 0..SCANS {
        let admin = app.admin();
        scans.spawn(async move { admin.get("/orders?productId=nobodys").await.status });
    }
    assert_eq!(scans.join_next().await.unwrap().unwrap(), 200);
    assert_eq!(alice.get("/orders?status=created").await.status, 200);
    let mut ended = 1;
    while let Some(scan) = scans.try_join_next() {
        assert_eq!(scan.unwrap(), 200);
        ended += 1;
    }
    assert!(ended < SCANS / 2, "the read waited for {ended} of {SCANS} scans");
    assert!(scans.join_all().await.into_iter().all(|status| status == 200));
    app.stop().await;
}
