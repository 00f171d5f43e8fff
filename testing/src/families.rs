//! What `/metrics` must say of every family that the sources use: its kind, a help text, a first sample.

use std::collections::BTreeMap;

use processes::workspace;

use crate::text_below;

/// Panics unless `text`, a first scrape, has exactly the families that the sources of these crates use.
pub fn assert_all_described(text: &str, crates: &[&str]) {
    let mut used = BTreeMap::new();
    for name in crates {
        let sources = text_below(&workspace::root().join(name).join("src"));
        for kind in ["counter", "gauge", "histogram"] {
            for rest in sources.split(&format!("metrics::{kind}!(")).skip(1) {
                used.insert(rest.split('"').nth(1).unwrap_or_default().to_owned(), kind);
            }
        }
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
