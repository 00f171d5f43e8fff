//! The `dead-letters` command against a running service.

use serde_json::Value;
use testing::assert_has_lines;

use crate::dead_letters::{write_dead_letter, write_order};
use crate::fixture::ServiceProcess;
use crate::fixture::nats::confirmed;
use crate::fixture::process::{command, run, spawn_alone};

/// What a command printed, its exit code and what it said on standard error.
async fn dead_letters(service: &ServiceProcess, arguments: &[&str]) -> (String, Option<i32>, String) {
    let mut command = command(&["dead-letters"]);
    let ran = run(command.args(arguments).env("PORT", service.port.to_string())).await;
    (ran.said, ran.code, ran.errors)
}

#[tokio::test]
async fn the_command_lists_shows_redrives_and_discards_and_its_exit_code_tells_what_stays() {
    let (files, mut service) = spawn_alone(&[]).await;
    let look = files.look();
    write_dead_letter(&look, "garbage").await;
    write_dead_letter(&look, &confirmed("late")).await;
    write_order(&look, "late").await;
    assert!(service.get("/metrics").await.1.contains("\ndead_letters 2\n"));

    let (list, code, _) = dead_letters(&service, &["list"]).await;
    assert_eq!((list.lines().count(), code), (2, Some(0)), "{list}");
    assert!(list.starts_with("1  order_processed  unknown_order  attempts 1"), "{list}");
    let (list, _, _) = dead_letters(&service, &["list", "--json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["body"]), (2, &"garbage".into()));
    let (shown, code, _) = dead_letters(&service, &["show", "1"]).await;
    assert_eq!(code, Some(0));
    assert!(shown.contains("subject      order_processed") && shown.ends_with("\n\ngarbage\n"), "{shown}");

    let (said, code, errors) = dead_letters(&service, &["redrive", "--all", "--dry-run"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1  dead  invalid_event") && said.contains("1 would be done"), "{said}");
    assert!(errors.contains("1 of 2 dead letters would stay"), "{errors}");
    let (said, code, _) = dead_letters(&service, &["redrive", "2"]).await;
    assert_eq!((said.as_str(), code), ("2  done  confirmed\n", Some(0)));
    let (said, code, errors) = dead_letters(&service, &["redrive", "--all", "--json"]).await;
    let report: Value = serde_json::from_str(&said).unwrap();
    let told = (&report["done"], &report["stay"][0]["id"], code);
    assert_eq!(told, (&0.into(), &1.into(), Some(1)), "{errors}");

    let (said, code, _) = dead_letters(&service, &["discard", "1"]).await;
    assert_eq!((said.as_str(), code), ("1  discarded\n", Some(0)));
    let (_, code, errors) = dead_letters(&service, &["show", "1"]).await;
    assert!(code == Some(1) && errors.contains("404"), "{errors}");
    let (said, code, _) = dead_letters(&service, &["redrive", "--all"]).await;
    assert_eq!((said.as_str(), code), ("0 done\n", Some(0)));

    let metrics = service.get("/metrics").await.1;
    let lines = [
        "dead_letters 0",
        "dead_letters_redriven_total{outcome=\"done\"} 1",
        "dead_letters_redriven_total{outcome=\"dead\"} 1",
        "dead_letters_discarded_total 1",
    ];
    assert_has_lines(&metrics, &lines);
    let log = service.log();
    let told = |line: &str| line.contains(r#""by":"command-line""#) && line.contains(r#""dead_letter":1"#);
    let discarded = log.lines().find(|line| line.contains("dead letter discarded"));
    assert!(discarded.is_some_and(told), "{discarded:?}");
    assert!(!log.contains("garbage"), "a body is in the log");
    service.terminate().await;
    let (_, code, errors) = dead_letters(&service, &["list"]).await;
    assert!(code == Some(1) && errors.contains("reach the running service"), "{errors}");
}

#[tokio::test]
async fn a_redrive_without_a_clear_target_is_refused() {
    for arguments in [&["redrive"][..], &["redrive", "1", "--all"], &["redrive", "x"], &["discard"]] {
        run(command(&["dead-letters"]).args(arguments)).await.failure(2);
    }
}

#[tokio::test]
async fn a_redrive_of_all_that_is_cut_short_tells_what_it_did_before() {
    let dies = [("FAIL_POINT", "redrive: handled, not committed"), ("FAIL_POINT_SKIP", "55")];
    let (files, mut service) = spawn_alone(&dies).await;
    let look = files.look();
    for number in 0..60 {
        write_order(&look, &format!("late-{number}")).await;
        write_dead_letter(&look, &confirmed(&format!("late-{number}"))).await;
    }
    let (said, code, errors) = dead_letters(&service, &["redrive", "--all"]).await;
    assert_eq!((said.as_str(), code), ("50 done\n", Some(1)), "{errors}");
    assert!(errors.contains("not all dead letters were looked at"), "{errors}");
    assert_eq!(look.dead_letters().await, 5, "what was done and not told is done all the same");
    service.end().await;
}
