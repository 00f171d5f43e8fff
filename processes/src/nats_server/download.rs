//! Gets the pinned nats-server: the official archive, else built with Go, else out of the official image.
//!
//! The archive is used only when its SHA-256 is the one committed here; Go checks its own sums, Docker the
//! image's. Each step is printed, and why it failed.

use std::fs;
use std::io::{IsTerminal, stderr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use ring::digest::{SHA256, digest};

use super::version::{PINNED, require_new_enough};

/// SHA-256 of `nats-server-v2.14.5-linux-ARCH.tar.gz`, by Rust's and the release's name of the architecture.
const ARCHIVES: [(&str, &str, &str); 2] = [
    ("x86_64", "amd64", "5e3b603d47c447bda1f77f9ac16dbf91c90aac4ff3681f8fbbc7201e4ed99355"),
    ("aarch64", "arm64", "673a98d3faa79dde3f9ebf16d6dfac36a5f694e7ad2015e4954dd7939c85cd4c"),
];

/// A way to get the server into a scratch folder; returns the binary's path in there.
type Step = fn(&Path) -> Result<PathBuf>;

/// Each with what a person waits for.
const STEPS: [(&str, &str, Step); 3] = [
    ("the official release archive", "a download of some megabytes", archive),
    ("`go install`", "which compiles it for about a minute", go_install),
    ("the official image", "a download by Docker", image),
];

/// Puts the pinned nats-server at `server`, by the first step that works.
pub fn fetch(folder: &Path, server: &Path) -> Result<()> {
    for (name, wait, step) in STEPS {
        eprintln!("nats-server {PINNED}: trying {name}, {wait}");
        match attempt(step, folder, server) {
            Ok(()) => {
                eprintln!("nats-server {PINNED}: from {name}, now at {}", server.display());
                return Ok(());
            }
            Err(error) => eprintln!("nats-server {PINNED}: no luck with {name}: {error:#}"),
        }
    }
    let advice = if cfg!(target_os = "macos") {
        "install it with `brew install nats-server`"
    } else {
        "install version 2.14 or newer and put it on PATH, or name it in NATS_SERVER"
    };
    bail!("there is no nats-server; {advice}")
}

/// Runs one step in an empty folder and moves its result into place at once, so nobody sees half a file.
fn attempt(step: Step, folder: &Path, server: &Path) -> Result<()> {
    let scratch = tempfile::tempdir_in(folder).context("cannot create a scratch folder")?;
    let binary = step(scratch.path())?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))
        .context("cannot make the server executable")?;
    require_new_enough(&binary)?;
    fs::rename(&binary, server).context("cannot move the server into place")
}

fn archive(scratch: &Path) -> Result<PathBuf> {
    let (_, arch, sha256) = ARCHIVES
        .iter()
        .find(|(name, _, _)| cfg!(target_os = "linux") && *name == std::env::consts::ARCH)
        .context("its SHA-256 is known for Linux on amd64 and arm64 only")?;
    let name = format!("nats-server-v{PINNED}-linux-{arch}");
    let url = format!("https://github.com/nats-io/nats-server/releases/download/v{PINNED}/{name}.tar.gz");
    let file = scratch.join("archive.tar.gz");
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--show-error", "--location", "--connect-timeout", "10", "--max-time", "600"]);
    // A person sees how far it is.
    match stderr().is_terminal() {
        true => curl.arg("--progress-bar").stderr(Stdio::inherit()),
        false => curl.arg("--silent"),
    };
    run(curl.arg("--output").arg(&file).arg(url))?;
    verify(&file, sha256)?;
    run(Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(scratch))?;
    Ok(scratch.join(name).join("nats-server"))
}

fn go_install(scratch: &Path) -> Result<PathBuf> {
    let module = format!("github.com/nats-io/nats-server/v2@v{PINNED}");
    let mut go = Command::new("go");
    run(go.arg("install").arg(module).current_dir(scratch).env("GOBIN", scratch).env("CGO_ENABLED", "0"))?;
    Ok(scratch.join("nats-server"))
}

fn image(scratch: &Path) -> Result<PathBuf> {
    let docker = |arguments: [&str; 3]| run(Command::new("docker").args(arguments).current_dir(scratch));
    let container = docker(["create", "--quiet", &format!("nats:{PINNED}-alpine")])?;
    let copied = docker(["cp", &format!("{container}:/usr/local/bin/nats-server"), "nats-server"]);
    docker(["rm", "--volumes", &container])?;
    copied.map(|_| scratch.join("nats-server"))
}

fn verify(file: &Path, expected: &str) -> Result<()> {
    let bytes = fs::read(file).context("cannot read the download")?;
    let found: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == expected, "the download's SHA-256 is {found} and not {expected}");
    Ok(())
}

/// Runs a command to its end and returns what it printed; its error output becomes the error's text, unless a
/// person sees it.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}: {}", output.status, error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_download_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archive");
        fs::write(&file, "hello").unwrap();
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        verify(&file, sha256).unwrap();
        fs::write(&file, "hellO").unwrap();
        assert!(verify(&file, sha256).unwrap_err().to_string().contains("SHA-256"));
    }

    #[test]
    fn a_tool_that_is_missing_or_fails_is_named() {
        let error = |program| format!("{:#}", run(&mut Command::new(program)).unwrap_err());
        assert!(error("no-such-tool-here").contains("cannot run no-such-tool-here"));
        assert!(error("false").contains("false: exit status: 1"));
    }
}
