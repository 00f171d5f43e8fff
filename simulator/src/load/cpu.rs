//! Processor time of each process, from `/proc`: Linux only, elsewhere nothing is measured.

use std::fs;
use std::time::Duration;

use crate::topology::{Part, Topology};

pub(super) struct CpuMeter {
    processes: Vec<(&'static str, u32, Duration)>,
}

impl CpuMeter {
    pub(super) fn start(topology: &Topology) -> Self {
        let parts = [
            ("order service", topology.pid(Part::Order)),
            ("inventory service", topology.pid(Part::Inventory)),
            ("broker", topology.pid(Part::Broker)),
            ("sim itself", Some(std::process::id())),
        ];
        let processes = parts.into_iter().filter_map(|(name, pid)| Some((name, pid?, used(pid?)?)));
        Self { processes: processes.collect() }
    }

    pub(super) fn used(&self) -> Vec<(&'static str, Duration)> {
        let processes = self.processes.iter();
        processes.filter_map(|(name, pid, before)| Some((*name, used(*pid)?.checked_sub(*before)?))).collect()
    }
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
}
