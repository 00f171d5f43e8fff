//! A load that others drive, too: what is sent, where it goes, and as whom.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use processes::token;

use super::plan::{LoadPlan, Mix};
use super::tally::SharedTally;
use crate::answers::Recorder;
use crate::http::{HttpClient, PATIENCE};

/// A plan on its way to a target. Cheap to clone; clones share the tally.
///
/// `watch` first, then `send`, then `wait_until_settled`. The services may die and come back at any time.
#[derive(Clone)]
pub struct Load {
    pub plan: Arc<LoadPlan>,
    pub target: Arc<Target>,
    pub tally: SharedTally,
    pub(super) recorder: Option<Recorder>,
}

impl Load {
    /// Nothing is sent yet. A recorder gets every answer and observation; whoever made it finishes it.
    pub fn new(plan: LoadPlan, target: Target, recorder: Option<Recorder>) -> Self {
        Self { plan: plan.into(), target: target.into(), tally: SharedTally::new(), recorder }
    }

    /// Another plan to the same target, with the same tally and recorder.
    pub fn with_plan(&self, plan: LoadPlan) -> Self {
        Self { plan: plan.into(), ..self.clone() }
    }
}

#[derive(Debug, Clone)]
pub struct Target {
    /// The order service, such as `http://127.0.0.1:3000`.
    pub order_url: String,
    /// The inventory service, whose stock is read and recorded; `None`: it is not.
    pub inventory_url: Option<String>,
    pub users: Vec<User>,
    /// How long one request may take before its outcome counts as unknown.
    pub patience: Duration,
}

#[derive(Debug, Clone)]
pub struct User {
    /// The `sub` of the token.
    pub name: String,
    /// `Bearer …`
    pub authorization: String,
}

impl Target {
    /// A target whose tokens are signed with `secret`, one for each user of the mix.
    pub fn signed(order_url: &str, secret: &str, mix: &Mix) -> Result<Self> {
        let user = |number: u32| {
            let name = format!("load-{number}");
            Ok(User { authorization: format!("Bearer {}", token::sign(secret, &name)?), name })
        };
        Ok(Self::new(order_url, (1..=mix.users.max(1)).map(user).collect::<Result<_>>()?))
    }

    /// A target with a token of which only its service knows whose it is.
    pub fn with_token(order_url: &str, token: &str) -> Self {
        Self::new(order_url, vec![User { name: String::new(), authorization: format!("Bearer {token}") }])
    }

    fn new(order_url: &str, users: Vec<User>) -> Self {
        let order_url = order_url.trim_end_matches('/').to_owned();
        Self { order_url, inventory_url: None, users, patience: PATIENCE }
    }

    pub(super) async fn connect(&self) -> Result<HttpClient> {
        let mut client = HttpClient::connect(&self.order_url).await?;
        client.patience = self.patience;
        Ok(client)
    }

    /// Tells a wrong URL from a service under stress.
    pub async fn probe(&self) -> Result<()> {
        HttpClient::connect(&self.order_url).await.map(drop)
    }

    pub(super) fn user(&self, number: usize) -> Result<&User> {
        self.users.get(number).context("the plan has more users than the target")
    }
}
