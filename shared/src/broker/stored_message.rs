//! A message of the stream as the broker has it, with its headers as they stand, readable or not.
//!
//! The client would parse them, and one malformed header costs it the connection; see [`StoredMessage::check_headers`].

use async_nats::HeaderName;

/// The first line of every header block.
const VERSION_LINE: &str = "NATS/1.0";

/// One message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    pub sequence: u64,
    pub subject: String,
    /// The header block as it was published; empty when there is none.
    pub headers: Vec<u8>,
    pub body: Vec<u8>,
    /// When the broker stored it, in Unix milliseconds by its own clock.
    pub time_ms: i64,
}

impl StoredMessage {
    /// The value of a header, as far as the block can be read.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = std::str::from_utf8(&self.headers).ok()?.lines().skip(1);
        let mut values = lines.filter_map(|line| line.split_once(':')).filter(|(found, _)| *found == name);
        values.next().map(|(_, value)| value.trim())
    }

    /// Whether the client hands this message over when it is delivered; the error says why not.
    ///
    /// The rules of async-nats 0.51 (`Connection::try_read_op`): it ends the connection at a block that it
    /// cannot parse, and panics at a lone carriage return. The status of a block is the server's way of
    /// telling how a pull goes on, so a message that carries one ends its pull and never arrives. (The server
    /// takes it out of what is published, if a carriage return ends its line.)
    pub fn check_headers(&self) -> Result<(), String> {
        if self.headers.is_empty() {
            return Ok(());
        }
        let text = std::str::from_utf8(&self.headers).map_err(|_| "the headers are not UTF-8".to_owned())?;
        let mut lines = text.lines().peekable();
        let status = lines.next().and_then(|line| line.strip_prefix(VERSION_LINE)).map(str::trim);
        match status.map(|status| status.split(' ').next().unwrap_or_default()) {
            Some("" | "200") => {}
            Some(status) => return Err(format!("the headers carry the status {status:?}")),
            None => return Err(format!("the headers do not begin with {VERSION_LINE}")),
        }
        while let Some(line) = lines.next() {
            let mut header = line.to_owned();
            // A line that begins with white space continues the one before it.
            while let Some(more) =
                lines.next_if(|line| !header.is_empty() && line.starts_with(char::is_whitespace))
            {
                header += more;
            }
            check_header(&header)?;
        }
        Ok(())
    }
}

fn check_header(header: &str) -> Result<(), String> {
    match header.split_once(':') {
        None if header.is_empty() => Ok(()),
        None => Err(format!("{header:?} among the headers has no colon")),
        Some((name, _)) if name.parse::<HeaderName>().is_err() => {
            Err(format!("{name:?} is no name of a header"))
        }
        Some((_, value)) if value.trim().contains('\r') => {
            Err(format!("a carriage return in the header {header:?}"))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[u8]) -> Result<(), String> {
        let (subject, body) = (String::new(), Vec::new());
        StoredMessage { sequence: 1, subject, headers: headers.to_vec(), body, time_ms: 0 }.check_headers()
    }

    #[test]
    fn headers_that_the_client_reads_pass() {
        let readable = [
            "",
            "NATS/1.0\r\n\r\n",
            "NATS/1.0",
            "NATS/1.0 200\r\n\r\n",
            "NATS/1.0\r\na: b\r\nempty:\r\n\r\n",
            "NATS/1.0\na:b\n more\n\n",
            "NATS/1.0\r\na: grün: x\r\n\r\nb: c\r\n\r\n",
        ];
        for headers in readable {
            assert_eq!(check(headers.as_bytes()), Ok(()), "{headers:?}");
        }
    }

    #[test]
    fn headers_that_end_its_connection_or_its_pull_do_not() {
        let unreadable: [&[u8]; 11] = [
            b"NATS/1.0\r\na: b\rc\r\n\r\n",
            b"NATS/1.0\r\na: b\r\r\n c\r\n\r\n",
            b"NATS/1.0\r\n\r\n a: b\r\n\r\n",
            b"NATS/1.0\r\na: \xff\r\n\r\n",
            b"NATS/1.0\r\na b: c\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\n continued: from nothing\r\n\r\n",
            b"\r\n\r\n",
            b"HTTP/1.1\r\na: b\r\n\r\n",
            b"NATS/1.0 404 No Messages\n\n",
            b"NATS/1.0 what\r\n\r\n",
        ];
        for headers in unreadable {
            assert!(check(headers).is_err(), "{:?}", String::from_utf8_lossy(headers));
        }
    }
}
