//! A TCP proxy in front of the broker, whose link can be cut, stalled, slowed and reset while it carries.
//!
//! It changes no byte and no order; it does what a network does. Dropped, it closes everything.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Port;

const CHUNK: usize = 64 * 1024;

/// Chunks under way in one direction, at most; beyond them the sender has to wait, as on a real link.
const CHUNKS_UNDER_WAY: usize = 256;

/// Pause before the port is bound again after a failure.
const BIND_AGAIN: Duration = Duration::from_millis(20);

/// What the link does to all connections, the present ones and those to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Pass,
    /// Closes every connection and refuses new ones.
    Cut,
    /// Nothing arrives in this direction; it comes late, not never, once the link passes again.
    Stall(Direction),
    /// Every byte comes later by this time, and by up to as much again in `jitter`, in order.
    Slow {
        latency: Duration,
        jitter: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToBroker,
    FromBroker,
}

#[derive(Debug)]
pub struct Proxy {
    port: Port,
    link: watch::Sender<Link>,
    reset: Arc<Notify>,
    _carrying: JoinSet<()>,
}

#[derive(Clone)]
struct Wire {
    broker: SocketAddr,
    link: watch::Receiver<Link>,
    reset: Arc<Notify>,
}

impl Proxy {
    /// Listens on a free port and carries every connection to `broker`, which may be away.
    pub fn start(broker: SocketAddr) -> Result<Self> {
        let port = Port::claim()?;
        let link = watch::Sender::new(Link::Pass);
        let wire = Wire { broker, link: link.subscribe(), reset: Arc::default() };
        let listener = listen(port.number()).context("cannot listen for the proxy")?;
        let (reset, mut carrying) = (wire.reset.clone(), JoinSet::new());
        carrying.spawn(accept(Some(listener), port.number(), wire));
        Ok(Self { port, link, reset, _carrying: carrying })
    }

    /// The port on 127.0.0.1 that a client uses instead of the broker's.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Ends every present connection with a RST; new ones are welcome.
    pub fn reset(&self) {
        self.reset.notify_waiters();
    }
}

/// Accepts while the link is not cut; then nobody listens, so that the system itself refuses.
async fn accept(mut listener: Option<TcpListener>, port: u16, mut wire: Wire) {
    let mut connections = JoinSet::new();
    loop {
        if *wire.link.borrow_and_update() == Link::Cut {
            drop(listener.take());
            if wire.link.wait_for(|link| *link != Link::Cut).await.is_err() {
                return;
            }
        }
        let Some(bound) = &listener else {
            listener = listen(port).ok();
            if listener.is_none() {
                sleep(BIND_AGAIN).await;
            }
            continue;
        };
        tokio::select! {
            accepted = bound.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(carry(client, wire.clone()));
            },
            changed = wire.link.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    // Connections of before may still linger on the port.
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(1024)
}

async fn carry(mut client: TcpStream, mut wire: Wire) {
    let Ok(mut server) = TcpStream::connect(wire.broker).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (to_broker, from_broker) = (wire.link.clone(), wire.link.clone());
    let was_reset = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            () = pump(from_client, to_server, to_broker, Direction::ToBroker) => false,
            () = pump(from_server, to_client, from_broker, Direction::FromBroker) => false,
            _ = wire.link.wait_for(|link| *link == Link::Cut) => false,
            () = wire.reset.notified() => true,
        }
    };
    if was_reset {
        // Closing now discards what is unsent and sends a RST.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Carries one direction until its sender ends or its receiver is gone.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut link: watch::Receiver<Link>,
    direction: Direction,
) {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_UNDER_WAY);
    let arriving = link.clone();
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + delay(*arriving.borrow());
            if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, chunk)) = under_way.recv().await {
            sleep_until(due).await;
            let open = link.wait_for(|link| *link != Link::Stall(direction)).await.is_ok();
            if !open || to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    // The writer ends last where the sender ends: what is under way still arrives.
    tokio::pin!(read, write);
    tokio::select! {
        () = &mut read => write.await,
        () = &mut write => {}
    }
}

fn delay(link: Link) -> Duration {
    match link {
        Link::Slow { latency, jitter } => latency + jitter.mul_f64(fastrand::f64()),
        _ => Duration::ZERO,
    }
}
