//! Both services, their clients and the broker, on one thread and under one clock.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use shared::clock::Instant;
use shared::clock::simulated;
use shared::storage::Database;
use tempfile::TempDir;

use super::clients::Clients;
use super::executor::{STUCK_AFTER, Step, Task};
use super::model::Model;
use super::mutants::Mutant;
use super::node::Node;
use super::oracle::Memory;
use super::timeline::{Side, Timeline};

/// Nobody who lives sleeps longer.
const A_LITTLE: Duration = Duration::from_secs(10);
/// So many steps at one moment are too many: something goes on and on.
const STEPS_AT_ONE_MOMENT: u32 = 20_000;

/// Where the databases without any row are.
pub struct Templates {
    pub order: PathBuf,
    pub inventory: PathBuf,
}

impl Templates {
    /// A folder beside them.
    pub fn folder_for_one(&self) -> Result<TempDir> {
        let base = self.order.parent().unwrap_or(Path::new("."));
        tempfile::tempdir_in(base).context("cannot create a folder")
    }
}

/// What all schedules of one run have in common.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    pub templates: &'a Templates,
    pub mutant: Option<Mutant>,
    pub keeps_lines: bool,
    /// How many seconds a step may wait for what only another one could bring.
    pub stuck_after: u32,
}

impl<'a> Ground<'a> {
    pub fn new(templates: &'a Templates, mutant: Option<Mutant>) -> Self {
        Self { templates, mutant, keeps_lines: false, stuck_after: STUCK_AFTER }
    }
}

/// Everything that there is.
pub struct World {
    pub model: Arc<Model>,
    pub timeline: Arc<Timeline>,
    pub clients: Clients,
    /// What must never happen, and did.
    pub failures: Vec<String>,
    pub memory: Rc<RefCell<Memory>>,
    pub(super) nodes: [Node; 2],
    pub(super) tasks: Vec<Task>,
    stuck_after: u32,
    pub(super) deaths: u64,
    spawned: u64,
    turn: usize,
    /// When the last step was taken, and how many were at this moment.
    moment: (Instant, u32),
    /// Since when an order may have been pending.
    pub(super) begun: Instant,
    /// The latest backup of the orders, and what clients knew then.
    pub(super) backup: Option<(PathBuf, (usize, usize))>,
}

impl World {
    /// Both services run, and nothing has happened yet.
    pub async fn begin(folder: &Path, ground: &Ground<'_>, timeline: Arc<Timeline>) -> Result<Self> {
        let Ground { templates, mutant, stuck_after, .. } = *ground;
        let model = Model::new(timeline.clone(), mutant);
        let node = |side, template| Node::new(side, folder, template);
        let nodes = [node(Side::Order, &templates.order)?, node(Side::Inventory, &templates.inventory)?];
        let (clients, failures, memory, tasks, deaths, spawned, turn, backup) = Default::default();
        let (begun, moment) = (Instant::now(), (Instant::now(), 0));
        let mut world = Self {
            model,
            timeline,
            clients,
            failures,
            memory,
            nodes,
            tasks,
            stuck_after,
            deaths,
            spawned,
            turn,
            moment,
            begun,
            backup,
        };
        for side in Side::ALL {
            world.start(side).await;
        }
        Ok(world)
    }

    pub(super) fn node(&mut self, side: Side) -> &mut Node {
        &mut self.nodes[side as usize]
    }

    pub(super) fn tell(&self, who: &str, text: impl FnOnce() -> String) {
        self.timeline.tell(who, text);
    }

    pub(super) fn database(&mut self, side: Side) -> Option<Database> {
        self.node(side)
            .running
            .as_ref()
            .filter(|running| !running.shutdown.is_cancelled())
            .map(|running| running.database.clone())
    }

    pub(super) fn spawn(&mut self, name: &'static str, side: Side, work: impl Future<Output = ()> + 'static) {
        self.spawned += 1;
        self.tasks.push(Task::new(name, side, work).numbered(self.spawned));
    }

    /// One of those who can go on takes a step; if there is none, time passes.
    pub(super) async fn step(&mut self, pick: u16) {
        let able = (0..self.tasks.len()).filter(|place| self.tasks[*place].can_go_on());
        match able.min_by_key(|place| self.tasks[*place].rank(pick)) {
            None => self.wait_a_little(),
            Some(place) => self.take_step(place).await,
        }
    }

    pub(super) async fn take_step(&mut self, place: usize) {
        let (side, name) = (self.tasks[place].side, self.tasks[place].name);
        let now = Instant::now();
        self.moment = (now, if self.moment.0 == now { self.moment.1 + 1 } else { 0 });
        simulated::set_offset_ms(self.node(side).offset_ms);
        match self.tasks[place].step(self.stuck_after).await {
            Step::Waits => {}
            Step::Done => {
                drop(self.tasks.remove(place));
                self.end_of(side).await;
            }
            Step::Crashed => self.die(side, &format!("dies in its {name}")).await,
            Step::Panicked(text) => {
                self.failures.push(format!("the {name} of the {side} panicked: {text}"));
                self.die(side, "dies of a panic").await;
            }
            Step::Stuck => {
                self.failures.push(format!(
                    "the {name} of the {side} waits for another step with something in hand that this one needs"
                ));
                self.die(side, "is stuck").await;
            }
        }
    }

    /// Time passes until somebody waits no longer, or until `then` if that comes before.
    pub(super) fn wait(&self, then: Instant) {
        simulated::advance(simulated::next_timer().map_or(then, |next| next.min(then)));
    }

    /// Time passes until somebody waits no longer, which is soon if anybody lives.
    pub(super) fn wait_a_little(&self) {
        self.wait(Instant::now() + A_LITTLE);
    }

    /// So much time passes, and each has its turn.
    pub(super) async fn pass(&mut self, duration: Duration) {
        let (begun, end) = (Instant::now(), Instant::now() + duration);
        while begun.elapsed() < duration && !self.goes_on_for_ever() {
            match self.next_able() {
                Some(place) => self.take_step(place).await,
                None => self.wait(end),
            }
        }
    }

    /// Each in its turn.
    pub(super) fn next_able(&mut self) -> Option<usize> {
        let count = self.tasks.len();
        let place = (0..count)
            .map(|offset| (self.turn + offset) % count)
            .find(|place| self.tasks[*place].can_go_on())?;
        self.turn = place + 1;
        Some(place)
    }

    /// Whether so many steps were taken at this moment that it seems to have no end.
    pub(super) fn goes_on_for_ever(&mut self) -> bool {
        let is_endless = self.moment.1 > STEPS_AT_ONE_MOMENT;
        if is_endless && self.failures.is_empty() {
            let able = self.tasks.iter().filter(|task| task.can_go_on());
            let names: Vec<String> = able.map(|task| format!("{} of the {}", task.name, task.side)).collect();
            self.failures.push(format!("no time passes, since these go on and on: {}", names.join(", ")));
        }
        is_endless
    }
}
