//! A publisher below any client: frames of bytes over TCP, with header blocks that no client would write.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Broker, expect};
use crate::broker;

/// Header blocks that the services' client cannot read, or takes for the server's own word on a pull. The broker takes a status
/// out of a block, but only where its line ends with a carriage return.
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

/// One connection with the rights of a user of `nats.conf`.
#[derive(Debug)]
pub struct RawPublisher(TcpStream);

impl RawPublisher {
    /// Connects, and returns when the broker has taken the user's name and password.
    pub async fn connect(broker: &Broker, user: &str) -> Self {
        let stream = expect("reach the broker", TcpStream::connect(("127.0.0.1", broker.port())).await);
        let mut publisher = Self(stream);
        let password = broker::password(user);
        let connect = format!(
            r#"CONNECT {{"verbose":false,"pedantic":false,"headers":true,"user":"{user}","pass":"{password}"}}"#
        );
        publisher.send(format!("{connect}\r\n").as_bytes()).await;
        publisher.until_taken().await;
        publisher
    }

    /// Publishes one message whose header block is these very bytes.
    pub async fn publish(&mut self, subject: &str, headers: &[u8], body: &str) {
        let (header_bytes, total) = (headers.len(), headers.len() + body.len());
        let mut frame = format!("HPUB {subject} {header_bytes} {total}\r\n").into_bytes();
        frame.extend_from_slice(headers);
        frame.extend_from_slice(body.as_bytes());
        frame.extend_from_slice(b"\r\n");
        self.send(&frame).await;
    }

    /// Waits until the broker has taken everything sent so far; panics where it has refused something.
    pub async fn until_taken(&mut self) {
        self.send(b"PING\r\n").await;
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        while !received.windows(6).any(|window| window == b"PONG\r\n") {
            let count = expect("read from the broker", self.0.read(&mut buffer).await);
            assert!(count > 0, "the broker closed: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..count]);
        }
        let received = String::from_utf8_lossy(&received);
        assert!(!received.contains("-ERR"), "{received}");
    }

    async fn send(&mut self, bytes: &[u8]) {
        expect("write to the broker", self.0.write_all(bytes).await);
    }
}
