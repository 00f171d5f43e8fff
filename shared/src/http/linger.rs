//! A connection that ends before a request was read to its end takes the rest for a while, and throws it away.
//!
//! A socket that is closed with unread bytes is reset, and the reset destroys the answer: a client that sends its whole body
//! before it reads would see a broken pipe instead of the 413 or the 401 (RFC 9112, section 9.6). A rest without end is cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Timeout, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The longest rest that is taken, in bytes.
const REST_MAX_BYTES: usize = 8 * 1024 * 1024;
/// The longest time for which it is taken.
const REST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes thrown away at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Whether bytes of a request have come that is not read to its end.
#[derive(Clone, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    /// The body of a request whose head has come; its end is the end of the request.
    pub fn until_the_end_of(&self, body: Incoming) -> (RequestBody, End) {
        let is_empty = body.is_end_stream();
        self.0.store(!is_empty, Relaxed);
        let end = End(Arc::new(is_empty.into()));
        (RequestBody { body, unread: self.clone(), end: end.clone() }, end)
    }
}

/// Whether one request's body was read to its end.
#[derive(Clone)]
pub struct End(Arc<AtomicBool>);

impl End {
    /// What comes next on the connection is the next request.
    pub fn is_reached(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A body that notes when it was read to its end.
pub struct RequestBody {
    body: Incoming,
    unread: Unread,
    end: End,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.unread.0.store(false, Relaxed);
            self.end.0.store(true, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that is closed only after the rest of its last request, or enough of it.
pub struct Lingering {
    stream: TcpStream,
    unread: Unread,
    /// A drain waits for no rest.
    shutdown: CancellationToken,
    /// From the moment at which everything was answered: until when the rest is taken, and how much more of it.
    rest: Option<(Pin<Box<Timeout<WaitForCancellationFutureOwned>>>, usize)>,
}

impl Lingering {
    pub fn new(stream: TcpStream, unread: Unread, shutdown: CancellationToken) -> Self {
        Self { stream, unread, shutdown, rest: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.unread.0.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ends the own direction, so that the client has its whole answer, and then takes the rest of the other one.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        if !this.unread.0.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let (end, left) = this.rest.get_or_insert_with(|| {
            (Box::pin(timeout(REST_TIMEOUT, this.shutdown.clone().cancelled_owned())), REST_MAX_BYTES)
        });
        let mut piece = [0; PIECE_BYTES];
        while *left > 0 && end.as_mut().poll(context).is_pending() {
            let mut piece = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => *left = left.saturating_sub(piece.filled().len()),
                // The client has closed, too, or is gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
