//! GETs in a closed loop: each connection asks again when it is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::bench::figures::Measured;
use crate::http::HttpClient;
use crate::load::{CpuMeter, User, micros_each};
use crate::topology::{Part, Topology};

const CONNECTIONS: usize = 16;

/// What is asked for.
pub struct Getting<'a> {
    pub part: Part,
    pub user: Option<&'a User>,
    /// Each request takes one of them by chance.
    pub paths: Vec<String>,
}

/// What every connection needs.
struct Asked {
    authorization: Option<String>,
    paths: Vec<String>,
    until: Instant,
}

impl Getting<'_> {
    /// Requests a second, how long they take, and what each costs the service that is asked.
    pub async fn measure(self, topology: &Topology, duration: Duration) -> Result<Measured> {
        let (mut connections, mut clients) = (JoinSet::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            clients.push(HttpClient::connect(&topology.config.url(self.part)).await?);
        }
        let (meter, started) = (CpuMeter::start(topology), Instant::now());
        let authorization = self.user.map(|user| user.authorization.clone());
        let asked = Arc::new(Asked { authorization, paths: self.paths, until: started + duration });
        for client in clients {
            connections.spawn(ask(client, asked.clone()));
        }
        let mut times = Vec::new();
        while let Some(connection) = connections.join_next().await {
            times.extend(connection.context("a connection's task failed")??);
        }
        let (seconds, used) = (started.elapsed().as_secs_f64(), meter.used());
        let mut measured = vec![("rate", times.len() as f64 / seconds)];
        measured.extend(percentiles(&mut times));
        let name = if self.part == Part::Inventory { "inventory_cpu_us" } else { "order_cpu_us" };
        let each = micros_each(&used, times.len() as u64);
        measured.extend(
            each.into_iter().filter(|(figure, _)| *figure == name).map(|(_, micros)| ("cpu_us", micros)),
        );
        Ok(measured)
    }
}

/// How long each request took.
async fn ask(mut client: HttpClient, asked: Arc<Asked>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let started = Instant::now();
        if started >= asked.until {
            return Ok(times);
        }
        let path = &asked.paths[fastrand::usize(..asked.paths.len())];
        let answer = client.get(path, asked.authorization.as_deref()).await?;
        ensure!(answer.status.is_success(), "GET {path} was answered {}", answer.status);
        times.push(started.elapsed());
    }
}

fn percentiles(times: &mut [Duration]) -> Measured {
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len() as f64 * share) as usize).map(|time| time.as_secs_f64() * 1e3);
    [("p50_ms", at(0.5)), ("p99_ms", at(0.99))]
        .into_iter()
        .filter_map(|(name, time)| Some((name, time?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_requests_in_whatever_order_they_were_answered() {
        let mut times: Vec<Duration> = (0..200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentiles(&mut times), [("p50_ms", 100.0), ("p99_ms", 198.0)]);
        assert_eq!(percentiles(&mut []), []);
    }
}
