//! What is no violation: orders that are not settled yet, orders set aside, and reservations of somebody
//! else's orders.

use shared::contract::status::Status;
use simulator::answers::{Line, Witness};
use simulator::check;
use simulator::check::{Databases, Moment};

use crate::copy::Copy;

/// Makes some cancelled order pending again, as if its answer were on the way.
async fn unsettle(copy: &Copy) -> String {
    let id = copy.some_order("status = 'cancelled'").await;
    copy.forget_observations(&id);
    let created = "UPDATE orders SET status = 'created', reason = NULL, settled_at = NULL";
    copy.order(&format!("{created} WHERE id = '{id}'")).await;
    id
}

#[tokio::test]
async fn an_order_that_is_not_settled_yet_is_no_violation_before_the_end() {
    let copy = Copy::new().await;
    let decided = unsettle(&copy).await;
    copy.inventory(&format!(
        r#"INSERT INTO outbox_batches (event_count, events)
           VALUES (1, '[["m", "order_processed", "{decided}", 1, "", "{{}}"]]')"#
    ))
    .await;
    let undecided = unsettle(&copy).await;
    copy.inventory(&format!("DELETE FROM reservations WHERE order_id = '{undecided}'")).await;
    let report = copy.clean_report(Moment::Running).await;
    assert_eq!((report.not_settled.count, report.outbox_rows), (2, 1));
    assert!(report.not_settled.witnesses.contains(&undecided), "{report}");
    let report = copy.audit(Moment::Final).await;
    let counted = report.violated().map(|finding| (finding.name, finding.violations.count));
    let violated: Vec<_> = counted.collect();
    assert_eq!(violated, [("I4 settled_in_the_end", 2), ("I10 outboxes_empty", 1)]);
}

#[tokio::test]
async fn an_order_whose_event_was_seen_may_still_be_created_but_not_one_that_was_shown_settled() {
    let copy = Copy::new().await;
    let id = unsettle(&copy).await;
    let seen = |by| [Line::Observed { order_id: id.clone(), status: Status::Cancelled, by }];
    copy.rewrite_answers(Some, &seen(Witness::Event));
    copy.clean_report(Moment::Running).await;
    copy.rewrite_answers(Some, &seen(Witness::Order));
    let report = copy.audit(Moment::Running).await;
    let violated: Vec<_> = report.violated().map(|finding| finding.name).collect();
    assert_eq!(violated, ["I6 settled_once"], "{report}");
}

#[tokio::test]
async fn an_order_whose_event_or_answer_is_a_dead_letter_is_set_aside() {
    let copy = Copy::new().await;
    for broken in ["order.db", "inventory.db"] {
        let id = unsettle(&copy).await;
        let letter = format!(
            "INSERT INTO dead_letters (subject, body, headers, reason, detail, attempts, first_seen_at, last_seen_at)
             VALUES ('s', CAST('{{\"orderId\":\"{id}\"}}' AS BLOB), '{{}}', 'too_many_deliveries', '', 20, 1, 1)"
        );
        copy.change(broken, &letter).await;
    }
    let report = copy.clean_report(Moment::Final).await;
    assert_eq!((report.set_aside.count, report.not_settled.count, report.dead_letters), (2, 0, 2));
    for name in ["order.db", "inventory.db"] {
        let place = format!("too_many_deliveries in {name}");
        assert!(report.set_aside.witnesses.iter().any(|text| text.ends_with(&place)), "{report}");
    }
}

#[tokio::test]
async fn a_reservation_for_an_order_that_order_db_does_not_know_is_foreign() {
    let copy = Copy::new().await;
    let row = "'demo-1', '9', 1, 'cancelled', 'unknown_product', 1, ''";
    copy.inventory(&format!("INSERT INTO reservations VALUES ({row})")).await;
    let report = copy.clean_report(Moment::Final).await;
    assert_eq!(report.foreign.count, 1);
    assert_eq!(report.foreign.witnesses, ["demo-1"]);
}

#[tokio::test]
async fn an_order_that_was_placed_between_the_two_reads_is_not_foreign() {
    let now = Copy::new().await;
    let (before, id) = Copy::with_order("status = 'confirmed'").await;
    before.delete_order(&id).await;
    let mut databases = Databases {
        order: before.path("order.db"),
        inventory: now.path("inventory.db"),
        order_again: now.path("order.db"),
    };
    let report = check::audit(&check::read(&databases, None).await.unwrap(), Moment::Running);
    assert!(report.clean && report.foreign.count == 0, "{report}");
    databases.order_again = before.path("order.db");
    let report = check::audit(&check::read(&databases, None).await.unwrap(), Moment::Running);
    assert_eq!(report.foreign.witnesses, [id]);
}
