//! The binary's settings and small tools.

use shared::settings::DEMO_SECRET;

use crate::fixture::app::{SECRET, settings};
use crate::fixture::caller::Caller;
use crate::fixture::process::{Service, command, run};
use crate::fixture::{App, Broker, Files, NO_BROKER};

const VARIABLES: [&str; 18] = [
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
    "LOG_FORMAT",
    "RUST_LOG",
    "DRAIN_SECONDS",
    "QUEUE_SIZE",
];

#[tokio::test]
async fn help_lists_every_variable_and_shows_no_secret() {
    let mut command = command(&["--help"]);
    command.env("NATS_PASSWORD", "a-hidden-password");
    let (output, _) = run(command).await;
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for variable in VARIABLES {
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
    let defaults = settings("order.db".as_ref(), NO_BROKER, &[]);
    assert_eq!(value_of("ORDER_PORT"), Some(defaults.port.to_string().as_str()));
    assert_eq!(value_of("NATS_ORDER_PASSWORD"), Some(defaults.nats.nats_password.expose()));
    assert_eq!(value_of("JWT_SECRET"), Some(DEMO_SECRET));
}

#[tokio::test]
async fn the_version_is_told() {
    let (output, _) = run(command(&["--version"])).await;
    assert!(output.status.success());
    let version = String::from_utf8(output.stdout).unwrap();
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
        let (output, errors) = run(command).await;
        assert!(!output.status.success(), "{variable}={value}");
        assert!(errors.contains(variable), "{variable}={value}: {errors}");
        assert!(!errors.contains("hunter2"), "a secret is repeated: {errors}");
    }
    let mut command = command(&[]);
    command.env_remove("JWT_SECRET").env("DATABASE", files.database()).env("PORT", "0");
    let (output, errors) = run(command).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("JWT_SECRET"), "{errors}");
}

#[tokio::test]
async fn a_printed_token_is_accepted_and_ends_when_it_should() {
    let files = Files::new();
    let app = App::start(&files, NO_BROKER, &["--jwt-require-exp"]).await;
    let token = async |arguments: &[&str]| {
        let (output, errors) = run(command(arguments)).await;
        assert!(output.status.success(), "{errors}");
        let token = String::from_utf8(output.stdout).unwrap();
        assert_eq!(token.lines().count(), 1, "nothing but the token");
        Caller::new(&app.http, &app.url, token.trim())
    };
    let alice = token(&["token", "--sub", "alice", "--scope", "orders:write", "--ttl", "60"]).await;
    let id = alice.place("1", 1).await;
    assert_eq!(app.user("alice").order(&id).await["id"], id, "the same user");
    let endless = token(&["token", "--sub", "alice"]).await;
    endless.post("1", 1).await.problem(401);

    let mut without_secret = command(&["token", "--sub", "alice"]);
    without_secret.env_remove("JWT_SECRET");
    let (output, errors) = run(without_secret).await;
    assert!(!output.status.success() && errors.contains("JWT_SECRET"), "{errors}");
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
        let (output, errors) = run(command(&[&["token"], &arguments[..]].concat())).await;
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(errors.contains(said) && !errors.contains("panicked"), "{arguments:?}: {errors}");
    }
    let mut strict = command(&["token", "--sub", "alice"]);
    strict.env("JWT_REQUIRE_EXP", "true");
    let (output, errors) = run(strict).await;
    assert!(!output.status.success() && errors.contains("claim exp"), "{errors}");
}

#[tokio::test]
async fn the_healthcheck_tells_a_service_that_is_ready_from_one_that_is_not_there() {
    let files = Files::new();
    let mut service = Service::start(&files, NO_BROKER, &[]).await;
    let check = async |port: u16| {
        let mut command = command(&["healthcheck"]);
        command.env("PORT", port.to_string()).env_remove("JWT_SECRET");
        run(command).await
    };
    let (output, errors) = check(service.port).await;
    assert_eq!(output.status.code(), Some(0), "{errors}");
    service.terminate().await;
    let (output, errors) = check(service.port).await;
    assert_eq!(output.status.code(), Some(1));
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
    let files = Files::new();
    let mut service = Service::start(&files, NO_BROKER, &[]).await;
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
        let (output, errors) = run(asked).await;
        assert_eq!(output.status.success(), said.is_empty(), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
        for (variable, value) in used {
            let foreign = FOREIGN.iter().find(|(name, _)| name == variable).unwrap().1;
            let mut asked = command(arguments);
            asked.envs(FOREIGN).envs(used.iter().copied()).env(variable, foreign);
            let (output, errors) = run(asked).await;
            assert!(!output.status.success(), "{arguments:?} takes {variable} for {value}");
            assert!(errors.contains(variable) || errors.contains("no database"), "{arguments:?}: {errors}");
        }
    }
    // A flag is meant: it is checked, and it is as good as the variable.
    let (output, errors) = run(command(&["token", "--sub", "alice", "--port", "http"])).await;
    assert!(!output.status.success() && errors.contains("--port"), "{errors}");
    let mut asked = command(&["healthcheck", "--host", "127.0.0.1", "--port", &port]);
    asked.envs(FOREIGN);
    let (output, errors) = run(asked).await;
    assert!(output.status.success(), "{errors}");
    // What is wrong with the tool's own arguments is told before anything else.
    let mut asked = command(&["token"]);
    asked.envs(FOREIGN).envs(key);
    let (_, errors) = run(asked).await;
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
        let files = Files::new();
        let mut service = Service::start(&files, NO_BROKER, &[("HOST", host)]).await;
        let port = service.port.to_string();
        for arguments in [&["healthcheck"][..], &["dead-letters", "list"]] {
            let mut asked = command(arguments);
            asked.env("HOST", host).env("PORT", &port);
            let (output, errors) = run(asked).await;
            assert!(output.status.success(), "{arguments:?} of {host}: {errors}");
        }
        let mut asked = command(&["adopt"]);
        asked.env("HOST", host).env("PORT", &port);
        assert!(run(asked).await.1.contains("answered 503"), "the broker is away");
        service.terminate().await;
    }
}

#[tokio::test]
async fn a_wrong_password_of_the_broker_is_told_and_stops_nothing() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let environment = [("NATS_PASSWORD", "not-the-right-one"), ("RUST_LOG", "debug")];
    let mut service = Service::start(&files, &broker.url(), &environment).await;
    service.user("alice").place("1", 1).await;
    crate::fixture::wait_until("the log names the refusal", || async {
        service.log().to_lowercase().contains("authorization violation")
    })
    .await;
    assert_eq!(service.terminate().await.code(), Some(0));
    assert!(!service.log().contains("not-the-right-one"), "a password is in the log");
}
