//! How tasks of the simulation wait, and the marks by which the scheduler tells what for.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::unconstrained;

use super::time::{Elapsed, Instant, Mark, Marks, with};

/// Polls the task to which these marks belong. With it comes what the task waits for; `None` if that is SQLite.
///
/// Of several futures only those are polled that were woken, and a wait that is not polled leaves no mark. So each is woken
/// before. What is not asked for any more, such as the rest of a stream, leaves none.
pub fn poll_with<T>(marks: &mut Marks, poll: impl FnOnce() -> T) -> (T, Option<Mark>) {
    for (_, waker) in std::mem::take(marks).into_values() {
        waker.wake();
    }
    let polled = poll();
    *marks = with(|clock| std::mem::take(&mut clock.marks)).unwrap_or_default();
    (polled, marks.values().map(|(mark, _)| *mark).max())
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

    fn mark(&self, mark: Mark, waker: &Waker) {
        // A waker that is dropped may drop a future, and so a wait: not while the clock is borrowed.
        let _former =
            with(|clock| (!clock.only_looks).then(|| clock.marks.insert(self.0, (mark, waker.clone()))));
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let _former = with(|clock| clock.marks.remove(&self.0));
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
        wait.mark(Mark::Ready, context.waker());
        Poll::Pending
    })
    .await;
}

/// What `future` has now, without waiting for it.
pub fn at_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
    with(|clock| clock.only_looks = true);
    let output = unconstrained(future).now_or_never();
    with(|clock| clock.only_looks = false);
    output
}

/// Whether who polls now does not wait.
pub fn only_looks() -> bool {
    with(|clock| clock.only_looks).unwrap_or_default()
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
        let (key, waker) = ((self.due, self.wait.0), context.waker().clone());
        let polled = with(|clock| match self.due <= clock.now {
            true => (Poll::Ready(()), clock.timers.remove(&key)),
            false => (Poll::Pending, clock.timers.insert(key, waker)),
        });
        polled.map_or(Poll::Ready(()), |(polled, _former)| polled)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let _former = with(|clock| clock.timers.remove(&(self.due, self.wait.0)));
    }
}

/// Waits for so long.
pub async fn sleep(duration: Duration) {
    let Some(timer) = Timer::new(Instant::now() + duration) else {
        return tokio::time::sleep(duration).await;
    };
    std::future::poll_fn(|context| {
        let polled = timer.poll(context);
        if polled.is_pending() {
            timer.wait.mark(Mark::Asleep, context.waker());
        }
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
        let before = with(|clock| clock.marks.clone());
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        // What it waits for may live on in a stream, and is not what the step waits for from here on.
        timer.poll(context).map(|()| {
            let _former = before.and_then(|before| with(|clock| std::mem::replace(&mut clock.marks, before)));
            Err(Elapsed)
        })
    })
    .await
}

/// Waits for what another task of this service does.
pub async fn other_task<F: Future>(done: F) -> F::Output {
    let (wait, mut done) = (Wait::new(), pin!(done));
    std::future::poll_fn(|context| {
        let polled = done.as_mut().poll(context);
        if let (Some(wait), true) = (&wait, polled.is_pending()) {
            wait.mark(Mark::Asleep, context.waker());
        }
        polled
    })
    .await
}
