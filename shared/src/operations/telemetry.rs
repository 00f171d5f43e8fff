//! Log lines, panics and metrics, set up once per process. Logs go to standard error, see [`log`].

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::operations::log;
use crate::settings::{LogFormat, LogSettings};

static METRICS: LazyLock<PrometheusHandle> = LazyLock::new(|| {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // Fails only when some other recorder was installed before; then ours stays empty.
    let _ = metrics::set_global_recorder(recorder);
    handle
});

/// Starts logging in the chosen form, panics included.
pub fn start_logging(settings: &LogSettings) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.rust_log).context("RUST_LOG")?;
    // Its complaints about lines would themselves go to standard error, and panic where nobody reads it.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(|| &log::STDERR);
    match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).init(),
        LogFormat::Pretty => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_target(false).with_ansi(colours).init();
        }
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is a log line like any other; with `RUST_BACKTRACE` it has its backtrace.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    tracing::error!(
        thread = std::thread::current().name().unwrap_or("unnamed"),
        location = panic.location().map(display),
        backtrace = is_captured.then_some(display(backtrace)),
        "panicked: {}",
        panic.payload_as_str().unwrap_or("without a message")
    );
}

/// Tells the error that ends the process `name`, if there is one, and sees the last log lines out.
pub fn exit_code(name: &str, result: Result<()>) -> ExitCode {
    if let Err(error) = &result {
        log::STDERR.tell(&format!("{name}: {error:#}"));
    }
    log::STDERR.flush();
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The process's metrics in the Prometheus text format; the recorder starts with the first call.
pub fn metrics() -> &'static PrometheusHandle {
    &METRICS
}
