//! Migrations in the binary, as sqlx reads them from a folder. Its macro for that would compile SQLite twice.

use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The delivery tables that both databases have.
pub(super) static DELIVERY: LazyLock<Migrator> = LazyLock::new(|| {
    embedded(&[
        ("0001_delivery", include_str!("../../migrations/0001_delivery.sql")),
        ("0002_identity", include_str!("../../migrations/0002_identity.sql")),
        ("0003_acknowledged_message", include_str!("../../migrations/0003_acknowledged_message.sql")),
        ("0004_handling_attempts", include_str!("../../migrations/0004_handling_attempts.sql")),
        ("0005_outbox_batches", include_str!("../../migrations/0005_outbox_batches.sql")),
    ])
});

/// Files by their names, such as `0001_delivery`, with what they hold.
pub fn embedded(files: &[(&'static str, &'static str)]) -> Migrator {
    let migration = |&(name, sql): &(&'static str, &'static str)| {
        let (version, description) = name.split_once('_').unwrap_or((name, ""));
        let version = version.parse().unwrap_or_else(|_| panic!("{name} does not begin with a number"));
        let description = description.replace('_', " ").into();
        Migration::new(version, description, MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn the_binary_has_each_file_of_the_folder_as_sqlx_reads_it() {
        let folder = Migrator::new(Path::new("migrations")).await.unwrap();
        let seen = |migrator: &Migrator| {
            let seen = migrator
                .iter()
                .map(|one| (one.version, one.description.clone(), one.checksum.clone(), one.no_tx));
            seen.collect::<Vec<_>>()
        };
        assert_eq!(seen(&DELIVERY), seen(&folder));
    }
}
