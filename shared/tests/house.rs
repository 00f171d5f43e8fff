//! The house as ARCHITECTURE.md draws it: the same folders and files, and arrows that point down only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `shared`, each above all that stand before it. The files beside them are the ground below.
const ROOMS: [&str; 6] = ["contract", "storage", "broker", "delivery", "http", "operations"];

/// Module paths, from the crate's root on, such as `["http", "auth", "keys"]`.
type Module = Vec<String>;
type Modules = BTreeMap<Module, String>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source_folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.join("Cargo.toml").is_file()).collect();
    folders.sort();
    folders.into_iter().map(|folder| folder.join("src")).collect()
}

/// Every file of a crate by its module path, without its tests. The door of a folder is the folder's own module.
fn modules(folder: &Path, at: &Module, found: &mut Modules) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let child = [&at[..], std::slice::from_ref(&stem)].concat();
        if path.is_dir() {
            modules(&path, &child, found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let module = if ["mod", "lib", "main"].contains(&stem.as_str()) { at.clone() } else { child };
            found.entry(module).or_default().push_str(&lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The paths that the `use` lines of a file name, from the crate's root on; whether each is handed on to others.
fn uses(module: &Module, is_door: bool, code: &str) -> Vec<(Module, bool)> {
    let mut found = Vec::new();
    for (head, names) in code.split(';').filter_map(|piece| piece.rsplit_once("use ")) {
        let before = head.rsplit('\n').next().unwrap_or_default().trim();
        let handed_on = before.starts_with("pub");
        if !before.is_empty() && !handed_on {
            continue;
        }
        for path in paths(names) {
            let mut base = module[..module.len().saturating_sub(usize::from(!is_door))].to_vec();
            let (root, rest) = path.split_first().unwrap();
            match root.as_str() {
                "crate" => base.clear(),
                "super" if is_door => drop(base.pop()),
                "super" | "self" => {}
                // A door names its own children.
                _ if is_door && handed_on => base.push(root.clone()),
                _ => continue,
            }
            found.push(([&base[..], rest].concat(), handed_on));
        }
    }
    found
}

/// `a::b::{C, D as E}` as the paths that it stands for. There are no groups in groups.
fn paths(names: &str) -> Vec<Module> {
    let (base, names) = names.split_once('{').unwrap_or(("", names));
    assert!(!names.contains('{'), "a group in a group: {base}{names}");
    let names =
        names.trim_end().trim_end_matches('}').split(',').map(str::trim).filter(|name| !name.is_empty());
    let path = |name: &str| {
        let name = name.split(" as ").next().filter(|name| *name != "self").unwrap_or_default();
        let parts = base.split("::").chain(name.split("::")).map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    names.map(path).collect()
}

/// Which file uses which. What a door hands on is used where it is written.
fn arrows(modules: &Modules) -> BTreeMap<Module, BTreeSet<Module>> {
    let is_door =
        |module: &Module| modules.keys().any(|other| other.len() > module.len() && other.starts_with(module));
    let uses_of = |module: &Module| uses(module, is_door(module), &modules[module]);
    let resolve = |path: &Module| {
        let mut path = path.clone();
        loop {
            let prefixes = (0..=path.len()).rev().map(|length| path[..length].to_vec());
            let file = prefixes.into_iter().find(|prefix| modules.contains_key(prefix))?;
            let Some(name) = path.get(file.len()) else { return Some(file) };
            let handed_on = |(used, on): &(Module, bool)| *on && used.last() == Some(name) && *used != path;
            match uses_of(&file).into_iter().find(handed_on) {
                Some((used, _)) => path = used,
                None => return Some(file),
            }
        }
    };
    let used_by = |module: &Module| {
        let paths = uses_of(module).into_iter().filter(|(_, handed_on)| !handed_on);
        paths.filter_map(|(path, _)| resolve(&path)).filter(|used| used != module).collect()
    };
    modules.keys().map(|module| (module.clone(), used_by(module))).collect()
}

/// A way that leads from a file back to it.
fn circle(mut arrows: BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    loop {
        let left = arrows.clone();
        // What uses nothing that is left is in no circle.
        arrows.retain(|_, used| used.iter().any(|one| left.contains_key(one)));
        if arrows.len() == left.len() {
            break;
        }
    }
    let mut way: Vec<&Module> = arrows.keys().take(1).collect();
    while let Some(last) = way.last() {
        let next = arrows[*last].iter().find(|one| arrows.contains_key(*one)).unwrap();
        if let Some(start) = way.iter().position(|module| *module == next) {
            return way[start..].iter().map(|module| module.join("::")).collect();
        }
        way.push(next);
    }
    Vec::new()
}

#[test]
fn no_file_uses_one_that_uses_it() {
    for folder in source_folders() {
        let mut found = Modules::new();
        modules(&folder, &Module::new(), &mut found);
        assert_eq!(circle(arrows(&found)), [""; 0], "{}", folder.display());
    }
}

#[test]
fn the_rooms_of_shared_use_only_what_is_below_them() {
    let mut found = Modules::new();
    modules(&workspace().join("shared/src"), &Module::new(), &mut found);
    let floor = |module: &Module| module.first().and_then(|room| ROOMS.iter().position(|name| name == room));
    let arrows = arrows(&found);
    assert!(arrows.values().flatten().count() > 100, "the arrows are found");
    for (from, to) in arrows.iter().flat_map(|(from, used)| used.iter().map(move |to| (from, to))) {
        assert!(from.is_empty() || floor(to) <= floor(from), "{} uses {}", from.join("::"), to.join("::"));
    }
}

/// The code map of ARCHITECTURE.md: each folder with the names of its files. Two spaces stand before what a folder is for.
fn code_map() -> BTreeMap<PathBuf, BTreeSet<String>> {
    let page = fs::read_to_string(workspace().join("docs/ARCHITECTURE.md")).unwrap();
    let map = page.split("## Code map").nth(1).and_then(|rest| rest.split("```").nth(1)).expect("a code map");
    let (mut folders, mut way) = (BTreeMap::new(), Vec::new());
    for line in map.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let entry = line.trim_start();
        way.truncate((line.len() - entry.len()) / 2);
        let (folder, rest) = entry.split_once('/').unwrap_or_else(|| panic!("{line}"));
        let (folder, rest) = match rest.strip_prefix("src/") {
            Some(rest) => (format!("{folder}/src"), rest),
            None => (folder.to_owned(), rest),
        };
        way.push(folder);
        let files = rest.trim_start().split("  ").next().unwrap_or_default();
        let files = files.split_whitespace().filter(|name| *name != "–").map(str::to_owned).collect();
        folders.insert(way.iter().collect(), files);
    }
    folders
}

fn on_disk(folder: &Path, found: &mut BTreeMap<PathBuf, BTreeSet<String>>) {
    let mut files = BTreeSet::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() {
            on_disk(&path, found);
        } else if !["mod", "lib"].contains(&stem) {
            files.insert(stem.to_owned());
        }
    }
    found.insert(folder.strip_prefix(workspace()).unwrap().to_owned(), files);
}

#[test]
fn the_code_map_names_the_folders_and_files_that_there_are() {
    let mut found = BTreeMap::new();
    source_folders().iter().for_each(|folder| on_disk(folder, &mut found));
    assert_eq!(code_map(), found);
}

/// The paths in backticks of a page's prose that begin with a folder of the repository.
fn paths_of(page: &str, folders: &[String]) -> Vec<String> {
    let prose: String = page.split("```").step_by(2).collect();
    let words = prose.split('`').skip(1).step_by(2);
    let endings = [".rs", ".sql", ".yaml", ".json", ".conf", "/"];
    let is_path = |word: &&str| {
        let root = word.split_once('/').map(|(root, _)| root.to_owned());
        root.is_some_and(|root| folders.contains(&root))
            && endings.iter().any(|ending| word.ends_with(ending))
    };
    words.filter(is_path).map(str::to_owned).collect()
}

#[test]
fn every_path_that_a_page_names_is_there() {
    let entries = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    // What is built and what is stored is there only once something ran.
    let is_source = |folder: &String| !["target", "db"].contains(&folder.as_str());
    let folders: Vec<_> =
        entries(workspace()).filter(|path| path.is_dir()).map(|path| name(&path)).filter(is_source).collect();
    let pages = entries(workspace().join("docs"))
        .chain(["README.md", "CONTRIBUTING.md"].map(|page| workspace().join(page)));
    let (mut seen, mut missing) = (0, Vec::new());
    for page in pages.filter(|page| page.extension().is_some_and(|ending| ending == "md")) {
        for path in paths_of(&fs::read_to_string(&page).unwrap(), &folders) {
            seen += 1;
            if !workspace().join(&path).exists() {
                missing.push(format!("{}: {path}", name(&page)));
            }
        }
    }
    assert!(seen > 10, "the paths are found");
    assert_eq!(missing, [""; 0]);
}
