//! The command line: what is refused by name, and the small tools.

use shared::settings::DEMO_SECRET;
use testing::service;
use testing::service::{Ran, VARIABLES};

use crate::fixture::{alone, command};

/// Runs the binary with nothing in its environment but these variables.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    service::run(command(arguments).env_clear().envs(variables.iter().copied())).await
}

#[tokio::test]
async fn a_wrong_or_missing_setting_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("inventory.db").display().to_string();
    let cases = [
        ("JWT_SECRET", None),
        ("JWT_SECRET", Some("too-short")),
        ("NATS_URL", Some("http://nats")),
        ("NATS_URL", Some("nats://user:password@nats")),
        ("NATS_MAX_BYTES", Some("many")),
        ("PORT", Some("70000")),
        ("HOST", Some("nowhere")),
        ("DRAIN_SECONDS", Some("0")),
        ("LOG_FORMAT", Some("xml")),
        ("SEED_FILE", Some("/no/such/file")),
    ];
    for (name, value) in cases {
        let mut variables = vec![("JWT_SECRET", DEMO_SECRET), ("DATABASE", &database), ("PORT", "0")];
        variables.retain(|(known, _)| *known != name);
        variables.extend(value.map(|value| (name, value)));
        let ran = run(&[], &variables).await;
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        assert!(!ran.succeeded(), "{name}={value:?} was accepted");
        let text = ran.errors;
        assert!(text.contains(name) || text.contains(&flag), "{name}={value:?}: {text}");
        assert!(!text.contains("too-short") && !text.contains("password@"), "a secret shows: {text}");
    }
}

#[tokio::test]
async fn help_names_every_variable_and_shows_no_secret() {
    let secret = "a-secret-that-must-not-be-shown-anywhere";
    let help = run(&["--help"], &[("JWT_SECRET", secret), ("NATS_PASSWORD", secret)]).await.success();
    for name in VARIABLES.into_iter().chain(["SEED_FILE"]) {
        assert!(help.contains(&format!("[env: {name}")), "{name}: {help}");
    }
    assert!(!help.contains(secret), "{help}");
    let version = run(&["--version"], &[]).await.success();
    assert_eq!(version, concat!("inventory-service ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn token_prints_one_token_and_nothing_else() {
    let variables = [("JWT_SECRET", DEMO_SECRET)];
    let printed = run(&["token", "--sub", "alice", "--ttl", "60"], &variables).await.success();
    assert_eq!((printed.lines().count(), printed.trim().split('.').count()), (1, 3), "{printed}");
    let ran = run(&["token", "--sub", "alice"], &[]).await;
    assert!(!ran.succeeded() && ran.errors.contains("JWT_SECRET"), "{ran:?}");
}

#[tokio::test]
async fn healthcheck_succeeds_exactly_while_the_service_is_ready() {
    let (_home, inventory) = alone().await;
    let port = inventory.port().to_owned();
    let check = async || run(&["healthcheck"], &[("PORT", &port)]).await;
    check().await.success();
    inventory.stop().await;
    let errors = check().await.failure(1);
    assert!(errors.contains("/readyz"), "{errors}");
}
