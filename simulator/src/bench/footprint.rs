//! What a topology takes besides time: memory, and room on the disk.

use std::fs;

use anyhow::{Context, Result};

use super::figures::Measured;
use crate::topology::{Part, Topology};

/// The parts whose size is told, and the figure's name of each.
const MEMORY: [(Part, &str); 2] = [(Part::Order, "order_mb"), (Part::Inventory, "inventory_mb")];
const WAL: [(Part, &str); 2] = [(Part::Order, "order_wal_mb"), (Part::Inventory, "inventory_wal_mb")];

/// The resident memory of each service that runs, in megabytes; nothing outside of Linux.
pub fn memory(topology: &Topology) -> Measured {
    let megabytes =
        |part| resident_kb(&fs::read_to_string(format!("/proc/{}/status", topology.pid(part)?)).ok()?);
    MEMORY.into_iter().filter_map(|(part, name)| Some((name, megabytes(part)? / 1000.0))).collect()
}

/// The bytes of both databases for each of so many orders, once the services are stopped: then nothing is left in a WAL.
pub fn disk(topology: &Topology, orders: u64) -> Result<(&'static str, f64)> {
    let mut bytes = 0;
    for part in [Part::Order, Part::Inventory] {
        let path = topology.config.database(part);
        bytes += fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?.len();
    }
    Ok(("disk_bytes", bytes as f64 / orders.max(1) as f64))
}

/// The bytes of the file beside each database that holds its latest commits, in megabytes.
pub fn wal(topology: &Topology) -> Measured {
    let bytes = |part| {
        let mut path = topology.config.database(part).into_os_string();
        path.push("-wal");
        Some(fs::metadata(path).ok()?.len())
    };
    WAL.into_iter().filter_map(|(part, name)| Some((name, bytes(part)? as f64 / 1e6))).collect()
}

fn resident_kb(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    // The kernel's kB are of 1,024 bytes.
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1.024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_thousands_of_bytes() {
        assert_eq!(resident_kb("VmPeak:\t  9 kB\nVmRSS:\t    1000 kB\n"), Some(1024.0));
        assert_eq!(resident_kb("VmPeak:\t  9 kB\n"), None);
    }
}
