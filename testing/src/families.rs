//! What `/metrics` must say of every family that the sources use: its kind, a help text, a first sample.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use processes::workspace;

/// Panics unless `text`, a first scrape, has exactly the families that the sources of these crates use.
pub fn assert_all_described(text: &str, crates: &[&str]) {
    let mut used = BTreeMap::new();
    for name in crates {
        read_folder(&workspace::root().join(name).join("src"), &mut used);
    }
    assert!(used.len() > 10, "the sources use metrics: {used:?}");
    for (name, kind) in &used {
        let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.ends_with('.')), "{name} has no help text in\n{text}");
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is no {kind} in\n{text}");
        let sample =
            |line: &&str| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with([' ', '{']));
        assert!(text.lines().any(|line| sample(&line)), "{name} has no sample in\n{text}");
        // What `promtool check metrics` asks of names.
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
    }
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = family.split(' ').next().unwrap_or_default();
        assert!(used.contains_key(name), "{name} is described and nowhere used");
    }
}

/// Adds the names that the sources of a folder hand to the macros of `metrics`, each with its kind.
fn read_folder(folder: &Path, used: &mut BTreeMap<String, &'static str>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() {
            read_folder(&path, used);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap_or_default();
        for kind in ["counter", "gauge", "histogram"] {
            for rest in source.split(&format!("metrics::{kind}!(")).skip(1) {
                let name = rest.split('"').nth(1).unwrap_or_default();
                used.insert(name.to_owned(), kind);
            }
        }
    }
}
