//! A client's connection. One whose client takes nothing of its answer is closed, for that answer must not
//! hold memory, a slot or a drain for ever.
//!
//! The rest of a request that was not read to its end is taken for a while and thrown away: a socket closed
//! with unread bytes is reset, and a client that sends its whole body first would never see the 413 or the
//! 401 (RFC 9112, section 9.6).

use std::io;
use std::io::{ErrorKind, IoSlice};
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
use tokio::time::{Sleep, Timeout, sleep, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The time in which the client must take at least one byte of what waits for it.
const STALL_MAX: Duration = Duration::from_secs(5);
/// The longest rest that is taken, in bytes.
const REST_MAX_BYTES: usize = 8 * 1024 * 1024;
/// The longest time for which it is taken.
const REST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes thrown away at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Whether the client has sent bytes of a request that nobody has read yet.
#[derive(Clone, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    /// The body of a request whose head has come, and whether it was read to its end: what comes then on the
    /// connection is the next request.
    pub fn until_the_end_of(&self, body: Incoming) -> (RequestBody, Arc<AtomicBool>) {
        let is_empty = body.is_end_stream();
        self.0.store(!is_empty, Relaxed);
        let ended = Arc::new(AtomicBool::new(is_empty));
        (RequestBody { body, unread: self.clone(), ended: ended.clone() }, ended)
    }
}

/// A body that notes when it was read to its end.
pub struct RequestBody {
    body: Incoming,
    unread: Unread,
    ended: Arc<AtomicBool>,
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
            self.ended.store(true, Relaxed);
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

/// A connection that fails once a write made no progress for [`STALL_MAX`], and that is closed only after the
/// rest of its last request, or enough of it.
pub struct ClientStream {
    tcp: TcpStream,
    unread: Unread,
    /// A drain waits for no rest.
    shutdown: CancellationToken,
    /// Runs from the first write that had to wait until one succeeds.
    stall: Option<Pin<Box<Sleep>>>,
    /// Once everything is answered: until when the rest is taken, and how much more of it.
    rest: Option<(Pin<Box<Timeout<WaitForCancellationFutureOwned>>>, usize)>,
}

impl ClientStream {
    pub fn new(tcp: TcpStream, unread: Unread, shutdown: CancellationToken) -> Self {
        Self { tcp, unread, shutdown, stall: None, rest: None }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.unread.0.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
        ready!(stall.as_mut().poll(context));
        metrics::counter!("http_connections_stalled_total").increment(1);
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    /// Ends the own direction, so that the client has its whole answer, and then takes the rest.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.tcp).poll_shutdown(context))?;
        if !this.unread.0.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let (end, left) = this.rest.get_or_insert_with(|| {
            (Box::pin(timeout(REST_TIMEOUT, this.shutdown.clone().cancelled_owned())), REST_MAX_BYTES)
        });
        let mut piece = [0; PIECE_BYTES];
        while *left > 0 && end.as_mut().poll(context).is_pending() {
            let mut piece = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut this.tcp).poll_read(context, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => *left = left.saturating_sub(piece.filled().len()),
                // The client has closed, too, or is gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
