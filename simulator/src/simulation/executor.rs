//! Runs tasks one step at a time. A step goes on until it waits for its turn at the broker, or for time, or ends.
//!
//! SQLite's thread is merely waited for, and so changes nothing: whatever the tasks do follows from the order of
//! their steps.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::thread::ThreadId;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use shared::clock::simulated;
use shared::clock::simulated::{Mark, Marks};
use shared::text;
use tokio::task::unconstrained;

use super::timeline::Side;

/// No statement of SQLite takes so many seconds: whoever waits longer waits for what another step has in hand.
pub const STUCK_AFTER: u32 = 10;

/// The panic by which a service crashes at a fail-point.
pub struct Crash;

/// Something that a service does, in steps.
pub struct Task {
    pub name: &'static str,
    pub side: Side,
    number: u64,
    future: Pin<Box<dyn Future<Output = ()>>>,
    /// It waits for nothing but its turn.
    is_ready: bool,
    marks: Marks,
    waker: Arc<StepWaker>,
    outer: Arc<AtomicWaker>,
}

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Waits,
    Done,
    Crashed,
    Panicked(String),
    /// It has waited for nothing that could come while no other step is taken: perhaps its transaction is open while it asks
    /// the broker.
    Stuck,
}

/// What wakes a task after it was polled once. Later wakes of what it waited for before are nobody's.
struct StepWaker {
    /// The simulation's.
    thread: ThreadId,
    /// Another step has done what this task waits for.
    is_woken: AtomicBool,
    /// So has somebody, perhaps SQLite's thread: also when the answer was there before it was waited for, and so at a moment
    /// that only the machine knows. It ends no wait but the one within a step.
    is_answered: AtomicBool,
    outer: Arc<AtomicWaker>,
}

impl StepWaker {
    fn new(outer: &Arc<AtomicWaker>) -> Arc<Self> {
        let (is_woken, is_answered) = Default::default();
        Arc::new(Self { thread: thread::current().id(), is_woken, is_answered, outer: outer.clone() })
    }
}

impl Wake for StepWaker {
    fn wake(self: Arc<Self>) {
        if thread::current().id() == self.thread {
            self.is_woken.store(true, Ordering::Release);
        }
        self.is_answered.store(true, Ordering::Release);
        self.outer.wake();
    }
}

impl Task {
    pub fn new(name: &'static str, side: Side, future: impl Future<Output = ()> + 'static) -> Self {
        let outer = Arc::new(AtomicWaker::new());
        let waker = StepWaker::new(&outer);
        let (future, marks) = (Box::pin(unconstrained(future)), Marks::new());
        Self { name, side, number: 0, future, is_ready: true, marks, waker, outer }
    }

    /// One of several with this name.
    pub fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }

    /// Its place among all others, by chance. It goes by the task and not by how many there are: in a shorter schedule the
    /// same picks choose the same tasks.
    pub fn rank(&self, pick: u16) -> u64 {
        let mut hasher = DefaultHasher::new();
        (pick, self.side, self.name, self.number).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether a step would do anything.
    pub fn can_go_on(&self) -> bool {
        self.is_ready || self.waker.is_woken.load(Ordering::Acquire)
    }

    /// One step, which may wait for so many seconds for what does not come.
    pub async fn step(&mut self, stuck_after: u32) -> Step {
        let mut is_first = true;
        let mut step = std::future::poll_fn(|context| {
            self.outer.register(context.waker());
            if is_first || self.waker.is_answered.load(Ordering::Acquire) {
                is_first = false;
                return self.poll();
            }
            Poll::Pending
        });
        // One by one: however long the machine pauses, it is one of them that has passed.
        for _ in 0..stuck_after {
            if let Ok(step) = tokio::time::timeout(Duration::from_secs(1), &mut step).await {
                return step;
            }
        }
        Step::Stuck
    }

    fn poll(&mut self) -> Poll<Step> {
        self.waker = StepWaker::new(&self.outer);
        let waker = Waker::from(self.waker.clone());
        let (future, mut context) = (&mut self.future, Context::from_waker(&waker));
        let poll = || catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        match simulated::poll_with(&mut self.marks, poll) {
            (Ok(Poll::Ready(())), _) => Poll::Ready(Step::Done),
            (Ok(Poll::Pending), Some(mark)) => {
                self.is_ready = mark == Mark::Ready;
                // Several futures that were all polled ask for another turn by themselves, for others' sake.
                self.waker.is_woken.store(false, Ordering::Release);
                Poll::Ready(Step::Waits)
            }
            (Ok(Poll::Pending), None) => Poll::Pending,
            (Err(panic), _) => Poll::Ready(ended_by(panic.as_ref())),
        }
    }
}

fn ended_by(panic: &(dyn Any + Send)) -> Step {
    match panic.is::<Crash>() {
        true => Step::Crashed,
        false => Step::Panicked(text::of_panic(panic)),
    }
}
