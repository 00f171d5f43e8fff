//! The binary's settings and small tools.

use shared::settings::DEMO_SECRET;
use testing::service::VARIABLES;

use crate::fixture::process::{command, run, spawn, spawn_alone};
use crate::fixture::{Broker, Files, NO_BROKER, SECRET, alone};

#[tokio::test]
async fn help_lists_every_variable_and_shows_no_secret() {
    let help = run(command(&["--help"]).env("NATS_PASSWORD", "a-hidden-password")).await.success();
    for variable in VARIABLES.into_iter().chain(["QUEUE_SIZE"]) {
        assert!(help.contains(&format!("[env: {variable}")), "{variable} is missing in\n{help}");
    }
    for secret in [SECRET, "a-hidden-password", "order-demo-password"] {
        assert!(!help.contains(secret), "{help}");
    }
}

#[test]
fn the_example_of_a_dot_env_file_shows_the_defaults() {
    let example = include_str!("../../../.env.example");
    let value_of = |variable: &str| {
        let lines = example.lines().filter_map(|line| line.split_once('='));
        lines.into_iter().find(|(name, _)| *name == variable).map(|(_, value)| value)
    };
    let defaults = crate::fixture::app::settings("order.db".as_ref(), NO_BROKER, &[]);
    assert_eq!(value_of("ORDER_PORT"), Some(defaults.port.to_string().as_str()));
    assert_eq!(value_of("NATS_ORDER_PASSWORD"), Some(defaults.nats.nats_password.expose()));
    assert_eq!(value_of("JWT_SECRET"), Some(DEMO_SECRET));
}

