//! Lines on their way to standard error or output, written by a thread of their own. The log is made of them.
//!
//! Whoever should take them may be gone, stand still, or be a full disk. Then only lines are lost: one that
//! cannot be written or finds no room in the queue is dropped and counted, and nobody waits for it.

use std::io::Write;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Lines that wait to be written, at most; some seconds of a busy service.
const LINES_MAX: usize = 10_000;
/// The end of the process waits this long for lines that nobody takes.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// Lines that come within this time are written together: to wake the thread costs more than a line.
const GATHER: Duration = Duration::from_millis(5);
/// The pause between two attempts to find room for a flush.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// Where lines go. As a writer it takes one line a call, and never fails.
pub struct Outlet(LazyLock<SyncSender<Item>>);

/// Standard error: the log, and the error that ends a process.
pub static STDERR: Outlet = Outlet(LazyLock::new(|| start(io::stderr())));
/// Standard output.
pub static STDOUT: Outlet = Outlet(LazyLock::new(|| start(io::stdout())));

enum Item {
    Line(Vec<u8>),
    /// Answered when all that stood before it was written.
    Flush(SyncSender<()>),
}

impl Outlet {
    pub fn tell(&self, line: &str) {
        self.send(format!("{line}\n").into_bytes());
    }

    /// Waits until all lines so far are written, but not long for somebody who does not take them.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        let (start, mut flush) = (Instant::now(), Item::Flush(done));
        while let Err(TrySendError::Full(refused)) = self.0.try_send(flush) {
            if start.elapsed() > FLUSH_WITHIN {
                return;
            }
            flush = refused;
            thread::sleep(ROOM_PAUSE);
        }
        let _ = written.recv_timeout(FLUSH_WITHIN);
    }

    fn send(&self, line: Vec<u8>) {
        if self.0.try_send(Item::Line(line)).is_err() {
            lost();
        }
    }
}

impl Write for &Outlet {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(target: impl Write + Send + 'static) -> SyncSender<Item> {
    let (sender, items) = sync_channel(LINES_MAX);
    // Without the thread every line is lost, and counted.
    let _ = thread::Builder::new().name("log".to_owned()).spawn(move || write(target, items));
    sender
}

fn write(mut target: impl Write, items: Receiver<Item>) {
    while let Ok(first) = items.recv() {
        for item in std::iter::once(first).chain(items.try_iter()) {
            match item {
                Item::Line(line) if target.write_all(&line).is_err() => lost(),
                Item::Line(_) => {}
                Item::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
        thread::sleep(GATHER);
    }
}

fn lost() {
    metrics::counter!("log_lines_lost_total").increment(1);
}
