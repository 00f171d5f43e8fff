//! HTTP as no well-behaved client speaks it: bytes as they stand, over one connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{DEADLINE, expect};

/// A connection to the service at `url`.
pub async fn connect(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").unwrap_or(url);
    expect("connect", TcpStream::connect(address).await)
}

/// Sends bytes and returns all that comes back until the server closes, which it may do before it has read them.
pub async fn exchange(url: &str, request: impl AsRef<[u8]>) -> String {
    let mut stream = connect(url).await;
    let _ = stream.write_all(request.as_ref()).await;
    read_to_end(&mut stream).await
}

/// All that comes until the server closes or resets the connection, which it must.
pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = async { while let Ok(1..) = stream.read_buf(&mut answer).await {} };
    timeout(DEADLINE, read).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status codes of the answers in `received`, in their order.
pub fn statuses(received: &str) -> Vec<&str> {
    // A body has no line end after it: the next answer begins behind it on the same line.
    received.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)).collect()
}
