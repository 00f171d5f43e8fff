//! A connection to the broker with header blocks of any bytes and reply subjects of any name. At a header
//! block that it cannot parse, a client library loses its connection, or dies.
//!
//! Source: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::broker;

const ANSWER: Duration = Duration::from_secs(10);

/// Header blocks that the services' client cannot read, or takes for the server's own word on a pull. The
/// broker takes a status out of a block, but only where its line ends with a carriage return.
pub const MALFORMED_HEADERS: [&[u8]; 12] = [
    b"NATS/1.0\r\na: b\rc\r\n\r\n",
    b"NATS/1.0\r\na: \xff\xfe\r\n\r\n",
    b"NATS/1.0\r\na b: c\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\n: no name\r\n continued\rhere\r\n\r\n",
    b"a: b\r\n\r\n",
    b"\r\n",
    b"NATS/1.0\r\nce-id: cut off in the mid\xc3",
    b"NATS/1.0 404 No Messages\n\n",
    b"NATS/1.0 409 Consumer Deleted\n\n",
    b"NATS/1.0 100 Idle Heartbeat\n\n",
    b"NATS/1.0 what\n\n",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    /// The header block; empty when there is none.
    pub headers: Vec<u8>,
    pub body: Vec<u8>,
}

pub struct RawConnection {
    stream: BufReader<TcpStream>,
    inbox: String,
}

impl RawConnection {
    /// Connects as `user`, who hears replies in an inbox of its own.
    pub async fn open(nats_url: &str, user: &str) -> Result<Self> {
        let address = nats_url.strip_prefix("nats://").context("the broker's URL has another scheme")?;
        let stream = TcpStream::connect(address).await.context("cannot connect to the broker")?;
        let inbox = format!("{}.raw", broker::inbox_prefix(user));
        let mut raw = Self { stream: BufReader::new(stream), inbox };
        let mut options =
            json!({"verbose": false, "pedantic": false, "headers": true, "no_responders": true});
        if user != "observer" {
            options["user"] = user.into();
            options["pass"] = broker::password(user).into();
        }
        raw.send(format!("CONNECT {options}\r\nSUB {} 1\r\n", raw.inbox).as_bytes()).await?;
        raw.round_trip().await.with_context(|| format!("cannot connect as {user}"))?;
        Ok(raw)
    }

    /// Publishes with a header block of these very bytes, and waits for the PubAck.
    pub async fn publish(&mut self, subject: &str, header: &[u8], body: &[u8]) -> Result<()> {
        let reply = format!("{} ", self.inbox);
        self.send_message(subject, &reply, header, body).await?;
        let message = timeout(ANSWER, self.next_message()).await.context("no PubAck")??;
        let answer: Value = serde_json::from_slice(&message.body).context("the answer is no JSON")?;
        ensure!(!answer["error"].is_object(), "the broker refused a message on {subject}: {answer}");
        Ok(())
    }

    /// Sends a header block of these very bytes. `reply` is empty, or a subject with a space behind it.
    pub async fn send_message(
        &mut self,
        subject: &str,
        reply: &str,
        header: &[u8],
        body: &[u8],
    ) -> Result<()> {
        let head = format!("HPUB {subject} {reply}{} {}\r\n", header.len(), header.len() + body.len());
        self.send(&[head.as_bytes(), header, body, b"\r\n"].concat()).await
    }

    /// Sends a request whose answer goes to `reply`, and not to this connection.
    pub async fn request_for(&mut self, subject: &str, reply: &str, body: &str) -> Result<()> {
        self.send(format!("PUB {subject} {reply} {}\r\n{body}\r\n", body.len()).as_bytes()).await
    }

    /// Waits until the broker has seen all that was sent. Returns what it complained of.
    pub async fn round_trip(&mut self) -> Result<Vec<String>> {
        self.send(b"PING\r\n").await?;
        let pong = async {
            let mut complaints = Vec::new();
            loop {
                match self.line().await? {
                    line if line == "PONG" => return Ok(complaints),
                    line if line.starts_with("-ERR") => complaints.push(line),
                    _ => {}
                }
            }
        };
        timeout(ANSWER, pong).await.context("the broker did not answer")?
    }

    /// Has the messages of `subject` delivered, too. When it returns, the broker has seen to it.
    pub async fn subscribe(&mut self, subject: &str) -> Result<()> {
        self.send(format!("SUB {subject} 2\r\n").as_bytes()).await?;
        self.round_trip().await.map(drop)
    }

    pub async fn next_message(&mut self) -> Result<RawMessage> {
        loop {
            let line = self.line().await?;
            let mut words = line.split(' ');
            let kind = words.next();
            let mut length = || words.next_back().and_then(|word| word.parse::<usize>().ok());
            match kind {
                Some("MSG") => return self.message(Some(0), length()).await.context(line),
                Some("HMSG") => {
                    let total = length();
                    return self.message(length(), total).await.context(line);
                }
                Some("-ERR") => bail!("{line}"),
                Some("PING") => self.send(b"PONG\r\n").await?,
                _ => {}
            }
        }
    }

    async fn message(&mut self, header: Option<usize>, total: Option<usize>) -> Result<RawMessage> {
        let (Some(header), Some(total)) = (header, total) else { bail!("a message without its length") };
        let mut headers = vec![0; total];
        self.stream.read_exact(&mut headers).await?;
        let body = headers.split_off(header.min(total));
        Ok(RawMessage { headers, body })
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line).await? > 0, "the broker closed the connection");
        Ok(line.trim_end().to_owned())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("cannot send to the broker")
    }
}
