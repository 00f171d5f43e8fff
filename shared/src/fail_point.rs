//! Fail-points: named gaps of the protocol at which a test lets a real process die.
//!
//! Only with the feature `fail-points`, which `cargo test` turns on through dev-dependencies; otherwise [`reach`] is empty
//! and leaves nothing in the binary. `FAIL_POINT` names one point, `FAIL_POINT_SKIP` says how often it is passed unharmed
//! before the process aborts there, without any destructor, as a crash would end it.

#[cfg(feature = "fail-points")]
pub use armed::reach;

/// Marks a gap of the protocol, such as `"consumer: committed, not acked"`.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub fn reach(_name: &'static str) {}

#[cfg(feature = "fail-points")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    struct Armed {
        name: String,
        skip: AtomicU32,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    /// Aborts the process if this is the point that `FAIL_POINT` names and it was passed often enough.
    pub fn reach(name: &'static str) {
        let Some(armed) = ARMED.get_or_init(from_environment) else { return };
        if armed.name != name {
            return;
        }
        let left = armed.skip.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if left.is_err() {
            eprintln!("fail-point reached: {name}");
            std::process::abort();
        }
    }

    fn from_environment() -> Option<Armed> {
        let name = std::env::var("FAIL_POINT").ok()?;
        let skip = std::env::var("FAIL_POINT_SKIP").ok().and_then(|skip| skip.parse().ok()).unwrap_or(0);
        Some(Armed { name, skip: AtomicU32::new(skip) })
    }
}