#[tokio::test]
async fn the_version_is_told() {
    let version = run(&mut command(&["--version"])).await.success();
    assert_eq!(version.trim(), concat!("order-service ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_wrong_setting_ends_the_start_with_the_variables_name() {
    let files = Files::new();
    let cases = [
        ("JWT_SECRET", "hunter2"),
        ("JWT_SECRET", ""),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("HOST", "nowhere"),
        ("NATS_URL", "http://127.0.0.1"),
        ("NATS_USER", "a b"),
        ("NATS_URL", "nats://order:hunter2@127.0.0.1"),
        ("NATS_URL", "order:hunter2@127.0.0.1:4222"),
        ("NATS_URL", "http://order:hunter2@127.0.0.1"),
        ("NATS_URL", "hunter2"),
        ("NATS_MAX_BYTES", "1"),
        ("DRAIN_SECONDS", "0"),
        ("DRAIN_SECONDS", "soon"),
        ("QUEUE_SIZE", "0"),
        ("LOG_FORMAT", "xml"),
        ("JWT_REQUIRE_EXP", "perhaps"),
        ("RUST_LOG", "order_service=loud"),
    ];
    for (variable, value) in cases {
        let mut command = command(&[]);
        command.env("DATABASE", files.database()).env("PORT", "0").env("NATS_URL", NO_BROKER);
        command.env(variable, value);
        let ran = run(&mut command).await;
        assert!(!ran.succeeded(), "{variable}={value}");
        let errors = ran.errors;
        assert!(errors.contains(variable), "{variable}={value}: {errors}");
        assert!(!errors.contains("hunter2"), "a secret is repeated: {errors}");
    }
    let mut command = command(&[]);
    command.env_remove("JWT_SECRET").env("DATABASE", files.database()).env("PORT", "0");
    let errors = run(&mut command).await.failure(1);
    assert!(errors.contains("JWT_SECRET"), "{errors}");
}

#[tokio::test]
async fn a_printed_token_is_accepted_and_ends_when_it_should() {
    let (_files, app) = alone(&["--jwt-require-exp"]).await;
    let token = async |arguments: &[&str]| {
        let token = run(&mut command(arguments)).await.success();
        assert_eq!(token.lines().count(), 1, "nothing but the token");
        app.caller(token.trim())
    };
    let alice = token(&["token", "--sub", "alice", "--scope", "orders:write", "--ttl", "60"]).await;
    let id = alice.place("1", 1).await;
    assert_eq!(app.user("alice").order(&id).await["id"], id, "the same user");
    let endless = token(&["token", "--sub", "alice"]).await;
    endless.post("1", 1).await.problem(401);

    let ran = run(command(&["token", "--sub", "alice"]).env_remove("JWT_SECRET")).await;
    assert!(!ran.succeeded() && ran.errors.contains("JWT_SECRET"), "{ran:?}");
}

#[tokio::test]
async fn a_token_that_no_service_would_accept_is_refused_and_not_printed() {
    let long = "a".repeat(256);
    for (arguments, said) in [
        (["--sub", "alice", "--ttl", "18446744073709551615"], "1..=1000000000"),
        (["--sub", "alice", "--ttl", "18446744073709551616"], "--ttl"),
        (["--sub", "alice", "--ttl", "1000000001"], "1..=1000000000"),
        (["--sub", "alice", "--ttl", "0"], "1..=1000000000"),
        (["--sub", "alice", "--ttl", "-1"], "--ttl <SECONDS>"),
        (["--sub", "alice", "--ttl", "1.5"], "--ttl <SECONDS>"),
        (["--sub", "", "--ttl", "60"], "claim sub"),
        (["--sub", &long, "--ttl", "60"], "claim sub"),
        (["--sub", "a\nb", "--ttl", "60"], "claim sub"),
        (["--sub", "a\u{1b}[2J", "--ttl", "60"], "claim sub"),
    ] {
        let ran = run(&mut command(&[&["token"], &arguments[..]].concat())).await;
        assert!(!ran.succeeded() && ran.output.is_empty(), "{arguments:?}");
        assert!(ran.errors.contains(said) && !ran.errors.contains("panicked"), "{arguments:?}: {ran:?}");
    }
    let ran = run(command(&["token", "--sub", "alice"]).env("JWT_REQUIRE_EXP", "true")).await;
    assert!(!ran.succeeded() && ran.errors.contains("claim exp"), "{ran:?}");
}

#[tokio::test]
async fn the_healthcheck_tells_a_service_that_is_ready_from_one_that_is_not_there() {
    let (_files, mut service) = spawn_alone(&[]).await;
    let mut check = command(&["healthcheck"]);
    check.env("PORT", service.port.to_string()).env_remove("JWT_SECRET");
    run(&mut check).await.success();
    service.terminate().await;
    let errors = run(&mut check).await.failure(1);
    assert!(errors.contains(&format!("127.0.0.1:{}", service.port)), "{errors}");
}

/// An environment in which nothing can be served: conda sets `HOST`, and the rest is somebody else's, too.
const FOREIGN: [(&str, &str); 10] = [
    ("HOST", "x86_64-conda-linux-gnu"),
    ("PORT", "tcp://172.17.0.2:3000"),
    ("NATS_URL", "http://127.0.0.1"),
    ("NATS_MAX_BYTES", "many"),
    ("QUEUE_SIZE", "0"),
    ("DRAIN_SECONDS", "soon"),
    ("LOG_FORMAT", "xml"),
    ("RUST_LOG", "=loud"),
    ("JWT_REQUIRE_EXP", "perhaps"),
    ("DATABASE", ""),
];

#[tokio::test]
async fn a_tool_looks_only_at_the_variables_that_it_uses() {
    let (files, mut service) = spawn_alone(&[]).await;
    let (port, database) = (service.port.to_string(), files.database().display().to_string());
    let address = [("HOST", "127.0.0.1"), ("PORT", port.as_str())];
    let key = [("JWT_REQUIRE_EXP", "false")];
    for (arguments, used, said) in [
        (&["token", "--sub", "alice"][..], &key[..], ""),
        (&["healthcheck"], &address, ""),
        (&["dead-letters", "list", "--json"], &[address, [key[0], key[0]]].concat(), ""),
        (&["adopt"], &[address, [key[0], key[0]]].concat(), "/admin/adopt answered 503"),
        (&["backup", "-"], &[("DATABASE", &*database)], ""),
    ] {
        let mut asked = command(arguments);
        asked.envs(FOREIGN).envs(used.iter().copied());
        let ran = run(&mut asked).await;
        assert_eq!(ran.succeeded(), said.is_empty(), "{arguments:?}: {ran:?}");
        assert!(ran.errors.contains(said), "{arguments:?}: {ran:?}");
        for (variable, value) in used {
            let foreign = FOREIGN.iter().find(|(name, _)| name == variable).unwrap().1;
            let ran = run(asked.env(variable, foreign)).await;
            asked.env(variable, value);
            assert!(!ran.succeeded(), "{arguments:?} takes {variable} for {value}");
            let errors = ran.errors;
            assert!(errors.contains(variable) || errors.contains("no database"), "{arguments:?}: {errors}");
        }
    }
    // A flag is meant: it is checked, and it is as good as the variable.
    let ran = run(&mut command(&["token", "--sub", "alice", "--port", "http"])).await;
    assert!(!ran.succeeded() && ran.errors.contains("--port"), "{ran:?}");
    let mut asked = command(&["healthcheck", "--host", "127.0.0.1", "--port", &port]);
    run(asked.envs(FOREIGN)).await.success();
    // What is wrong with the tool's own arguments is told before anything else.
    let errors = run(command(&["token"]).envs(FOREIGN).envs(key)).await.errors;
    assert!(errors.contains("--sub") && !errors.contains("HOST"), "{errors}");
    service.terminate().await;
}

#[tokio::test]
async fn the_tools_ask_the_address_that_is_served() {
    let mut addresses = vec!["0.0.0.0", "127.0.0.1", "127.0.0.2"];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        addresses.extend(["::1", "::"]);
    }
    for host in addresses {
        let (_files, mut service) = spawn_alone(&[("HOST", host)]).await;
        let address = [("HOST", host), ("PORT", &service.port.to_string())];
        for arguments in [&["healthcheck"][..], &["dead-letters", "list"]] {
            run(command(arguments).envs(address)).await.success();
        }
        let ran = run(command(&["adopt"]).envs(address)).await;
        assert!(ran.errors.contains("answered 503"), "the broker is away");
        service.terminate().await;
    }
}

#[tokio::test]
async fn a_wrong_password_of_the_broker_is_told_and_stops_nothing() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let environment = [("NATS_PASSWORD", "not-the-right-one"), ("RUST_LOG", "debug")];
    let mut service = spawn(&files, &broker.url(), &environment).await;
    service.user("alice").place("1", 1).await;
    testing::wait_until("the log names the refusal", || async {
        service.log().to_lowercase().contains("authorization violation")
    })
    .await;
    service.stop().await;
    assert!(!service.log().contains("not-the-right-one"), "a password is in the log");
}
