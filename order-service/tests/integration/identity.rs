//! Whose consumer it is: a database that is not the consumer's accepts orders, and announces none until it adopts.

use std::fs;

use reqwest::Method;

use crate::fixture::app::SECRET;
use crate::fixture::caller::{Caller, answer_to};
use crate::fixture::nats::{Inventory, stored_messages};
use crate::fixture::process::{Service, command, run};
use crate::fixture::{App, Broker, Files, wait_until};

/// Waits until the service says that the consumer is not its own; returns what it says.
async fn not_owned(app: &App) -> String {
    wait_until("the service is not the consumer's owner", || async {
        app.readiness().await.1["consumer"] == "not owned"
    })
    .await;
    let (status, body) = app.readiness().await;
    assert_eq!((status, &body["status"]), (503, &"not ready".into()));
    body["detail"].as_str().unwrap().to_owned()
}

async fn adopt(app: &App) -> String {
    let port = app.url.rsplit_once(':').unwrap().1;
    let mut adopt = command(&["adopt"]);
    adopt.env("PORT", port);
    let (output, errors) = run(adopt).await;
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

async fn wait_for_empty_outbox(files: &Files) {
    let look = files.look();
    wait_until("the outbox is empty", || async { look.outbox().await == 0 }).await;
}

#[tokio::test]
async fn a_second_database_accepts_orders_and_announces_them_once_it_has_adopted() {
    let (files, other, broker) = (Files::new(), Files::new(), Broker::start().await);
    let former = App::start_connected(&other, &broker.url()).await;
    former.user("alice").place("1", 1).await;
    wait_for_empty_outbox(&other).await;

    let app = App::start(&files, &broker.url(), &[]).await;
    let says = not_owned(&app).await;
    assert!(says.contains("`order-service adopt`"), "{says}");
    let placed = app.user("bob").place("1", 1).await;
    // The first service's sweeper and relay go on; the second one's would have come by twice.
    former.user("alice").place("1", 1).await;
    wait_for_empty_outbox(&other).await;
    assert_eq!((files.look().outbox().await, stored_messages(&broker).await.len()), (1, 2));
    assert_eq!(former.readiness().await.0, 200);

    let printed = adopt(&app).await;
    for part in
        ["now owns the consumer order-service", "sent again", "stopped for good", "conflicting_result"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    wait_for_empty_outbox(&files).await;
    Inventory::start(&broker).await.confirm(&placed).await;
    wait_until("the order is settled", || async {
        app.user("bob").order(&placed).await["status"] == "confirmed"
    })
    .await;
    not_owned(&former).await;
    assert_eq!(other.look().number("SELECT count(*) FROM dead_letters").await, 0, "it consumes nothing more");
    assert!(adopt(&app).await.contains("Nothing was changed"));
    app.stop().await;
    former.stop().await;
}

#[tokio::test]
async fn an_order_database_restored_from_a_backup_is_noticed_and_after_adopting_sends_its_pending_orders_again()
 {
    let (files, broker) = (Files::new(), Broker::start().await);
    let app = App::start_connected(&files, &broker.url()).await;
    let pending = app.user("alice").place("1", 1).await;
    wait_for_empty_outbox(&files).await;
    app.stop().await;
    // The last connection has folded the log into the file, so the file is the backup.
    let backup = fs::read(files.database()).unwrap();
    let app = App::start_connected(&files, &broker.url()).await;
    Inventory::start(&broker).await.confirm(&pending).await;
    wait_until("the order is settled", || async {
        app.user("alice").order(&pending).await["status"] == "confirmed"
    })
    .await;
    app.stop().await;
    fs::write(files.database(), backup).unwrap();

    let app = App::start(&files, &broker.url(), &[]).await;
    let says = not_owned(&app).await;
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
    App::start_connected(&other, &broker.url()).await.stop().await;
    let service = Service::start(&files, &broker.url(), &[]).await;
    let count = |log: &str| log.lines().filter(|line| line.contains("not the owner of the consumer")).count();
    wait_until("it is logged", || async { count(&service.log()) > 0 }).await;
    let alice = service.user("alice");
    answer_to(alice.request(Method::POST, "/admin/adopt")).await.problem(403);
    let nobody = Caller::new(&service.http, &service.url(), "");
    answer_to(nobody.request(Method::POST, "/admin/adopt")).await.problem(401);
    let tokens = shared::http::auth::Tokens::new(&shared::settings::JwtSettings {
        jwt_secret: Some(SECRET.into()),
        ..shared::settings::JwtSettings::default()
    });
    let admin = tokens.unwrap().sign("root", Some("admin"), None).unwrap();
    let admin = Caller::new(&service.http, &service.url(), &admin);
    // Adopting waits longer than two observations.
    let answer = answer_to(admin.request(Method::POST, "/admin/adopt")).await;
    assert_eq!((answer.status, &answer.body["result"]), (200, &"adopted".into()), "{answer:?}");
    wait_until("the service is ready", || async { alice.get("/readyz").await.status == 200 }).await;
    let log = service.log();
    assert_eq!(count(&log), 1, "{log}");
    assert!(log.contains("the consumer belongs to this database"), "{log}");
}
