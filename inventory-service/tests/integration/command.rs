//! The command line: what is refused by name, and the small tools.

use std::process::{Command, Output};

use shared::settings::DEMO_SECRET;

use crate::fixture::Home;

/// Runs the real binary with nothing in its environment but `variables`.
pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inventory-service"));
    command.env_clear().envs(variables.iter().copied()).args(arguments).output().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_or_missing_setting_is_refused_with_its_name() {
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
        let output = run(&[], &variables);
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        let text = error(&output);
        assert!(!output.status.success(), "{name}={value:?} was accepted");
        assert!(text.contains(name) || text.contains(&flag), "{name}={value:?}: {text}");
        assert!(!text.contains("too-short") && !text.contains("password@"), "a secret shows: {text}");
    }
}

#[test]
fn help_names_every_variable_and_shows_no_secret() {
    let secret = "a-secret-that-must-not-be-shown-anywhere";
    let output = run(&["--help"], &[("JWT_SECRET", secret), ("NATS_PASSWORD", secret)]);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for name in [
        "HOST",
        "PORT",
        "DATABASE",
        "NATS_URL",
        "NATS_USER",
        "NATS_PASSWORD",
        "NATS_MAX_BYTES",
        "JWT_SECRET",
        "JWT_SECRET_FILE",
        "JWT_PUBLIC_KEY_FILE",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
        "JWT_REQUIRE_EXP",
        "ADMIN_TOKEN",
        "SEED_FILE",
        "LOG_FORMAT",
        "RUST_LOG",
        "DRAIN_SECONDS",
    ] {
        assert!(help.contains(&format!("[env: {name}")), "{name}: {help}");
    }
    assert!(!help.contains(secret), "{help}");
    let version = run(&["--version"], &[]);
    let expected = format!("inventory-service {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), expected);
}

#[test]
fn token_prints_one_token_and_nothing_else() {
    let output = run(&["token", "--sub", "alice", "--ttl", "60"], &[("JWT_SECRET", DEMO_SECRET)]);
    assert!(output.status.success(), "{}", error(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!((printed.lines().count(), printed.trim().split('.').count()), (1, 3), "{printed}");
    let output = run(&["token", "--sub", "alice"], &[]);
    assert!(!output.status.success() && error(&output).contains("JWT_SECRET"), "{}", error(&output));
}

#[tokio::test]
async fn healthcheck_succeeds_exactly_while_the_service_is_ready() {
    let home = Home::without_broker();
    let inventory = home.start(&[]).await;
    let port = inventory.at("").rsplit_once(':').unwrap().1.to_owned();
    let check = async || {
        let port = port.clone();
        tokio::task::spawn_blocking(move || run(&["healthcheck"], &[("PORT", &port)])).await.unwrap()
    };
    let output = check().await;
    assert!(output.status.success(), "{}", error(&output));
    inventory.stop().await;
    let output = check().await;
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("/readyz"), "{}", error(&output));
}
