//! What is written about settings agrees: `.env.example`, `docker-compose.yml`, the Dockerfiles, `nats.conf`,
//! the README, and the `--help` of both services, which is the truth.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use processes::workspace;
use simulator::binaries::{Binaries, Profile};

type Names = BTreeSet<String>;

fn read(file: &str) -> String {
    fs::read_to_string(workspace::root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

/// The variables that a service reads, as its help shows them: `[env: NAME=…]`.
fn variables_of(binary: &Path) -> Names {
    let output = Command::new(binary).arg("--help").output().unwrap();
    assert!(output.status.success(), "{} --help", binary.display());
    let help = String::from_utf8(output.stdout).unwrap();
    let names: Names = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| Some(rest.split(['=', ']']).next()?.to_owned()))
        .collect();
    assert!(names.contains("JWT_SECRET") && names.iter().all(|name| is_name(name)), "{names:?}");
    names
}

/// The variables of the order service and of the inventory service.
fn variables() -> [Names; 2] {
    let binaries = Binaries::beside_test().or_else(|_| Binaries::build(Profile::Dev)).unwrap();
    [variables_of(&binaries.order), variables_of(&binaries.inventory)]
}

/// `NAME=value` lines.
fn env_example() -> BTreeMap<String, String> {
    let text = read(".env.example");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.split_once('=').unwrap_or_else(|| panic!(".env.example: {line}")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Every `${NAME:-default}` of the compose file; each name has one default wherever it stands.
fn compose_variables() -> BTreeMap<String, String> {
    let (text, mut found) = (read("docker-compose.yml"), BTreeMap::new());
    for rest in text.split("${").skip(1) {
        let inner = rest.split('}').next().unwrap();
        let (name, default) = inner.split_once(":-").unwrap_or_else(|| panic!("${{{inner}}} has no default"));
        let before = found.insert(name.to_owned(), default.to_owned());
        assert!(before.is_none_or(|before| before == default), "{name} has two defaults");
    }
    found
}

/// The keys below `environment:` of one service in the compose file.
fn compose_environment(service: &str) -> Names {
    let text = read("docker-compose.yml");
    let of_service = text.lines().skip_while(|line| *line != format!("  {service}:")).skip(1);
    let of_service = of_service.take_while(|line| line.starts_with("    ") || line.is_empty());
    let below = of_service.skip_while(|line| *line != "    environment:").skip(1);
    let keys: Names = below
        .take_while(|line| line.starts_with("      "))
        .filter_map(|line| Some(line.trim().split_once(':')?.0.to_owned()))
        .filter(|key| is_name(key))
        .collect();
    assert!(!keys.is_empty(), "docker-compose.yml sets nothing for {service}");
    keys
}

/// The variables that a Dockerfile sets.
fn dockerfile_environment(file: &str) -> Names {
    let text = read(file);
    let lines = text.lines().filter_map(|line| line.strip_prefix("ENV "));
    let pairs = lines.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, _)| name.to_owned()).collect()
}

/// The names in backticks in the first column of the README's settings table.
fn readme_table() -> Names {
    let text = read("README.md");
    let table = text.lines().skip_while(|line| *line != "## Settings").skip(1);
    let table = table.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    let columns = table.filter_map(|line| line.split('|').nth(1));
    columns.flat_map(|column| column.split('`')).filter(|name| is_name(name)).map(str::to_owned).collect()
}

#[test]
fn env_example_has_exactly_what_compose_reads_with_the_same_defaults() {
    assert_eq!(env_example(), compose_variables());
}

#[test]
fn every_port_that_compose_publishes_can_be_moved_by_a_variable() {
    let text = read("docker-compose.yml");
    let published = text.split('"').filter_map(|quoted| quoted.strip_prefix("127.0.0.1:"));
    let mut variables = Names::new();
    for port in published {
        let name = port.strip_prefix("${").and_then(|rest| Some(rest.split_once(":-")?.0));
        variables.insert(
            name.unwrap_or_else(|| panic!("{port} is published and no variable moves it")).to_owned(),
        );
    }
    let ports: Names = env_example().into_keys().filter(|name| name.ends_with("_PORT")).collect();
    assert_eq!(variables, ports);
}

#[test]
fn what_compose_and_the_images_set_is_a_setting_of_the_service() {
    let [order, inventory] = variables();
    for (service, file, known) in [
        ("order-service", "Dockerfile.order", order),
        ("inventory-service", "Dockerfile.inventory", inventory),
    ] {
        let set: Names = &compose_environment(service) | &dockerfile_environment(file);
        let unknown: Vec<_> = set.difference(&known).filter(|name| *name != "PATH").collect();
        assert!(unknown.is_empty(), "{service} does not know {unknown:?}; it knows {known:?}");
    }
}

#[test]
fn the_brokers_passwords_have_the_same_names_everywhere() {
    let conf = read("nats.conf");
    let settings = conf.lines().filter(|line| !line.trim_start().starts_with('#'));
    let used: Names =
        settings.filter_map(|line| line.trim().strip_prefix("password: $")).map(str::to_owned).collect();
    assert_eq!(used, compose_environment("nats"));
    let example = env_example();
    for user in processes::broker::USERS {
        let name = processes::broker::password_variable(user);
        assert!(used.contains(&name), "nats.conf does not use {name}");
        assert_eq!(example[&name], format!("{user}-demo-password"), "{name} in .env.example");
    }
}

#[test]
fn the_readme_lists_exactly_the_settings_of_both_services_and_what_compose_reads() {
    let [order, inventory] = variables();
    assert_eq!(readme_table(), &order | &inventory, "README's table, and both services");
    let readme = read("README.md");
    for name in env_example().keys() {
        assert!(readme.contains(&format!("`{name}`")), "README does not name {name}");
    }
}
