//! The first stock: read from a file or built in, applied once per product and never again over real stock.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Error, Result, ensure};
use serde::{Deserialize, Serialize};
use shared::clock::now_ms;
use shared::contract::events::ID_MAX_CHARS;
use shared::storage::{Database, Tx, json};
use shared::text::{is_text, without_byte_order_mark};

use super::STOCK_MAX;

/// One product of a seed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeedProduct {
    /// 1–64 characters, once in the file.
    pub product_id: String,
    /// 0 or more.
    pub stock: i64,
}

/// The products of the file, or the built-in ones without a file. The error names SEED_FILE and the rule.
pub fn read(file: Option<&Path>) -> Result<Vec<SeedProduct>> {
    let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else { return Ok(built_in()) };
    let json = fs::read(file).with_context(|| format!("read SEED_FILE {}", file.display()))?;
    parse(without_byte_order_mark(&json)).with_context(|| format!("SEED_FILE {}", file.display()))
}

fn built_in() -> Vec<SeedProduct> {
    let product = |product_id: &str, stock| SeedProduct { product_id: product_id.to_owned(), stock };
    vec![product("1", 10), product("2", 5)]
}

fn parse(json: &[u8]) -> Result<Vec<SeedProduct>> {
    let products: Vec<SeedProduct> = serde_json::from_slice(json)?;
    let mut seen = HashSet::new();
    for SeedProduct { product_id, stock } in &products {
        ensure!(
            is_text(product_id, ID_MAX_CHARS),
            "productId must have 1 to {ID_MAX_CHARS} characters, none of them U+0000"
        );
        ensure!(
            (0..=STOCK_MAX).contains(stock),
            "stock of product {product_id} must be from 0 to {STOCK_MAX}"
        );
        ensure!(seen.insert(product_id), "product {product_id} must be given once");
    }
    Ok(products)
}

/// Adds the products that were never seen before, each with the adjustment that explains its stock.
pub async fn apply(database: &Database, products: &[SeedProduct]) -> Result<()> {
    let added = database.write(|mut tx| async move {
        let added = add(&mut tx, products).await?;
        Ok((tx, added))
    });
    let added = added.await.map_err(Error::from).context("seed the stock")?;
    if added > 0 {
        tracing::info!(products = added, "stock seeded");
    }
    Ok(())
}

/// Returns how many are new.
async fn add(tx: &mut Tx, products: &[SeedProduct]) -> sqlx::Result<u64> {
    let added = sqlx::query(
        "INSERT INTO products (id, stock)
         SELECT value ->> 'productId', value ->> 'stock' FROM json_each($1) WHERE true
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(json(&products))
    .execute(&mut **tx)
    .await?
    .rows_affected();
    // A new product has no adjustment: whoever makes a product later adjusts it in the same transaction.
    sqlx::query(
        "INSERT INTO adjustments (product_id, kind, delta, reason, created_at, stock_after)
         SELECT id, 'seed', stock, 'first stock', $1, stock FROM products
         WHERE NOT EXISTS (SELECT 1 FROM adjustments WHERE product_id = products.id)",
    )
    .bind(now_ms())
    .execute(&mut **tx)
    .await?;
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_file_that_breaks_a_rule_is_refused() {
        let cases = [
            (r#"[{"productId":"","stock":1}]"#, "productId"),
            (r#"[{"productId":"1","stock":-1}]"#, "stock"),
            (r#"[{"productId":"1","stock":1},{"productId":"1","stock":2}]"#, "once"),
            (r#"[{"productId":"1","stock":1,"price":2}]"#, "price"),
            ("{}", "sequence"),
        ];
        for (text, word) in cases {
            let error = format!("{:#}", parse(text.as_bytes()).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
        assert_eq!(
            parse(br#"[{"productId":"1","stock":10},{"productId":"2","stock":5}]"#).unwrap(),
            built_in()
        );
    }
}
