//! `sim up` when its terminal is closed, or nobody reads what it prints.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use processes::{Port, ports};
use simulator::binaries::Binaries;
use tempfile::TempDir;
use testing::{DEADLINE, wait_until};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The folder of a `sim up`, its ports, and a stand-in for cargo.
struct Up {
    folder: TempDir,
    ports: [Port; 4],
}

impl Up {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        build_nothing(&folder.path().join("cargo"), Binaries::beside_test().unwrap());
        Self { folder, ports: std::array::from_fn(|_| Port::claim().unwrap()) }
    }

    /// The command line, and the services that this build has.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("CARGO", self.folder.path().join("cargo")).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn arguments(&self) -> Vec<String> {
        let flags = ["--order-port", "--inventory-port", "--nats-port", "--monitor-port"];
        let ports = flags.into_iter().zip(&self.ports);
        let ports = ports.flat_map(|(flag, port)| [flag.to_owned(), port.number().to_string()]);
        let data = self.folder.path().join("db").to_str().unwrap().to_owned();
        ["up".to_owned(), "--data".to_owned(), data].into_iter().chain(ports).collect()
    }

    /// Reads what it prints until everything runs.
    async fn is_welcoming(&self, child: &mut Child) {
        let (mut printed, mut piece) = (String::new(), [0; 4096]);
        let output = child.stdout.as_mut().unwrap();
        while !printed.contains("Ctrl-C stops everything") {
            let length = timeout(DEADLINE, output.read(&mut piece)).await.expect("it starts").unwrap();
            assert!(length > 0, "it ended: {printed}");
            printed.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }

    /// Sends a signal, after which it must end well and leave nothing.
    async fn ends_well(&self, child: &mut Child, name: &str) {
        signal(name, child).await;
        let ended = timeout(DEADLINE, child.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), Some(0));
        self.nothing_is_left().await;
    }

    /// Asks the order service again and again; each answer must be a good one.
    async fn answers(&self, path: &str, times: usize) {
        let url = format!("http://127.0.0.1:{}{path}", self.ports[0].number());
        for _ in 0..times {
            assert!(reqwest::get(&url).await.unwrap().status().is_success());
        }
    }

    /// Neither the broker nor a service holds a port, and the data may be used by the next one.
    async fn nothing_is_left(&self) {
        let ports: Vec<_> = self.ports.iter().map(|port| ("a port", port.number())).collect();
        wait_until("nothing listens any more", async || ports::check_free(&ports).is_ok()).await;
        for lock in ["topology.lock", "order.db", "inventory.db"] {
            let lock = std::fs::File::open(self.folder.path().join("db").join(lock)).unwrap();
            wait_until("nobody uses the data", async || lock.try_lock().is_ok()).await;
        }
    }
}

/// A cargo that names these, such as what `cargo test` has built: no test need wait for a release build.
pub fn build_nothing(cargo: &Path, Binaries { order, inventory }: Binaries) {
    let lines = [order, inventory].map(|path| format!("echo '{{\"executable\":\"{}\"}}'\n", path.display()));
    stand_in(cargo, &lines.concat());
}

/// A program that is this script.
pub fn stand_in(program: &Path, script: &str) {
    std::fs::write(program, format!("#!/bin/sh\n{script}")).unwrap();
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub async fn signal(name: &str, child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

#[tokio::test]
async fn a_hangup_stops_everything_although_nobody_reads_what_is_printed() {
    let up = Up::new();
    let mut child = up.command(env!("CARGO_BIN_EXE_sim")).args(up.arguments()).spawn().unwrap();
    up.is_welcoming(&mut child).await;
    drop((child.stdout.take(), child.stderr.take()));
    up.ends_well(&mut child, "-HUP").await;
}

#[tokio::test]
async fn a_topology_whose_output_nobody_reads_goes_on_until_it_is_stopped() {
    let up = Up::new();
    let mut command = up.command(env!("CARGO_BIN_EXE_sim"));
    let mut child = command.env("RUST_LOG", "trace").args(up.arguments()).spawn().unwrap();
    up.is_welcoming(&mut child).await;
    drop((child.stdout.take(), child.stderr.take()));
    up.answers("/livez", 200).await;
    up.ends_well(&mut child, "-TERM").await;
}

/// `script` opens a terminal of its own for the command; killed, it takes the terminal along.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_closed_terminal_takes_everything_along_that_sim_up_started() {
    let up = Up::new();
    let line = format!("exec {} {}", env!("CARGO_BIN_EXE_sim"), up.arguments().join(" "));
    let mut script = up.command("script").args(["-qfc", &line, "/dev/null"]).spawn().unwrap();
    up.is_welcoming(&mut script).await;
    signal("-KILL", &script).await;
    up.nothing_is_left().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_runs_under_nohup_outlives_its_terminal() {
    let up = Up::new();
    let mut child = up.command("nohup").arg(env!("CARGO_BIN_EXE_sim")).args(up.arguments()).spawn().unwrap();
    up.is_welcoming(&mut child).await;
    signal("-HUP", &child).await;
    up.answers("/readyz", 20).await;
    up.ends_well(&mut child, "-TERM").await;
}
