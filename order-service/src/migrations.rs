//! The migrations of `order.db`, behind those of the delivery tables.

use std::sync::LazyLock;

use shared::storage::migrations::embedded;
use sqlx::migrate::Migrator;

pub static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    embedded(&[
        ("0101_orders", include_str!("../migrations/0101_orders.sql")),
        ("0102_status_changes", include_str!("../migrations/0102_status_changes.sql")),
        ("0103_orders_by_number", include_str!("../migrations/0103_orders_by_number.sql")),
    ])
});

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_binary_has_each_file_of_the_folder() {
        testing::migrations::assert_complete(&MIGRATIONS).await;
    }
}
