//! A command that is told to end before it is done: nothing that it started lives on, and no file stays.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use simulator::binaries::Binaries;
use tempfile::TempDir;
use testing::{DEADLINE, wait_until};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::hangup::{build_nothing, signal, stand_in};

/// A `sim` whose programs and temporary files all lie in one folder, so that its children can be told by
/// their command lines.
struct Sim {
    folder: TempDir,
    child: Child,
}

impl Sim {
    fn start(folder: TempDir, arguments: &[&str]) -> Self {
        fs::create_dir(folder.path().join("tmp")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
        command.args(arguments).env("TMPDIR", folder.path().join("tmp"));
        command.env("CARGO", folder.path().join("cargo")).env("PATH", path_behind(folder.path()));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        Self { child: command.spawn().unwrap(), folder }
    }

    async fn runs(&self, children: usize) {
        wait_until("its children run", async || children_in(self.folder.path()).await == children).await;
        assert_ne!(fs::read_dir(self.folder.path().join("tmp")).unwrap().count(), 0);
    }

    async fn leaves_nothing_after(self, name: &str) {
        signal(name, &self.child).await;
        let output = timeout(DEADLINE, self.child.wait_with_output()).await.expect("it ends").unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {errors}");
        assert!(errors.contains("interrupted"), "{name}: {errors}");
        wait_until("no child lives", async || children_in(self.folder.path()).await == 0).await;
        let left: Vec<_> = fs::read_dir(self.folder.path().join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

fn path_behind(folder: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths([folder.to_owned()].into_iter().chain(env::split_paths(&path))).unwrap()
}

/// How many processes have this folder in their command line.
async fn children_in(folder: &Path) -> usize {
    let output = Command::new("ps").args(["-A", "-ww", "-o", "args="]).output().await.unwrap();
    let folder = folder.to_str().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains(folder)).count()
}

/// Links to the services that this build has, and a cargo that names the links.
pub fn folder_with_services() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let link = |binary: &Path| {
        let link = folder.path().join(binary.file_name().unwrap());
        symlink(binary, &link).unwrap();
        link
    };
    let Binaries { order, inventory } = Binaries::beside_test().unwrap();
    let links = Binaries { order: link(&order), inventory: link(&inventory) };
    build_nothing(&folder.path().join("cargo"), links);
    folder
}

#[tokio::test]
async fn a_load_that_is_interrupted_leaves_no_process_and_no_folder() {
    for name in ["-INT", "-TERM", "-HUP"] {
        let sim = Sim::start(folder_with_services(), &["load", "--duration", "1h", "--rate", "20"]);
        sim.runs(3).await;
        sim.leaves_nothing_after(name).await;
    }
}

/// The copies hold everybody's orders.
#[tokio::test]
async fn a_check_of_containers_that_is_interrupted_leaves_no_process_and_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker");
    stand_in(&docker, "while :; do sleep 0.1; done");
    let sim = Sim::start(folder, &["check", "--compose"]);
    sim.runs(1).await;
    sim.leaves_nothing_after("-TERM").await;
}
