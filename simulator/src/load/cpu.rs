//! Processor time of each process, from `/proc`: Linux only, elsewhere nothing is measured.

use std::fs;
use std::time::Duration;

use crate::topology::{Part, Topology};

/// A process, and the name of the figure that tells its time for each order.
const FIGURES: [(&str, &str); 4] = [
    ("order service", "order_cpu_us"),
    ("inventory service", "inventory_cpu_us"),
    ("broker", "broker_cpu_us"),
    ("sim itself", "sim_cpu_us"),
];

/// Processor time by the name of its process.
pub(crate) type CpuTimes = Vec<(&'static str, Duration)>;

/// Tells what some processes use from its start on.
pub(crate) struct CpuMeter {
    processes: Vec<(&'static str, u32, Duration)>,
}

impl CpuMeter {
    /// Of a topology's parts that run, and of this process.
    pub(crate) fn start(topology: &Topology) -> Self {
        let part = |part| topology.pid(part);
        Self::of([part(Part::Order), part(Part::Inventory), part(Part::Broker), Some(std::process::id())])
    }

    /// Of whatever stands for the order service, the inventory service, the broker and `sim`, in this order.
    pub(crate) fn of(pids: [Option<u32>; 4]) -> Self {
        let named = FIGURES.into_iter().zip(pids);
        let processes = named.filter_map(|((name, _), pid)| Some((name, pid?, used(pid?)?)));
        Self { processes: processes.collect() }
    }

    pub(crate) fn used(&self) -> CpuTimes {
        let processes = self.processes.iter();
        processes.filter_map(|(name, pid, before)| Some((*name, used(*pid)?.checked_sub(*before)?))).collect()
    }
}

/// Microseconds for each of so many orders, by the names of the figures.
pub(crate) fn micros_each(times: &CpuTimes, orders: u64) -> Vec<(&'static str, f64)> {
    let figure = |process| FIGURES.iter().find(|(name, _)| *name == process).map(|(_, figure)| *figure);
    let micros = |used: Duration| used.as_secs_f64() * 1e6 / orders.max(1) as f64;
    times.iter().filter_map(|(process, used)| Some((figure(*process)?, micros(*used)))).collect()
}

fn used(pid: u32) -> Option<Duration> {
    let ticks = parse_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// User and system time. The second field is a name with any brackets, so fields count from its end.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_user_and_system_time_whatever_the_process_is_called() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 70 30 5 5 20 0 1 0 100";
        assert_eq!(parse_ticks(stat), Some(100));
    }

    #[test]
    fn the_time_of_a_process_is_divided_by_the_orders() {
        let times = vec![("broker", Duration::from_millis(3)), ("unheard of", Duration::ZERO)];
        assert_eq!(micros_each(&times, 100), [("broker_cpu_us", 30.0)]);
    }
}
