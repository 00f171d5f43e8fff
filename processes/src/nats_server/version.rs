//! Which nats-server is new enough, and whether one is.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Fetched where none is installed.
pub const PINNED: &str = "2.14.5";

/// What the services accept.
const OLDEST: (u32, u32) = (2, 14);

/// Fails unless `path` is a nats-server that runs here and is new enough.
pub fn require_new_enough(path: &Path) -> Result<()> {
    let output =
        Command::new(path).arg("-v").output().with_context(|| format!("cannot run {} -v", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = parse_version(&text);
    let (major, minor) =
        version.with_context(|| format!("{} -v does not tell a version: {text:?}", path.display()))?;
    let is_new_enough = (major, minor) >= OLDEST;
    ensure!(is_new_enough, "{} is version {major}.{minor}, and 2.14 or newer is needed", path.display());
    Ok(())
}

/// Major and minor number in a line such as `nats-server: v2.14.5`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.trim().rsplit_once(": v")?;
    let mut numbers = version.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_numbers_and_not_as_text() {
        assert_eq!(parse_version("nats-server: v2.14.5\n"), Some((2, 14)));
        assert_eq!(parse_version("nats-server: v2.14.2-RC.1"), Some((2, 14)));
        assert_eq!(parse_version("usage: something else"), None, "it is no nats-server");
        assert_eq!(parse_version(""), None);
        assert!(parse_version("nats-server: v2.9.25") < Some(OLDEST));
        assert!(parse_version("nats-server: v10.0.0") > Some(OLDEST));
    }

    #[test]
    fn a_program_that_is_no_nats_server_is_refused_by_name() {
        let error = format!("{:#}", require_new_enough(Path::new("/no/such/nats-server")).unwrap_err());
        assert!(error.contains("/no/such/nats-server"), "{error}");
    }
}
