//! Log lines and metrics, set up once per process. Logs go to standard error.

use std::{io::IsTerminal, sync::OnceLock};

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, LogSettings};

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts logging in the chosen form.
pub fn start_logging(settings: &LogSettings) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.rust_log).context("RUST_LOG")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).init(),
        LogFormat::Pretty => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_target(false).with_ansi(colours).init();
        }
    }
    Ok(())
}

/// The process's metrics in the Prometheus text format; the recorder starts with the first call.
pub fn metrics() -> &'static PrometheusHandle {
    METRICS.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Fails only when some other recorder was installed before; then ours stays empty.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}
