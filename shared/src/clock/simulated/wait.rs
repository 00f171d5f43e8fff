//! How tasks of the simulation wait, and the marks by which the scheduler tells what for.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::unconstrained;

use super::time::{Elapsed, Instant, Mark, with};

/// Before a step is polled: it waits for nothing.
pub fn begin_step() {
    with(|clock| clock.marks.clear());
}

/// What the step waits for that was polled last; `None` if it is SQLite.
pub fn mark() -> Option<Mark> {
    with(|clock| clock.marks.values().max().copied()).flatten()
}

/// A wait that a step may be in. Dropped, the step is not in it any more.
struct Wait(u64);

impl Wait {
    /// `None` without a simulation.
    fn new() -> Option<Self> {
        with(|clock| {
            clock.waits += 1;
            Self(clock.waits)
        })
    }

    fn mark(&self, mark: Option<Mark>) {
        with(|clock| match mark {
            Some(mark) => clock.marks.insert(self.0, mark),
            None => clock.marks.remove(&self.0),
        });
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.mark(None);
    }
}

/// Ends this step; the next goes on from here.
pub async fn park() {
    let Some(wait) = Wait::new() else { return };
    let mut is_parked = false;
    std::future::poll_fn(|context| {
        if is_parked {
            return Poll::Ready(());
        }
        is_parked = true;
        wait.mark(Some(Mark::Ready));
        // For one of several futures that are polled only when they are woken.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn marks() -> BTreeMap<u64, Mark> {
    with(|clock| clock.marks.clone()).unwrap_or_default()
}

fn restore(before: BTreeMap<u64, Mark>) {
    with(|clock| clock.marks = before);
}

/// What `future` has now, without waiting for it.
pub fn at_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
    let before = marks();
    let output = unconstrained(future).now_or_never();
    restore(before);
    output
}

/// A timer that is forgotten when it is dropped.
struct Timer {
    due: Duration,
    wait: Wait,
}

impl Timer {
    /// `None` without a simulation.
    fn new(due: Instant) -> Option<Self> {
        Wait::new().map(|wait| Self { due: due.0, wait })
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let is_due = with(|clock| {
            let (key, is_due) = ((self.due, self.wait.0), self.due <= clock.now);
            match is_due {
                true => clock.timers.remove(&key),
                false => clock.timers.insert(key, context.waker().clone()),
            };
            is_due
        });
        if is_due == Some(false) { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        with(|clock| clock.timers.remove(&(self.due, self.wait.0)));
    }
}

/// Waits for so long.
pub async fn sleep(duration: Duration) {
    let Some(timer) = Timer::new(Instant::now() + duration) else {
        return tokio::time::sleep(duration).await;
    };
    std::future::poll_fn(|context| {
        let polled = timer.poll(context);
        timer.wait.mark(polled.is_pending().then_some(Mark::Asleep));
        polled
    })
    .await;
}

/// Waits for `future`, no longer than so long.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    timeout_at(Instant::now() + duration, future).await
}

/// Waits for `future`, no longer than until `deadline`.
///
/// The timer leaves no mark of its own: while SQLite is waited for, no time passes.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let Some(timer) = Timer::new(deadline) else {
        let left = deadline.since(Instant::now());
        return tokio::time::timeout(left, future).await.map_err(|_| Elapsed);
    };
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let before = marks();
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        // What it waits for may live on in a stream, and is not what the step waits for from here on.
        timer.poll(context).map(|()| Err(Elapsed)).map(|elapsed| {
            restore(before);
            elapsed
        })
    })
    .await
}

/// Locks what another step may hold while it waits for the broker.
pub async fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    let (wait, mut locked) = (Wait::new(), pin!(mutex.lock()));
    std::future::poll_fn(|context| {
        let polled = locked.as_mut().poll(context);
        if let Some(wait) = &wait {
            wait.mark(polled.is_pending().then_some(Mark::Asleep));
        }
        polled
    })
    .await
}
