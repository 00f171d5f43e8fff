//! What a service says of itself in `/metrics`.

use anyhow::{Context, Result};

use crate::http;

/// The metrics of one moment, in the Prometheus text format.
pub struct Metrics(String);

impl Metrics {
    pub async fn of(url: &str) -> Result<Self> {
        let answer = http::get(url, "/metrics").await.context("cannot read the service's metrics")?;
        Ok(Self(String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// The value of a metric without labels, or with any; `None` when there is none of this name.
    pub fn gauge(&self, name: &str) -> Option<u64> {
        self.0.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok().map(|value| value as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let metrics = |text: &str| Metrics(text.to_owned());
        let plain = metrics("# TYPE orders_pending gauge\norders_pending_max 9\norders_pending 3\n");
        assert_eq!(plain.gauge("orders_pending"), Some(3));
        assert_eq!(metrics("orders_pending{service=\"order\"} 4").gauge("orders_pending"), Some(4));
        assert_eq!(plain.gauge("orders"), None);
    }
}
