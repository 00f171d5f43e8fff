//! `sim reset` beside a broker that has outlived its `sim up`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use processes::{Logs, Port, Process, broker, nats_server};
use simulator::binaries::Binaries;
use simulator::topology::{Topology, TopologyConfig};
use tokio::process::Command;

async fn reset(folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.arg("reset").arg("--data").arg(folder).output().await.unwrap()
}

/// Nobody holds a lock: the services have ended, and `sim up` was ended with `kill -9`.
#[tokio::test]
async fn nothing_is_erased_or_started_under_a_broker_that_still_runs() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::claim().unwrap());
    let (data, link) = (folder.path().join("db"), folder.path().join("link"));
    fs::create_dir(&data).unwrap();
    symlink(&data, &link).unwrap();
    fs::write(data.join("order.db"), "").unwrap();
    let server = nats_server::find_or_fetch().unwrap();
    let command = broker::command(&server, &data.join("nats"), port.number(), -1);
    let mut process = Process::spawn("nats", command, &Logs::Folder(folder.path().to_owned())).unwrap();
    broker::wait_until_ready(port.number()).await.unwrap();

    for name in [&data, &link] {
        let output = reset(name).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let way_out =
            format!("in use by a nats-server; stop it first, with `kill {}`", process.pid().unwrap());
        assert!(errors.contains(&way_out), "{errors}");
        assert!(data.join("order.db").exists() && data.join("nats/jetstream").exists());
    }
    let config = TopologyConfig::in_folder(data.clone(), Binaries::beside_test().unwrap()).unwrap();
    let error = Topology::start(config).await.unwrap_err().to_string();
    assert!(error.contains("is in use by a nats-server"), "{error}");

    process.terminate(Duration::from_secs(10)).await.unwrap();
    let output = reset(&link).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[tokio::test]
async fn a_reset_needs_no_reader() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("order.db"), "").unwrap();
    let mut reset = Command::new(env!("CARGO_BIN_EXE_sim"));
    let mut unread =
        reset.arg("reset").arg("--data").arg(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    drop(unread.stdout.take());
    assert!(unread.wait().await.unwrap().success());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
