//! What a load does: a pace, a limit, and orders that follow from a seed and their number alone.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use serde_json::json;

/// Spreads consecutive numbers over the generator's seeds; the odd number nearest to 2^64 / φ.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a load does. The same plan orders the same things under the same keys, whatever the answers.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    pub seed: u64,
    pub pace: Pace,
    pub limit: Limit,
    pub mix: Mix,
    /// Whether each order is answered only once it is settled: `Prefer: wait`.
    pub waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    Closed {
        connections: u32,
    },
    /// So many a second, whatever the answers; an order that finds every connection busy is measured late.
    Open {
        rate: f64,
        connections: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Duration(Duration),
    Count(u64),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    pub products: u32,
    /// Share of the orders that are for product `1`, beside its even share of the rest: 0 to 1.
    pub hot: f64,
    /// Share of the orders that are for products that do not exist: 0 to 1.
    pub unknown: f64,
    pub users: u32,
    pub quantity_max: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedOrder {
    /// Which of the users places it.
    pub user: usize,
    pub key: String,
    pub product_id: String,
    pub quantity: i64,
}

impl Pace {
    /// How many orders may wait for their answer at once.
    pub fn connections(self) -> u32 {
        match self {
            Self::Closed { connections } | Self::Open { connections, .. } => connections,
        }
    }
}

impl LoadPlan {
    /// Each order is answered as soon as it is stored.
    pub fn new(seed: u64, pace: Pace, limit: Limit, mix: Mix) -> Self {
        Self { seed, pace, limit, mix, waits: false }
    }

    /// The order with this number, counted from 0.
    pub fn order(&self, number: u64) -> PlannedOrder {
        let mut random = Rng::with_seed(self.seed ^ number.wrapping_mul(SPREAD));
        PlannedOrder {
            user: (number % u64::from(self.mix.users.max(1))) as usize,
            key: format!("load-{}-{number}", self.seed),
            product_id: self.mix.product(&mut random),
            quantity: random.i64(1..=i64::from(self.mix.quantity_max.max(1))),
        }
    }
}

impl Mix {
    fn product(&self, random: &mut Rng) -> String {
        let share = random.f64();
        if share < self.unknown {
            format!("unknown-{}", random.u32(1..=self.products.max(1)))
        } else if share < self.unknown + (1.0 - self.unknown) * self.hot {
            "1".to_owned()
        } else {
            random.u32(1..=self.products.max(1)).to_string()
        }
    }
}

impl PlannedOrder {
    pub fn body(&self) -> Bytes {
        json!({"productId": self.product_id, "quantity": self.quantity}).to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> LoadPlan {
        let mix = Mix { products: 10, hot: 0.5, unknown: 0.1, users: 3, quantity_max: 3 };
        LoadPlan::new(seed, Pace::Closed { connections: 1 }, Limit::Count(1), mix)
    }

    #[test]
    fn a_seed_decides_every_order() {
        let orders = |seed| (0..100).map(|number| plan(seed).order(number)).collect::<Vec<_>>();
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(2));
    }

    #[test]
    fn products_come_in_the_shares_that_were_asked_for() {
        let orders: Vec<PlannedOrder> = (0..10_000).map(|number| plan(7).order(number)).collect();
        let share = |wanted: &dyn Fn(&PlannedOrder) -> bool| {
            orders.iter().filter(|order| wanted(order)).count() as f64 / orders.len() as f64
        };
        let unknown = share(&|order| order.product_id.starts_with("unknown-"));
        assert!((0.08..0.12).contains(&unknown), "{unknown}");
        // Half of the known 90 %, and a tenth of the other half.
        let hot = share(&|order| order.product_id == "1");
        assert!((0.46..0.53).contains(&hot), "{hot}");
        let two = share(&|order| order.quantity == 2);
        assert!((0.31..0.36).contains(&two), "{two}");
        assert!((0.3..0.4).contains(&share(&|order| order.user == 2)));
    }
}
