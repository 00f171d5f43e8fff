//! What the tests of any crate start, and what they check with. Failures panic with their reason, since
//! nobody but a failing test would handle them.
//!
//! - [`Broker`]: a NATS of their own, never a mock; [`RawPublisher`]: messages that no client would send
//! - [`SmallDisk`]: a disk that fills up
//! - [`contract`], [`event_contract`], [`families`]: what is promised of HTTP, events, and metrics
//! - [`migrations`]: what a binary has of them
//! - [`service`]: a service in the test or as a process, its callers, its database, and its events
//! - [`wait_until`]: how a test waits

mod broker;
pub mod contract;
pub mod event_contract;
pub mod families;
pub mod migrations;
mod raw_publisher;
pub mod service;
mod small_disk;

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use processes::poll;

pub use self::broker::Broker;
pub use self::raw_publisher::RawPublisher;
pub use self::small_disk::SmallDisk;

/// How long [`wait_until`] waits.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; panics with `what` after [`DEADLINE`].
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let held = poll(DEADLINE, Duration::from_millis(20), async || condition().await.then_some(())).await;
    assert!(held.is_some(), "waited {} s in vain until {what}", DEADLINE.as_secs());
}

/// Panics unless the text has each of these lines.
pub fn assert_has_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} is missing in\n{text}");
    }
}

/// The text of every file below `folder`. A key in DER has little of it.
pub fn text_below(folder: &Path) -> String {
    let entries = expect(&format!("list {}", folder.display()), fs::read_dir(folder));
    let paths = entries.map(|entry| expect("list", entry).path());
    let text = |path: PathBuf| match path.is_dir() {
        true => text_below(&path),
        false => {
            let bytes = expect(&format!("read {}", path.display()), fs::read(&path));
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    paths.map(text).collect()
}

fn expect<T, E: Debug>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("cannot {what}: {error:?}"))
}
