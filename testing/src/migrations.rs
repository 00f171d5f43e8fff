//! What a binary has of a folder of migrations.

use std::path::Path;

use sqlx::migrate::{Migration, Migrator};

use crate::expect;

/// Panics unless `embedded` is each file of the crate's folder `migrations`, as sqlx reads it.
pub async fn assert_complete(embedded: &Migrator) {
    let folder = expect("read the migrations", Migrator::new(Path::new("migrations")).await);
    assert_eq!(seen(embedded), seen(&folder));
}

fn seen(migrator: &Migrator) -> Vec<String> {
    let one = |one: &Migration| {
        let Migration { version, description, migration_type, checksum, no_tx, .. } = one;
        format!("{version} {description} {migration_type:?} {checksum:?} {no_tx}")
    };
    migrator.iter().map(one).collect()
}
