//! The migrations of `inventory.db`, behind those of the delivery tables.

use std::sync::LazyLock;

use shared::storage::migrations::embedded;
use sqlx::migrate::Migrator;

pub static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    embedded(&[
        ("0101_stock", include_str!("../migrations/0101_stock.sql")),
        ("0102_stock_administration", include_str!("../migrations/0102_stock_administration.sql")),
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
