//! What operators ask a running service to do: one job after the other, in a task of its own.
//!
//! No write transaction lives in a request's future: a caller who goes away must not leave a commit half-way.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait for the task; further ones wait for room.
const WAITING_MAX: usize = 16;

/// Where to hand in a job. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(mpsc::Sender<BoxFuture<'static, ()>>);

/// The entrance, and the task that does the jobs: until every [`Jobs`] is gone and all are done.
pub fn jobs() -> (Jobs, impl Future<Output = ()>) {
    let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
    let work = async move {
        while let Some(job) = receiver.recv().await {
            job.await;
        }
    };
    (Jobs(sender), work)
}

impl Jobs {
    /// Has a job done, whether or not anybody waits for its result.
    pub async fn run<T: Send + 'static>(&self, job: impl Future<Output = T> + Send + 'static) -> T {
        let (answer, result) = oneshot::channel();
        let job = job.map(|result| drop(answer.send(result)));
        let _ = self.0.send(job.boxed()).await;
        match result.await {
            Ok(result) => result,
            // The task is gone, and the process goes with it: the connection's end is the answer.
            Err(_) => std::future::pending().await,
        }
    }
}
