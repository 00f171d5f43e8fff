//! The test broker in a container.

use std::time::Duration;

use anyhow::{Context, Result};
use processes::{broker, nats_server, workspace};
use testcontainers::bollard::Docker;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::time::{sleep, timeout};

use super::action::Action;

/// How long an engine may take to answer before it counts as absent.
const ENGINE: Duration = Duration::from_secs(2);

/// Where `nats.conf` lies in the container.
const CONFIG: &str = "/etc/nats/orders.conf";

/// A broker whose storage lives and dies with its container.
#[derive(Debug)]
pub(super) struct Container {
    // None only while it is replaced: the old one must be gone before the new one can have its port.
    running: Option<ContainerAsync<GenericImage>>,
    port: u16,
}

/// Whether a Docker engine answers on this machine.
pub(super) async fn engine_answers() -> Result<()> {
    let engine = Docker::connect_with_defaults()?;
    timeout(ENGINE, engine.ping()).await.context("the engine does not answer")??;
    Ok(())
}

impl Container {
    pub(super) async fn start(port: u16) -> Result<Self> {
        Ok(Self { running: Some(run(port).await?), port })
    }

    pub(super) async fn change(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Stop => self.get()?.stop_with_timeout(Some(10)).await?,
            Action::Kill => self.kill().await?,
            Action::StartAgain => self.get()?.start().await?,
            Action::Wipe => {
                if let Some(container) = self.running.take() {
                    container.rm().await?;
                }
                self.running = Some(run(self.port).await?);
            }
        }
        Ok(())
    }

    async fn kill(&self) -> Result<()> {
        let container = self.get()?;
        Docker::connect_with_defaults()?.kill_container(container.id(), None).await?;
        // The engine answers when the signal is sent; until the process is gone a start would do nothing.
        while container.is_running().await? {
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn get(&self) -> Result<&ContainerAsync<GenericImage>> {
        self.running.as_ref().context("the container could not be replaced before")
    }
}

/// The host's port is chosen here: one that Docker chooses changes when the container is stopped and started.
async fn run(port: u16) -> Result<ContainerAsync<GenericImage>> {
    let tag = format!("{}-alpine", nats_server::PINNED);
    let mut request = GenericImage::new("nats".to_owned(), tag)
        .with_mapped_port(port, 4222.tcp())
        .with_copy_to(CONFIG, workspace::nats_conf())
        // Any command replaces the image's own, with its configuration.
        .with_cmd(["nats-server", "-c", CONFIG, "-sd", "/data"]);
    for user in broker::USERS {
        request = request.with_env_var(broker::password_variable(user), broker::password(user));
    }
    request.start().await.context("cannot start the container; is the image there?")
}
