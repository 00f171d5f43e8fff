//! TCP ports on 127.0.0.1 that stay ours while a part is down.
//!
//! They are below the range of outgoing connections, so a client that dials a stopped part cannot get its
//! port. A lock file keeps parallel test processes apart while the [`Port`] lives.

use std::fs;
use std::fs::File;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::TcpSocket;

use crate::workspace;

const FIRST: u32 = 20_000;
const COUNT: u32 = 10_000;

/// A port number: one that the user gave, or one that is claimed until it is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: Option<File>,
}

impl Port {
    /// A free port that no other process of ours is given while this value lives.
    pub fn claim() -> Result<Self> {
        let folder = workspace::target().join("ports");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // Spreads parallel processes over the range.
        let start = fastrand::u32(..COUNT);
        for offset in 0..COUNT {
            let number = u16::try_from(FIRST + (start + offset) % COUNT)?;
            let claim =
                File::create(folder.join(number.to_string())).context("cannot create a port's lock file")?;
            if claim.try_lock().is_ok() && is_free(number) {
                return Ok(Self { number, _claim: Some(claim) });
            }
        }
        bail!("no free port from {FIRST} to {}", FIRST + COUNT - 1)
    }

    /// A port that the user has chosen; nothing is claimed.
    pub fn fixed(number: u16) -> Self {
        Self { number, _claim: None }
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Fails with the first port that is taken or named twice, and the flag that changes it.
pub fn check_free(ports: &[(&str, u16)]) -> Result<()> {
    for (position, (flag, number)) in ports.iter().enumerate() {
        if let Some((other, _)) = ports[..position].iter().find(|(_, earlier)| earlier == number) {
            bail!("{other} and {flag} both name port {number}; choose another with {flag} PORT");
        }
        let free = is_free(*number);
        ensure!(free, "port {number} is taken; stop what listens there or choose another with {flag} PORT");
    }
    Ok(())
}

/// Whether nobody listens there. The probe is only bound: a child that another thread starts at this moment has it, too, until
/// it becomes another program, and would keep the port from us if the probe listened.
fn is_free(number: u16) -> bool {
    let probe = TcpSocket::new_v4().and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, number).into())
    });
    probe.is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_flag() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        let error = check_free(&[("--order-port", taken)]).unwrap_err().to_string();
        assert!(error.contains(&format!("port {taken} is taken")), "{error}");
        assert!(error.contains("--order-port"), "{error}");
    }

    #[test]
    fn a_port_named_twice_is_refused() {
        let port = Port::claim().unwrap().number();
        let error = check_free(&[("--order-port", port), ("--nats-port", port)]).unwrap_err().to_string();
        assert!(error.contains("--order-port and --nats-port both name"), "{error}");
    }

    #[test]
    fn claimed_ports_differ_although_nothing_listens_on_them() {
        let ports: Vec<Port> = (0..50).map(|_| Port::claim().unwrap()).collect();
        assert_eq!(ports.iter().map(Port::number).collect::<HashSet<_>>().len(), 50);
    }
}
