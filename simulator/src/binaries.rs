//! The two service binaries, built by cargo.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use processes::workspace;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build; for tests.
    Dev,
    /// Optimised; for people and for load.
    Release,
}

#[derive(Debug, Clone)]
pub struct Binaries {
    pub order: PathBuf,
    pub inventory: PathBuf,
}

impl Binaries {
    /// Builds both services and asks cargo where it put them. Blocks; shows cargo's progress.
    pub fn build(profile: Profile) -> Result<Self> {
        match profile {
            Profile::Dev => cargo_build(&[]),
            Profile::Release => cargo_build(&["--release"]),
        }
    }

    /// Release builds that a test can make to fail, copied into `folder`. What people run, in
    /// `target/release`, stays without fail-points.
    pub fn build_with_fail_points(folder: &Path) -> Result<Self> {
        let built = cargo_build(&["--release", "--features", "shared/fail-points"])?;
        let copy = |from: &Path, name| {
            let to = folder.join(name);
            fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display())).map(|_| to)
        };
        let (order, inventory) =
            (copy(&built.order, "order-service")?, copy(&built.inventory, "inventory-service")?);
        // Compiled before or not, cargo puts the binaries without fail-points back in their place.
        Self::build(Profile::Release)?;
        Ok(Self { order, inventory })
    }

    /// The binaries that `cargo test` has built beside the running test, in `target/PROFILE/`.
    pub fn beside_test() -> Result<Self> {
        let test = env::current_exe().context("cannot tell where this test lies")?;
        let folder = test.ancestors().nth(2).context("this test lies outside of a target folder")?;
        let binaries =
            Self { order: folder.join("order-service"), inventory: folder.join("inventory-service") };
        for path in [&binaries.order, &binaries.inventory] {
            ensure!(path.is_file(), "{} is missing; `cargo build` makes it", path.display());
        }
        Ok(binaries)
    }
}

/// Builds what `sim simulate` runs, optimised, and says where it is.
pub fn build_simulation() -> Result<PathBuf> {
    let flags = ["--package", "simulator", "--bin", "simulate", "--features", "simulation", "--release"];
    find(&cargo_report(&flags)?, "simulate")
}

fn cargo_build(flags: &[&str]) -> Result<Binaries> {
    let services = ["--package", "order-service", "--package", "inventory-service", "--bins"];
    let report = cargo_report(&[&services, flags].concat())?;
    Ok(Binaries { order: find(&report, "order-service")?, inventory: find(&report, "inventory-service")? })
}

/// What cargo says of a build that it was told to make.
fn cargo_report(flags: &[&str]) -> Result<String> {
    let mut command = cargo();
    command
        .arg("build")
        .args(flags)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace::root());
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo could not build what is needed: {}", output.status);
    String::from_utf8(output.stdout).context("cargo's report is not text")
}

/// Cargo without what `cargo run` and `cargo test` tell of the package that they run. Some build scripts look at that: cargo
/// would run them again, and compile all that stands on them once more, at each change between those two and `cargo build`.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

fn find(report: &str, name: &str) -> Result<PathBuf> {
    let lines = report.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut paths = lines.filter_map(|line| Some(PathBuf::from(line["executable"].as_str()?)));
    let found = paths.find(|path| path.file_stem().is_some_and(|stem| stem == name));
    found.with_context(|| format!("cargo did not say where {name} is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_knows_nothing_of_the_package_that_runs_it_so_that_nothing_is_compiled_again() {
        let command = cargo();
        for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_PRE", "CARGO_MANIFEST_DIR"] {
            assert!(env::var_os(name).is_some(), "cargo test sets {name}");
            assert!(command.get_envs().any(|variable| variable == (name.as_ref(), None)), "{name}");
        }
    }

    #[test]
    fn binaries_are_found_in_cargos_report_wherever_they_lie() {
        let report = r#"{"reason":"compiler-artifact","executable":null}
            {"reason":"compiler-artifact","executable":"/elsewhere/release/order-service"}
            {"reason":"build-finished","success":true}
            "#;
        assert_eq!(find(report, "order-service").unwrap(), PathBuf::from("/elsewhere/release/order-service"));
        let error = find(report, "inventory-service").unwrap_err().to_string();
        assert!(error.contains("inventory-service"), "{error}");
    }
}
