//! Background tasks, each with a name, and joined: none dies unseen.
//!
//! One that ends before it is told to leaves work undone that nobody else does. So its end is an error with
//! its name, and whoever runs the tasks stops with it.

use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use futures_util::future::BoxFuture;
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::JoinMap;

use crate::{fail_point, text};

/// A task that panics takes others along, which may be seen to end before it. So for this long after an end
/// without a panic one is waited for, which is then the cause.
const CAUSE_WITHIN: Duration = Duration::from_millis(100);

/// A group of tasks that end together. Dropping it aborts those that still run.
#[derive(Default)]
pub struct Tasks(JoinMap<&'static str, ()>);

impl Tasks {
    /// Runs a task under a name that no other task of the group has.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(name, Box::pin(task));
    }

    fn spawn_boxed(&mut self, name: &'static str, task: BoxFuture<'static, ()>) {
        tracing::debug!(task = name, "task started");
        self.0.spawn(name, fail_point::in_task(name, task));
    }

    /// Waits for the first task to end before it is told to: an error with its name.
    pub async fn first_end(&mut self) -> Error {
        match self.0.join_next().await {
            Some((name, Ok(()))) => match timeout(CAUSE_WITHIN, self.first_panic()).await {
                Ok(cause) => cause,
                Err(_) => anyhow!("the task \"{name}\" ended by itself; the service stops"),
            },
            Some((name, Err(failure))) => panicked(name, failure),
            None => std::future::pending().await,
        }
    }

    /// Waits for the first task that panics; for ever while there is none.
    async fn first_panic(&mut self) -> Error {
        loop {
            match self.0.join_next().await {
                Some((name, Err(failure))) => return panicked(name, failure),
                Some((_, Ok(()))) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until all have ended after `shutdown` told them to; fails as soon as one panics, or ends before.
    pub async fn all_ended_after(&mut self, shutdown: &CancellationToken) -> Result<()> {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            error = self.first_end() => return Err(error),
        }
        while let Some((name, ended)) = self.0.join_next().await {
            ended.map_err(|failure| panicked(name, failure))?;
        }
        Ok(())
    }
}

fn panicked(name: &'static str, failure: JoinError) -> Error {
    let message = match failure.try_into_panic() {
        Ok(panic) => text::of_panic(panic.as_ref()),
        Err(cancelled) => cancelled.to_string(),
    };
    anyhow!("the task \"{name}\" panicked: {message}; the service stops")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_returns_before_it_is_told_to_is_an_error_with_its_name() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", std::future::pending());
        tasks.spawn("short", async {});
        let error = tasks.first_end().await.to_string();
        assert_eq!(error, "the task \"short\" ended by itself; the service stops");
    }

    #[tokio::test]
    async fn a_task_that_panics_is_an_error_with_its_name_and_its_message() {
        let mut tasks = Tasks::default();
        tasks.spawn("clumsy", async { panic!("dropped {} plates", 3) });
        let error = tasks.first_end().await.to_string();
        assert_eq!(error, "the task \"clumsy\" panicked: dropped 3 plates; the service stops");
    }

    #[tokio::test]
    async fn the_task_that_panicked_is_named_and_not_one_that_it_took_along() {
        let mut tasks = Tasks::default();
        let (ended, end) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("taken along", async { drop(ended) });
        tasks.spawn("clumsy", async {
            let _ = end.await;
            panic!("too late to be first")
        });
        let error = tasks.first_end().await.to_string();
        assert!(error.contains("\"clumsy\" panicked: too late to be first"), "{error}");
    }

    #[tokio::test]
    async fn a_task_that_panics_while_it_drains_is_an_error_and_one_that_returns_is_none() {
        let (mut tasks, shutdown) = (Tasks::default(), CancellationToken::new());
        shutdown.cancel();
        tasks.spawn("steady", shutdown.clone().cancelled_owned());
        tasks.all_ended_after(&shutdown).await.unwrap();
        tasks.spawn("clumsy", async { panic!("at the last moment") });
        let error = tasks.all_ended_after(&shutdown).await.unwrap_err().to_string();
        assert!(error.contains("\"clumsy\" panicked: at the last moment"), "{error}");
    }
}
