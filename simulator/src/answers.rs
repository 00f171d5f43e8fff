//! What clients were told, one JSON object a line: the side of the audit that no database can know.
//!
//! A file begins with a header and ends with a count of its lines: without that end its writer was killed,
//! and nothing is concluded from what is *not* in it. A key that was ambiguous and repeated has a later line
//! with the same user and key.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use shared::contract::status::Status;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// When the answer was read, in Unix milliseconds.
    pub at_ms: i64,
    /// The `sub` of the caller's token.
    pub user: String,
    pub key: String,
    pub product_id: String,
    pub quantity: i64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Outcome {
    Accepted {
        /// The order that was made, now or by an earlier POST with the key.
        order_id: String,
        status: Status,
    },
    /// An answer that means *not stored*.
    Refused { status: u16 },
    /// No answer, or one that leaves open whether the order was stored.
    Unknown,
}

/// Who said that an order is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Witness {
    /// The order service, in the answer to a GET.
    Order,
    /// The inventory's event, which the order service may not have handled yet.
    Event,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Line {
    Header {
        /// Whether nobody else places orders in these databases: then this file knows every order.
        complete: bool,
    },
    Answer(Answer),
    Observed {
        order_id: String,
        status: Status,
        by: Witness,
    },
    /// The stock of a product as the inventory service showed it.
    Stock {
        product_id: String,
        stock: i64,
    },
    End {
        lines: u64,
    },
}

/// Who else places orders while a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Nobody: every order of these databases goes through this recorder.
    Complete,
    /// Perhaps others, before or beside it.
    Partial,
}

/// Writes the file. Cheap to clone; buffered, so a file without [`Recorder::finish`] may lack its last lines.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Mutex<Writer>>);

#[derive(Debug)]
struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    lines: u64,
    failed: Option<std::io::Error>,
}

impl Recorder {
    pub fn create(path: &Path, coverage: Coverage) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let writer = Writer { file: BufWriter::new(file), path: path.to_owned(), lines: 0, failed: None };
        let recorder = Self(Arc::new(Mutex::new(writer)));
        recorder.write(&Line::Header { complete: coverage == Coverage::Complete });
        Ok(recorder)
    }

    /// Appends a line. [`Recorder::finish`] reports a failure, so that a full disk does not end the load.
    pub fn write(&self, line: &Line) {
        self.lock().write(line);
    }

    /// Writes the end and hands everything to the operating system; an error if any line was not written.
    pub fn finish(&self) -> Result<()> {
        let mut writer = self.lock();
        let lines = writer.lines;
        writer.write(&Line::End { lines });
        let flushed = writer.failed.take().map_or_else(|| writer.file.flush(), Err);
        flushed.with_context(|| format!("cannot write the answers to {}", writer.path.display()))
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn write(&mut self, line: &Line) {
        if self.failed.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut self.file, line).map_err(std::io::Error::from);
        match written.and_then(|()| self.file.write_all(b"\n")) {
            Ok(()) => self.lines += 1,
            Err(error) => self.failed = Some(error),
        }
    }
}

/// The lines of a file, one after the other. A last line that was cut off is left out.
pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<Line>> + use<>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let (path, mut number, mut text) = (path.to_owned(), 0, Vec::new());
    Ok(std::iter::from_fn(move || {
        text.clear();
        number += 1;
        match file.read_until(b'\n', &mut text) {
            Ok(0) => None,
            Ok(_) if !text.ends_with(b"\n") => None,
            Ok(_) => Some(parse(&text).with_context(|| format!("line {number} of {}", path.display()))),
            Err(error) => Some(Err(error).with_context(|| format!("cannot read {}", path.display()))),
        }
    }))
}

fn parse(text: &[u8]) -> Result<Line> {
    serde_json::from_slice(text).map_err(|error| anyhow!("not a line that sim load writes: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: Outcome) -> Line {
        let (user, key, product_id) = ("alice".to_owned(), "k".to_owned(), "1".to_owned());
        Line::Answer(Answer { at_ms: 7, user, key, product_id, quantity: 2, outcome })
    }

    #[test]
    fn what_is_recorded_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let order_id = "0199".to_owned();
        let lines = [
            answer(Outcome::Unknown),
            answer(Outcome::Refused { status: 503 }),
            answer(Outcome::Accepted { order_id: order_id.clone(), status: Status::Created }),
            Line::Observed { order_id, status: Status::Cancelled, by: Witness::Event },
            Line::Stock { product_id: "1".to_owned(), stock: -1 },
        ];
        let recorder = Recorder::create(&path, Coverage::Complete).unwrap();
        lines.iter().for_each(|line| recorder.write(line));
        recorder.finish().unwrap();
        let found: Vec<Line> = read(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(found[0], Line::Header { complete: true });
        assert_eq!(found[1..6], lines);
        assert_eq!(found[6..], [Line::End { lines: 6 }]);
    }

    #[test]
    fn a_line_is_flat_json_that_other_tools_can_read() {
        let accepted = Outcome::Accepted { order_id: "0199".to_owned(), status: Status::Created };
        let text = serde_json::to_string(&answer(accepted)).unwrap();
        let expected = r#"{"line":"answer","atMs":7,"user":"alice","key":"k","productId":"1","quantity":2,"outcome":"accepted","orderId":"0199","status":"created"}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out_and_a_wrong_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        std::fs::write(&path, "{\"line\":\"header\",\"complete\":true}\nnonsense\n{\"line\":\"st").unwrap();
        let found: Vec<Result<Line>> = read(&path).unwrap().collect();
        assert_eq!(found.len(), 2);
        let error = format!("{:#}", found[1].as_ref().unwrap_err());
        assert!(error.starts_with("line 2 of") && error.contains("not a line"), "{error}");
    }
}
