//! The container engine's HTTP API over its unix socket, as far as faults need it: find, kill, pause, stop, start.
//!
//! Only containers of one compose project are touched, found by the labels that Docker Compose gives them.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Where the engine listens unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// How long the engine may take for one answer; stopping a container takes as long as its process drains.
const PATIENCE: Duration = Duration::from_secs(60);

/// The labels that Docker Compose gives a container.
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";

/// A container engine on this machine.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// A container of a compose project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Its id.
    pub id: String,
    /// `running`, `exited` and so on.
    pub state: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// What can be done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL; the engine does not start it again by itself.
    Kill,
    /// SIGTERM, and SIGKILL after the container's grace period.
    Stop,
    /// Starts what was killed or stopped.
    Start,
    /// Freezes every process in it.
    Pause,
    /// Thaws them.
    Unpause,
}

impl Engine {
    /// The engine at `DOCKER_HOST`, which must be a unix socket, else at the usual place.
    pub fn from_env() -> Result<Self> {
        match env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => match host.strip_prefix("unix://") {
                Some(path) => Ok(Self { socket: path.into() }),
                None => bail!("DOCKER_HOST is {host}; only unix:// is supported here"),
            },
            _ => Ok(Self { socket: SOCKET.into() }),
        }
    }

    /// The containers of every compose project on this machine, running or not.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        let (status, body) = self.call(Method::GET, "/containers/json?all=true").await?;
        if status != StatusCode::OK {
            bail!("the container engine answered {status}: {}", String::from_utf8_lossy(&body));
        }
        let all: Vec<Container> =
            serde_json::from_slice(&body).context("the engine's list is not readable")?;
        Ok(all.into_iter().filter(|container| container.labels.contains_key(PROJECT)).collect())
    }

    /// Does `action` to a container. That it is in the wanted state already is no error.
    pub async fn act(&self, container: &str, action: Action) -> Result<()> {
        let word = match action {
            Action::Kill => "kill?signal=SIGKILL",
            Action::Stop => "stop",
            Action::Start => "start",
            Action::Pause => "pause",
            Action::Unpause => "unpause",
        };
        let (status, body) = self.call(Method::POST, &format!("/containers/{container}/{word}")).await?;
        match status {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Ok(()),
            _ => {
                bail!("the container engine answered {status} to {word}: {}", String::from_utf8_lossy(&body))
            }
        }
    }

    /// Whether the container's process runs; paused counts as running.
    pub async fn is_running(&self, container: &str) -> Result<bool> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            state: State,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct State {
            running: bool,
        }
        let (_, body) = self.call(Method::GET, &format!("/containers/{container}/json")).await?;
        let inspected: Inspected = serde_json::from_slice(&body).context("the container is gone")?;
        Ok(inspected.state.running)
    }

    /// One request on a connection of its own.
    async fn call(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes)> {
        let socket = UnixStream::connect(&self.socket).await;
        let socket =
            socket.with_context(|| format!("no container engine answers at {}", self.socket.display()))?;
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
        // Its error is also the error of the request, which reports it.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "engine");
        let exchange = async {
            let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
            anyhow::Ok((response.status(), response.into_body().collect().await?.to_bytes()))
        };
        timeout(PATIENCE, exchange).await.context("the container engine did not answer in time")?
    }
}

impl Container {
    /// The compose project.
    pub fn project(&self) -> &str {
        self.label(PROJECT)
    }

    /// The compose service.
    pub fn service(&self) -> &str {
        self.label(SERVICE)
    }

    /// The folder of the compose file.
    pub fn working_dir(&self) -> &str {
        self.label(WORKING_DIR)
    }

    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// Answers one request after the other with what is given; returns their first lines.
    fn engine(
        answers: Vec<&'static str>,
    ) -> (Engine, tempfile::TempDir, tokio::task::JoinHandle<Vec<String>>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let served = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 4096];
                let length = stream.read(&mut buffer).await.unwrap();
                let text = String::from_utf8_lossy(&buffer[..length]);
                requests.push(text.lines().next().unwrap_or_default().to_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        });
        (Engine { socket }, folder, served)
    }

    #[tokio::test]
    async fn only_compose_containers_are_listed_with_their_project_and_service() {
        let list = r#"[{"Id":"a","State":"running","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"nats"}},{"Id":"b","State":"exited","Labels":{}}]"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len());
        let (engine, _folder, served) = engine(vec![answer.leak()]);
        let containers = engine.containers().await.unwrap();
        assert_eq!(containers.len(), 1);
        assert_eq!((containers[0].project(), containers[0].service()), ("shop", "nats"));
        assert_eq!(served.await.unwrap(), ["GET /containers/json?all=true HTTP/1.1"]);
    }

    #[tokio::test]
    async fn an_action_is_a_post_and_a_refusal_tells_what_the_engine_said() {
        let (engine, _folder, served) = engine(vec![
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 409 Conflict\r\nContent-Length: 14\r\n\r\nis not running",
        ]);
        engine.act("abc", Action::Pause).await.unwrap();
        let error = engine.act("abc", Action::Kill).await.unwrap_err().to_string();
        assert!(error.contains("409") && error.contains("is not running"), "{error}");
        let requests = served.await.unwrap();
        assert_eq!(requests[0], "POST /containers/abc/pause HTTP/1.1");
        assert_eq!(requests[1], "POST /containers/abc/kill?signal=SIGKILL HTTP/1.1");
    }
}
