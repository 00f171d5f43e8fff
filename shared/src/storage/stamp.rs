//! A stamp in the header of a database file, which no copy has: it shows when the file is written over.
//!
//! The stamp is the application id, which SQLite only carries. Each start gives another one.
//! Source: <https://www.sqlite.org/fileformat2.html#application_id>.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::clock;

/// Where the stamp stands in the header.
const OFFSET: u64 = 68;

/// What the header may say: what it said at the start, and what was still on its way to it in the WAL.
#[derive(Debug)]
pub(super) struct Stamp([u32; 2]);

impl Stamp {
    /// Gives `file` a stamp, and has it written into the file itself, and not only into the WAL.
    ///
    /// `None` where the locked `file` is not the database itself, which must not be opened a second time.
    pub async fn give(file: &File, writer: &mut SqliteConnection) -> sqlx::Result<Option<Self>> {
        if !cfg!(target_os = "linux") {
            return Ok(None);
        }
        let given: u32 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *writer).await?;
        // One that has not come to the file yet, since somebody was reading, stays: with a third one nobody
        // could tell which is to come.
        if let Ok(found) = read(file)
            && found != given
        {
            return Ok(Some(Self([found, given])));
        }
        let stamp = clock::random() as u32 >> 1;
        sqlx::query(AssertSqlSafe(format!("PRAGMA application_id = {stamp}"))).execute(&mut *writer).await?;
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(writer).await?;
        Ok(Some(Self([read(file).unwrap_or(stamp), stamp])))
    }

    /// Whether the header of `file` has another stamp, or none: somebody has written over the file, or cut
    /// it. Takes a microsecond.
    pub fn is_gone_from(&self, file: &File) -> bool {
        match read(file) {
            Ok(found) => !self.0.contains(&found),
            // Any other failure of a read is SQLite's to find.
            Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        }
    }
}

fn read(file: &File) -> io::Result<u32> {
    let mut stamp = [0; 4];
    file.read_exact_at(&mut stamp, OFFSET)?;
    Ok(u32::from_be_bytes(stamp))
}
