//! Whose consumer it is: a database that is not the consumer's accepts orders, and announces none until it adopts.

use std::fs;

use reqwest::Method;
use testing::service::token;

use crate::fixture::nats::stored_messages;
use crate::fixture::process::{command, run, spawn};
use crate::fixture::{
    App, Broker, Files, Publisher, answer_to, connected, start, start_connected, wait_until,
};

async fn adopt(app: &App) -> String {
    run(command(&["adopt"]).env("PORT", app.port())).await.success()
}

#[tokio::test]
async fn a_second_database_accepts_orders_and_announces_them_once_it_has_adopted() {
    let (files, other, broker) = (Files::new(), Files::new(), Broker::start().await);
    let former = start_connected(&other, &broker).await;
    former.user("alice").place("1", 1).await;
    other.look().until_outbox_is_empty().await;

    let app = start(&files, &broker.url(), &[]).await;
    let says = app.until_not_owned().await;
    assert!(says.contains("`order-service adopt`"), "{says}");
    let placed = app.user("bob").place("1", 1).await;
    // The first service's sweeper and relay go on; the second one's would have come by twice.
    former.user("alice").place("1", 1).await;
    other.look().until_outbox_is_empty().await;
    assert_eq!((files.look().outbox().await, stored_messages(&broker).await.len()), (1, 2));
    assert_eq!(former.readiness().await.0, 200);

    let printed = adopt(&app).await;
    for part in
        ["now owns the consumer order-service", "sent again", "stopped for good", "conflicting_result"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    files.look().until_outbox_is_empty().await;
    Publisher::inventory(&broker).await.confirm(&placed).await;
    app.user("bob").until_order_is(&placed, "confirmed").await;
    former.until_not_owned().await;
    assert_eq!(other.look().dead_letters().await, 0, "it consumes nothing more");
    assert!(adopt(&app).await.contains("Nothing was changed"));
    app.stop().await;
    former.stop().await;
}

#[tokio::test]
async fn an_order_database_restored_from_a_backup_is_noticed_and_after_adopting_sends_its_pending_orders_again()
 {
    let (files, broker, app, _alice) = connected().await;
    let pending = app.user("alice").place("1", 1).await;
    files.look().until_outbox_is_empty().await;
    app.stop().await;
    // The last connection has folded the log into the file, so the file is the backup.
    let backup = fs::read(files.database()).unwrap();
    let app = start_connected(&files, &broker).await;
    Publisher::inventory(&broker).await.confirm(&pending).await;
    app.user("alice").until_order_is(&pending, "confirmed").await;
    app.stop().await;
    fs::write(files.database(), backup).unwrap();

    let app = start(&files, &broker.url(), &[]).await;
    let says = app.until_not_owned().await;
    assert!(says.contains("restored from a backup") && says.contains("`order-service adopt`"), "{says}");
    assert_eq!(app.user("alice").order(&pending).await["status"], "created");
    let before = stored_messages(&broker).await.len();
    adopt(&app).await;
    wait_until("the pending order is sent again", || async {
        let messages = stored_messages(&broker).await;
        messages.len() > before
            && messages.last().unwrap().headers.get("ce-subject").unwrap().as_str() == pending
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn a_database_that_is_not_the_consumers_is_logged_once_and_only_an_admin_may_adopt() {
    let (files, other, broker) = (Files::new(), Files::new(), Broker::start().await);
    start_connected(&other, &broker).await.stop().await;
    let service = spawn(&files, &broker.url(), &[]).await;
    let count = |log: &str| log.lines().filter(|line| line.contains("not the owner of the consumer")).count();
    wait_until("it is logged", || async { count(&service.log()) > 0 }).await;
    let alice = service.user("alice");
    answer_to(alice.request(Method::POST, "/admin/adopt")).await.problem(403);
    let nobody = service.caller("");
    answer_to(nobody.request(Method::POST, "/admin/adopt")).await.problem(401);
    let admin = service.caller(&token("root", Some("admin")));
    // Adopting waits longer than two observations.
    let answer = answer_to(admin.request(Method::POST, "/admin/adopt")).await;
    assert_eq!((answer.status, &answer.body["result"]), (200, &"adopted".into()), "{answer:?}");
    wait_until("the service is ready", || async { alice.get("/readyz").await.status == 200 }).await;
    let belongs = || async { service.log().contains("the consumer belongs to this database") };
    wait_until("the log tells it", belongs).await;
    assert_eq!(count(&service.log()), 1, "{}", service.log());
}

#[tokio::test]
async fn an_adoption_of_which_nobody_can_tell_is_answered_504_and_can_be_repeated() {
    let (files, other, broker) = (Files::new(), Files::new(), Broker::start().await);
    start_connected(&other, &broker).await.stop().await;
    let app = start(&files, &broker.url(), &[]).await;
    app.until_not_owned().await;
    let (look, admin) = (files.look(), app.admin());
    look.fail_commits_of("UPDATE OF id ON database_identity").await;
    answer_to(admin.request(Method::POST, "/admin/adopt")).await.problem(504);
    app.until_not_owned().await;
    look.change("DROP TRIGGER refers").await;
    let answer = answer_to(admin.request(Method::POST, "/admin/adopt")).await;
    assert_eq!((answer.status, &answer.body["result"]), (200, &"adopted".into()), "{answer:?}");
    app.stop().await;
}
