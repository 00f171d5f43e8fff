//! Makes a schedule that fails shorter: what it does not need is left out.
//!
//! Any part of a schedule is one, so this is the delta debugging of Zeller and Hildebrandt ("Simplifying and Isolating
//! Failure-Inducing Input", 2002), without the step to a subset alone. What cannot be left out may be replaced by a second in
//! which each has its turn: single steps are mostly needed for nothing but that things go on.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::schedule::Act;

/// So often a shorter one is tried, at most.
const TRIES: usize = 1_000;
/// After this time the shortest so far is short enough.
const WITHIN: Duration = Duration::from_secs(30);

/// The shortest part of `acts` that was found for which `fails` is still true.
pub async fn shrink(acts: Vec<Act>, mut fails: impl AsyncFnMut(&[Act]) -> Result<bool>) -> Result<Vec<Act>> {
    let (mut acts, mut tries, started) = (acts, 0, Instant::now());
    let mut size = acts.len().div_ceil(2);
    while size > 0 && tries < TRIES && started.elapsed() < WITHIN {
        let (mut from, mut is_shorter) = (0, false);
        while from < acts.len() && tries < TRIES && started.elapsed() < WITHIN {
            let (before, after) = (&acts[..from], &acts[acts.len().min(from + size)..]);
            let without = [before, after].concat();
            tries += 1;
            if fails(&without).await? {
                (acts, is_shorter) = (without, true);
                continue;
            }
            let replaced = [before, &[Act::Pass(1)], after].concat();
            if replaced.len() < acts.len() {
                tries += 1;
                if fails(&replaced).await? {
                    (acts, is_shorter) = (replaced, true);
                }
            }
            from += size;
        }
        // The last ones are tried again as long as that helps: one may have needed another that is gone.
        size = if size == 1 && is_shorter { 1 } else { size / 2 };
    }
    Ok(acts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_failure_does_not_need_is_left_out() {
        let acts: Vec<Act> = (0..100).map(Act::Step).collect();
        let needs = [Act::Step(7), Act::Step(8), Act::Step(93)];
        let shrunken =
            shrink(acts, async |acts: &[Act]| Ok(needs.iter().all(|act| acts.contains(act)))).await;
        assert_eq!(shrunken.unwrap(), needs);
    }
}
