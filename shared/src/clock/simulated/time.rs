//! What time it is, as far as the simulation has come, and chance.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::task::Waker;
use std::time::Duration;

thread_local! {
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

pub struct Clock {
    pub now: Duration,
    start_ms: i64,
    offset_ms: i64,
    chance: u64,
    pub timers: BTreeMap<(Duration, u64), Waker>,
    /// What the task in hand waits for.
    pub marks: Marks,
    /// Who polls now does not wait.
    pub only_looks: bool,
    pub waits: u64,
}

/// What the step that was polled last waits for, if not for SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// For a moment, or for what another step does: it is woken then.
    Asleep,
    /// For nothing but its turn.
    Ready,
}

/// What a task waited for when it was polled last, by the number of the wait, and who is told.
pub type Marks = BTreeMap<u64, (Mark, Waker)>;

/// Starts a clock at this wall clock time, in Unix milliseconds, on this thread.
pub fn begin(seed: u64, start_ms: i64) {
    let (now, offset_ms, timers, marks, only_looks, waits) = Default::default();
    let clock = Clock { now, start_ms, offset_ms, chance: seed, timers, marks, only_looks, waits };
    CLOCK.set(Some(clock));
}

/// Real time again.
pub fn end() {
    CLOCK.set(None);
}

pub(super) fn with<T>(use_it: impl FnOnce(&mut Clock) -> T) -> Option<T> {
    CLOCK.with_borrow_mut(|clock| clock.as_mut().map(use_it))
}

/// What the wall clock says now; `None` without a simulation.
pub fn now_ms() -> Option<i64> {
    with(|clock| clock.start_ms + clock.now.as_millis() as i64 + clock.offset_ms)
}

/// The true time, in Unix milliseconds.
pub fn true_ms() -> i64 {
    with(|clock| clock.start_ms + clock.now.as_millis() as i64).unwrap_or_default()
}

/// The wall clock is ahead of the true time by this, for whoever asks from now on.
pub fn set_offset_ms(offset_ms: i64) {
    with(|clock| clock.offset_ms = offset_ms);
}

/// 128 bits by chance; `None` without a simulation.
pub fn random() -> Option<u128> {
    with(|clock| (u128::from(next(&mut clock.chance)) << 64) | u128::from(next(&mut clock.chance)))
}

/// SplitMix64. Source: <https://prng.di.unimi.it/splitmix64.c>.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// When the next timer is due.
pub fn next_timer() -> Option<Instant> {
    with(|clock| clock.timers.keys().next().map(|(due, _)| Instant(*due))).flatten()
}

/// Lets time pass until `then`, and wakes whoever waited for a moment until then.
pub fn advance(then: Instant) {
    let due = with(|clock| {
        clock.now = clock.now.max(then.0);
        let later = clock.timers.split_off(&(clock.now, u64::MAX));
        std::mem::replace(&mut clock.timers, later)
    });
    due.into_iter().flatten().for_each(|(_, waker)| waker.wake());
}

/// A moment, as the time since an arbitrary one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub(super) Duration);

static BEGINNING: OnceLock<std::time::Instant> = OnceLock::new();

impl Instant {
    pub fn now() -> Self {
        let real = || BEGINNING.get_or_init(std::time::Instant::now).elapsed();
        Self(with(|clock| clock.now).unwrap_or_else(real))
    }

    pub fn elapsed(&self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }

    /// The time since `earlier`.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// The time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}
