//! Each promise in the README names the test that proves it, and that test exists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use simulator::workspace;

#[test]
fn every_promise_of_the_readme_names_a_test_that_exists() {
    let readme = fs::read_to_string(workspace::root().join("README.md")).unwrap();
    let (_, after) = readme.split_once("## What happens when…").unwrap();
    let (section, _) = after.split_once("\n## ").unwrap();
    let mut tests = String::new();
    for folder in ["order-service/tests", "inventory-service/tests", "simulator/tests"] {
        read_all(&workspace::root().join(folder), &mut tests);
    }
    let promises: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(promises.len() > 5, "the table of promises was not found");
    for promise in promises {
        let names: Vec<&str> = promise.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named in: {promise}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}(")), "there is no test {name}");
        }
    }
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
