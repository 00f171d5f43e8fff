//! Requests that are answered before they are read to their end: the answer arrives, and an endless rest is cut.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::alone;
use crate::fixture::raw::{connect, post_head, read_to_end, statuses};

const MEGABYTES: usize = 1024 * 1024;

/// A client as many are: it writes its whole request piece by piece, and only then reads. Fails when either does.
async fn write_all_then_read(url: &str, request: String) -> std::io::Result<String> {
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let exchange = move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(testing::DEADLINE))?;
        for piece in request.as_bytes().chunks(8 * 1024) {
            stream.write_all(piece)?;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[tokio::test]
async fn a_client_that_sends_its_whole_body_before_it_reads_gets_the_early_answer() {
    let (files, app) = alone(&[]).await;
    let body = " ".repeat(3 * MEGABYTES);
    let sized = |head: &str| format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let (head, chunk) = (post_head(), format!("10000\r\n{}\r\n", " ".repeat(0x10000)));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(48));
    for (name, request, status) in [
        ("too large", sized(&head), "413"),
        ("too large, in chunks", chunked, "413"),
        ("no token", sized("POST /orders HTTP/1.1\r\nHost: x\r\n"), "401"),
        ("no scope", sized(&head.replace("/orders", "/admin/adopt")), "403"),
        ("no such path", sized(&head.replace("/orders", "/nowhere")), "404"),
        ("no such method", sized(&head.replace("POST", "PUT")), "405"),
        ("another media type", sized(&head.replace("application/json", "text/plain")), "415"),
        ("an encoding", sized(&format!("{head}Content-Encoding: gzip\r\n")), "415"),
        ("no host", sized(&head.replace("Host: x\r\n", "")), "400"),
        ("too large a head", format!("{head}X: {body}\r\n\r\n"), "431"),
    ] {
        let answer = write_all_then_read(&app.url, request).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(statuses(&answer), [status], "{name}: {answer:.400}");
    }
    assert_eq!(files.look().orders().await, 0);
    app.stop().await;
}

#[tokio::test]
async fn the_rest_of_a_refused_body_is_taken_only_up_to_a_bound_in_bytes_and_in_time() {
    let (_files, app) = alone(&[]).await;
    let request = format!("{}Content-Length: 1000000000\r\n\r\n", post_head());
    for (name, piece, pause) in [
        ("a gigabyte at once", &[b' '; MEGABYTES][..], Duration::ZERO),
        ("a byte now and then", b" ", Duration::from_millis(50)),
    ] {
        let mut stream = connect(&app.url).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert_eq!(statuses(&answer), ["413"], "{name}: the answer does not wait for the rest: {answer}");
        let mut taken = 0;
        let cut = async {
            while stream.write_all(piece).await.is_ok() {
                taken += piece.len();
                tokio::time::sleep(pause).await;
            }
        };
        tokio::time::timeout(testing::DEADLINE, cut).await.expect("the connection is cut");
        // What the buffers of both ends hold was taken by nobody.
        assert!(taken < 100 * MEGABYTES, "{name}: {taken} bytes were taken");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_the_rest_of_a_refused_body() {
    let (_files, app) = alone(&["--drain-seconds", "2"]).await;
    // One whose rest is being waited for, and one that stays open after a body that nobody read.
    let mut sending = connect(&app.url).await;
    let request = format!("{}Content-Length: 1000000000\r\n\r\n", post_head());
    sending.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut sending).await), ["413"]);
    let mut idle = connect(&app.url).await;
    idle.write_all(b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    let mut head = [0; 12];
    idle.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 401");
    app.stop().await;
    drop((sending, idle));
}
