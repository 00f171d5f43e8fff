//! Settings that both services have. Each is a flag and an environment variable of the same name (but RUST_LOG
//! is `--log`), read once. A tool of the binary reads only the variables that `operations/command_line` lists
//! for it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum};

/// The secret of the seed's published sample tokens; fine for a demonstration, and for nothing else.
pub const DEMO_SECRET: &str = "a-string-secret-at-least-256-bits-long";

/// A value that never shows in logs or in `--help`. Checked where it is used: an error of clap would repeat
/// it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// The settings of every service, with its `Own` among them. Each gives PORT, DATABASE, NATS_USER and
/// NATS_PASSWORD its defaults.
#[derive(Debug, Clone, Args)]
pub struct ServiceSettings<Own: Args> {
    /// Port to listen on; 0 takes a free one
    #[arg(long, env, required = false, global = true)]
    pub port: u16,
    /// The SQLite file; its folder is created
    #[arg(long, env, required = false, global = true)]
    pub database: PathBuf,
    #[command(flatten)]
    pub own: Own,
    /// Address to listen on; the commands that ask the service look for it there
    #[arg(long, env, default_value = "127.0.0.1", global = true)]
    pub host: IpAddr,
    /// Seconds to finish the work in hand after SIGTERM or SIGINT
    #[arg(long, env, default_value = "10", value_parser = seconds)]
    pub drain_seconds: Duration,
    #[command(flatten)]
    pub jwt: JwtSettings,
    #[command(flatten)]
    pub nats: NatsSettings,
    #[command(flatten)]
    pub log: LogSettings,
}

impl<Own: Args> ServiceSettings<Own> {
    /// Where a process on this machine reaches the service: a wildcard address listens on the loopback, too.
    pub fn reachable(&self) -> SocketAddr {
        let host = match self.host {
            IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        };
        SocketAddr::new(host, self.port)
    }
}

/// Where and how to reach the broker.
#[derive(Debug, Clone, Args)]
pub struct NatsSettings {
    /// Address of the broker; `tls://` encrypts the connection
    #[arg(long, env, default_value = "nats://127.0.0.1:4222")]
    pub nats_url: String,
    /// User name at the broker; its replies arrive under `_INBOX_<user>`. Empty means none
    #[arg(long, env, default_value = "", value_parser = nats_user)]
    pub nats_user: String,
    /// Password at the broker
    #[arg(long, env, default_value = "", hide_env_values = true, hide_default_value = true)]
    pub nats_password: Secret,
    /// Largest size of the stream ORDERS in bytes; below the server's max_file_store, the same for both services
    #[arg(long, env, default_value_t = 1 << 30, value_parser = clap::value_parser!(i64).range(1 << 20..))]
    pub nats_max_bytes: i64,
}

impl NatsSettings {
    /// Fails on an address that can never work. Not left to clap, whose error would repeat the address and a
    /// password in it.
    pub fn check(&self) -> anyhow::Result<()> {
        let url = &self.nats_url;
        ensure!(!url.contains('@'), "NATS_URL must not hold credentials; set NATS_USER and NATS_PASSWORD");
        let has_scheme = url.starts_with("nats://") || url.starts_with("tls://");
        ensure!(has_scheme, "NATS_URL must start with nats:// or tls://");
        Ok(())
    }
}

/// How tokens are verified: with exactly one key. An empty text counts as not set.
#[derive(Debug, Clone, Default, Args)]
pub struct JwtSettings {
    /// Key of the HS256 tokens, at least 32 bytes, the same for both services
    #[arg(long, env, hide_env_values = true, global = true)]
    pub jwt_secret: Option<Secret>,
    /// Instead of JWT_SECRET: the file that holds it; a line end after it is no part of it
    #[arg(long, env, value_name = "FILE", value_parser = any_path(), global = true)]
    pub jwt_secret_file: Option<PathBuf>,
    /// Instead of a secret: the public key of whoever signs the tokens, in PEM; Ed25519 for EdDSA, or RSA for RS256
    #[arg(long, env, value_name = "FILE", value_parser = any_path(), global = true)]
    pub jwt_public_key_file: Option<PathBuf>,
    /// Accept only tokens whose claim `iss` is this
    #[arg(long, env, global = true)]
    pub jwt_issuer: Option<String>,
    /// Accept only tokens whose claim `aud` is this or includes it
    #[arg(long, env, global = true)]
    pub jwt_audience: Option<String>,
    /// Refuse tokens without `exp`
    #[arg(long, env, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", global = true)]
    pub jwt_require_exp: bool,
    /// Token of the commands that ask the running service; without it they sign one with the secret
    #[arg(long, env, hide_env_values = true, global = true)]
    pub admin_token: Option<Secret>,
}

/// What and how to log.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    /// Form of a log line
    #[arg(long, env, value_enum, default_value = "pretty")]
    pub log_format: LogFormat,
    /// What to log, as `level` or `target=level,…`
    #[arg(long = "log", env = "RUST_LOG", default_value = "info,async_nats=off")]
    pub rust_log: String,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Pretty,
}

/// A path that may be empty, as a variable is that somebody cleared.
pub fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// It names the subjects of its replies, so it must be one token of a subject.
fn nats_user(value: &str) -> Result<String, String> {
    if value.contains(|char: char| char.is_whitespace() || char.is_control() || ".*>".contains(char)) {
        return Err("must not hold spaces, control characters, dots, * or >".to_owned());
    }
    Ok(value.to_owned())
}

fn seconds(value: &str) -> Result<Duration, String> {
    match value.parse::<u64>() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be a whole number of seconds from 1 to 3600".to_owned()),
    }
}
