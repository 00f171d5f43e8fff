//! Which settings give a key, and what the commands do where it cannot sign.

use std::fs;

use serde_json::json;

use crate::fixture::process::{command, run, spawn};
use crate::fixture::signer::Signer;
use crate::fixture::{Files, NO_BROKER, SECRET};

/// What the process says that must not start with these variables.
async fn start_error(files: &Files, variables: &[(&str, &str)]) -> String {
    let mut command = command(&["--port", "0", "--nats-url", NO_BROKER]);
    command.env_remove("JWT_SECRET").env("DATABASE", files.database()).envs(variables.iter().copied());
    let errors = run(&mut command).await.failure(1);
    assert!(!files.database().exists(), "{variables:?}: a database was created");
    errors
}

#[tokio::test]
async fn a_service_without_exactly_one_key_refuses_to_start() {
    let files = Files::new();
    let public = files.write("public.pem", Signer::ed25519().public_pem());
    let secret = files.write("secret", SECRET);
    let key = ("JWT_SECRET", SECRET);
    let secret = ("JWT_SECRET_FILE", &*secret);
    let public = ("JWT_PUBLIC_KEY_FILE", &*public);
    let empty = ["JWT_SECRET", "JWT_SECRET_FILE", "JWT_PUBLIC_KEY_FILE"].map(|name| (name, ""));
    for variables in
        [&[][..], &empty, &[key, secret], &[key, public], &[secret, public], &[key, secret, public]]
    {
        let errors = start_error(&files, variables).await;
        for name in ["JWT_SECRET,", "JWT_SECRET_FILE", "JWT_PUBLIC_KEY_FILE"] {
            assert!(errors.contains(name), "{variables:?}, {name} is not named: {errors}");
        }
        let none = variables.iter().all(|(_, value)| value.is_empty());
        let told = if none { "none is set" } else { "several are set" };
        assert!(errors.contains(told) && !errors.contains(SECRET), "{variables:?}: {errors}");
    }
}

#[tokio::test]
async fn a_key_of_no_use_is_told_by_its_variable_and_its_path_and_not_by_its_content() {
    let files = Files::new();
    let pem = Signer::ed25519().public_pem();
    // It would make the public key a secret that anybody can sign with.
    let errors = start_error(&files, &[("JWT_SECRET", &pem)]).await;
    assert!(errors.contains("JWT_SECRET") && errors.contains("JWT_PUBLIC_KEY_FILE"), "{errors}");
    assert!(!errors.contains(&pem[30..60]), "{errors}");
    let no_base64 = "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----\n";
    let short_by_its_line_end = format!("hunter2{}\r\n", "x".repeat(24));
    let private = pem.replace("PUBLIC", "PRIVATE");
    for (variable, content) in [
        ("JWT_SECRET_FILE", None),
        ("JWT_SECRET_FILE", Some("hunter2\n")),
        ("JWT_SECRET_FILE", Some(&short_by_its_line_end)),
        ("JWT_SECRET_FILE", Some(&pem)),
        ("JWT_PUBLIC_KEY_FILE", None),
        ("JWT_PUBLIC_KEY_FILE", Some("hunter2")),
        ("JWT_PUBLIC_KEY_FILE", Some(SECRET)),
        ("JWT_PUBLIC_KEY_FILE", Some(no_base64)),
        ("JWT_PUBLIC_KEY_FILE", Some(&private)),
    ] {
        let path = files.path("key");
        let _ = fs::remove_file(&path);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let path = path.to_str().unwrap();
        let errors = start_error(&files, &[(variable, path)]).await;
        assert!(errors.contains(&format!("{variable} {path}")), "{content:?}: {errors}");
        for part in ["hunter2", SECRET, &pem[30..60]] {
            assert!(!errors.contains(part), "{variable}, a key is repeated: {errors}");
        }
    }
}

#[tokio::test]
async fn a_secret_may_come_from_a_file_whose_line_end_is_no_part_of_it() {
    for end in ["", "\n", "\r\n"] {
        let files = Files::new();
        let path = files.write("secret", format!("{SECRET}{end}"));
        let environment = [("JWT_SECRET", ""), ("JWT_SECRET_FILE", &*path)];
        let mut service = spawn(&files, NO_BROKER, &environment).await;
        assert_eq!(service.user("alice").post("1", 1).await.status, 201, "{end:?}");
        // A command signs with the file, too.
        let mut command = command(&["dead-letters", "list"]);
        run(command.env("PORT", service.port.to_string()).envs(environment)).await.success();
        service.terminate().await;
    }
}

