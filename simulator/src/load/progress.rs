//! A line on the terminal while the load runs: how far it is, and how many orders wait.
//!
//! On standard error, only where that is a terminal, and without colours.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::plan::Limit;
use super::target::Load;

const REDRAW: Duration = Duration::from_millis(200);

/// Drawn until it is dropped, and then gone.
pub(super) struct Progress {
    bar: ProgressBar,
    _task: JoinSet<()>,
}

impl Progress {
    pub(super) fn start(load: &Load) -> Self {
        let (length, unit) = match load.plan.limit {
            Limit::Duration(duration) => (duration.as_millis() as u64, "ms"),
            Limit::Count(count) => (count, "orders"),
        };
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        // Only a wrong template is an error, and this one is a constant.
        let template = format!("[{{bar:30}}] {{pos}}/{{len}} {unit}, {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        let mut task = JoinSet::new();
        if !bar.is_hidden() {
            task.spawn(draw(load.clone(), bar.clone()));
        }
        Self { bar, _task: task }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

async fn draw(load: Load, bar: ProgressBar) {
    let started = Instant::now();
    loop {
        let totals = load.tally.totals();
        let position = match load.plan.limit {
            Limit::Duration(duration) => started.elapsed().min(duration).as_millis() as u64,
            Limit::Count(_) => totals.accepted + totals.refused,
        };
        bar.set_position(position);
        bar.set_message(format!("{} accepted, {} pending", totals.accepted, load.tally.pending()));
        sleep(REDRAW).await;
    }
}
