//! Each promise in the README, and each fault and attack in docs/RELIABILITY.md, names the tests that prove
//! it, and they exist.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use processes::workspace;
use testing::text_below;

#[test]
fn every_promise_of_the_readme_names_a_test_that_exists() {
    check_table("README.md", "## What happens when…");
}

#[test]
fn every_fault_of_the_reliability_page_names_a_test_that_exists() {
    check_table("docs/RELIABILITY.md", "## Faults");
}

#[test]
fn every_attack_of_the_reliability_page_names_a_test_that_exists() {
    check_table("docs/RELIABILITY.md", "## Attacks");
}

/// The last column of the table below `heading` names at least one test a row, and only tests and commands.
fn check_table(file: &str, heading: &str) {
    let text = fs::read_to_string(workspace::root().join(file)).unwrap();
    let (_, after) = text.split_once(heading).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let tests = all_tests();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 5, "{file}: the table was not found");
    for row in rows {
        let quoted = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2);
        // A command or a setting holds a space or a sign that no name has.
        let is_name = |text: &&str| text.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        let names: Vec<&str> = quoted.filter(is_name).filter(|name| name.len() > 10).collect();
        assert!(!names.is_empty(), "{file}: no test is named in: {row}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}()")), "{file}: there is no test {name}");
        }
    }
}

fn all_tests() -> String {
    let members = ["shared", "order-service", "inventory-service", "processes", "testing", "simulator"];
    let folders = members
        .iter()
        .flat_map(|member| ["src", "tests"].map(|folder| workspace::root().join(member).join(folder)));
    folders.filter(|folder| folder.is_dir()).map(|folder| text_below(&folder)).collect()
}