#[tokio::test]
async fn a_byte_order_mark_never_becomes_part_of_a_secret() {
    let files = Files::new();
    let path = &*files.write("secret", "");
    let utf16 = |mark: [u8; 2], unit: fn(u16) -> [u8; 2]| {
        let units = SECRET.encode_utf16().flat_map(unit);
        mark.into_iter().chain(units).collect::<Vec<u8>>()
    };
    for content in [
        format!("\u{feff}{SECRET}\r\n").into_bytes(),
        // As a redirection of older PowerShells writes it.
        utf16([0xff, 0xfe], u16::to_le_bytes),
        utf16([0xfe, 0xff], u16::to_be_bytes),
    ] {
        fs::write(path, content).unwrap();
        let errors = start_error(&files, &[("JWT_SECRET_FILE", path)]).await;
        let told = format!("JWT_SECRET_FILE {path}: must not begin with a byte order");
        assert!(errors.contains(&told), "{errors}");
        assert!(!errors.contains(SECRET), "{errors}");
    }
    let errors = start_error(&files, &[("JWT_SECRET", &format!("\u{feff}{SECRET}"))]).await;
    assert!(errors.contains("JWT_SECRET: must not begin with a byte order"), "{errors}");

    // A key in PEM is the same with a mark and without.
    let signer = Signer::ed25519();
    fs::write(path, format!("\u{feff}{}", signer.public_pem())).unwrap();
    let key = [("JWT_SECRET", ""), ("JWT_PUBLIC_KEY_FILE", path)];
    let mut service = spawn(&files, NO_BROKER, &key).await;
    let alice = service.caller(&signer.token(&json!({"sub": "alice"})));
    assert_eq!(alice.post("1", 1).await.status, 201);
    service.terminate().await;
}

#[tokio::test]
async fn commands_use_the_admin_token() {
    let (files, signer) = (Files::new(), Signer::ed25519());
    let path = &*files.write("public.pem", signer.public_pem());
    let key =
        [("JWT_SECRET", ""), ("JWT_PUBLIC_KEY_FILE", path), ("JWT_ISSUER", "us"), ("JWT_AUDIENCE", "them")];
    let mut service = spawn(&files, NO_BROKER, &key).await;
    let port = service.port.to_string();
    let ask = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = command(arguments);
        command.env("PORT", &port).env_remove("JWT_SECRET").envs(variables.iter().copied());
        run(&mut command).await
    };
    let claims = json!({"sub": "root", "scope": "orders admin", "iss": "us", "aud": "them"});
    let admin = signer.token(&claims);
    let list = ask(&["dead-letters", "list", "--json"], &[("ADMIN_TOKEN", &admin)]).await;
    assert_eq!(list.success(), "[]\n");
    // With the service's own settings, as in its container; it owns its consumer, or tells why it cannot.
    let adopt = ask(&["adopt"], &[&key[..], &[("ADMIN_TOKEN", &admin)]].concat()).await;
    assert!(adopt.failure(1).contains("503"), "the broker is away");

    let user = signer.token(&json!({"sub": "alice", "iss": "us", "aud": "them"}));
    let errors = ask(&["dead-letters", "list"], &[("ADMIN_TOKEN", &user)]).await.failure(1);
    assert!(errors.contains("403") && !errors.contains(&user), "{errors}");
    for arguments in [&["dead-letters", "list"][..], &["adopt"]] {
        let errors = ask(arguments, &[&key[..], &[("ADMIN_TOKEN", "")]].concat()).await.failure(1);
        let names = errors.contains("ADMIN_TOKEN") && errors.contains("JWT_SECRET");
        assert!(names, "{arguments:?}: {errors}");
    }
    let errors = ask(&["token", "--sub", "alice"], &key).await.failure(1);
    assert!(errors.contains("JWT_SECRET"), "{errors}");
    service.terminate().await;
}

#[tokio::test]
async fn a_printed_token_carries_the_issuer_and_the_audience_that_the_service_asks_for() {
    let files = Files::new();
    let environment = [("JWT_ISSUER", "us"), ("JWT_AUDIENCE", "orders"), ("JWT_REQUIRE_EXP", "true")];
    let mut service = spawn(&files, NO_BROKER, &environment).await;
    let mut token = command(&["token", "--sub", "alice", "--ttl", "60"]);
    let printed = run(token.envs(environment)).await.success();
    let alice = service.caller(printed.trim());
    assert_eq!(alice.post("1", 1).await.status, 201);
    service.user("alice").post("1", 1).await.problem(401);
    let mut list = command(&["dead-letters", "list"]);
    run(list.env("PORT", service.port.to_string()).envs(environment)).await.success();
    service.terminate().await;
}
