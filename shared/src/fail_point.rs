//! Fail-points: named gaps of the protocol, and background tasks, at which a test lets a process fail.
//!
//! Only with the feature `fail-points`, which `cargo test` turns on through dev-dependencies; otherwise
//! nothing of them is left in the binary. `FAIL_POINT` names one point: a gap, or `task: NAME`, which a task
//! reaches each time it is polled. `FAIL_POINT_SKIP` says how often it is passed unharmed. Then the process
//! aborts there, without any destructor, as a crash would end it; with `FAIL_POINT_PANIC`, whatever its
//! value, the task that reached the point panics instead.

#[cfg(feature = "fail-points")]
pub use armed::{hook, in_task, reach};

/// Marks a gap of the protocol, such as `"consumer: committed, not acked"`.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub fn reach(_name: &'static str) {}

/// Marks all of a background task.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub fn in_task<F: Future<Output = ()>>(_name: &'static str, task: F) -> F {
    task
}

#[cfg(feature = "fail-points")]
mod armed {
    use std::cell::Cell;
    use std::io::Write;
    use std::pin::pin;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Armed {
        name: String,
        skip: AtomicU32,
        panics: bool,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    thread_local! {
        static HOOK: Cell<Option<fn(&'static str)>> = const { Cell::new(None) };
    }

    /// Has this thread call `hook` at each point that it reaches from now on, for the simulation to crash a service there.
    pub fn hook(hook: fn(&'static str)) {
        HOOK.set(Some(hook));
    }

    /// Ends the process, or panics, if `FAIL_POINT` names this point and it was passed often enough.
    pub fn reach(name: &'static str) {
        match HOOK.get() {
            Some(hook) => hook(name),
            None => reach_armed(name),
        }
    }

    fn reach_armed(name: &str) {
        let Some(armed) = ARMED.get_or_init(from_environment) else { return };
        if armed.name != name {
            return;
        }
        let left = armed.skip.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if left.is_ok() {
            return;
        }
        if armed.panics {
            panic!("fail-point reached: {name}");
        }
        let _ = writeln!(std::io::stderr(), "fail-point reached: {name}");
        std::process::abort();
    }

    /// A task that reaches the point `task: NAME` before each of its steps from one await to the next.
    pub async fn in_task<F: Future<Output = ()>>(name: &'static str, task: F) {
        let (point, mut task) = (format!("task: {name}"), pin!(task));
        std::future::poll_fn(|context| {
            reach_armed(&point);
            task.as_mut().poll(context)
        })
        .await;
    }

    fn from_environment() -> Option<Armed> {
        let name = std::env::var("FAIL_POINT").ok()?;
        let skip = std::env::var("FAIL_POINT_SKIP").ok().and_then(|skip| skip.parse().ok()).unwrap_or(0);
        let panics = std::env::var_os("FAIL_POINT_PANIC").is_some();
        Some(Armed { name, skip: AtomicU32::new(skip), panics })
    }
}
