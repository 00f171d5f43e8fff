//! How large the services are as files, and as images where Docker has them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::figures::{Figures, Measured};
use super::table::{Column, Table};
use crate::binaries::Binaries;
use crate::compose;

const COLUMNS: [Column; 2] = [("binary_mb", "binary MB", 1), ("image_mb", "image MB", 1)];

pub async fn table(binaries: &Binaries) -> Result<Table> {
    let mut rows = Vec::new();
    for (service, binary) in [("order-service", &binaries.order), ("inventory-service", &binaries.inventory)]
    {
        let mut figures = Measured::from([("binary_mb", megabytes(file_bytes(binary)?))]);
        figures.extend(image_bytes(service).await.map(|bytes| ("image_mb", megabytes(bytes))));
        rows.push((service.to_owned(), Figures::once(figures)));
    }
    Ok(Table {
        name: "sizes",
        heading: "Sizes",
        note: "Of the binaries that were measured, and of the images that `docker compose build` made, where there are any.",
        columns: &COLUMNS,
        rows,
    })
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn file_bytes(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.len())
}

/// `None` without Docker, without Compose, or without the image.
async fn image_bytes(service: &str) -> Option<u64> {
    // An image's name begins with that of the project, which Compose takes from the folder or a variable.
    let images = compose::docker(&["compose", "config", "--images"]).await.ok()?;
    let image = images.lines().find(|image| image.ends_with(service))?;
    let size = compose::docker(&["image", "inspect", "--format", "{{.Size}}", image]).await.ok()?;
    size.trim().parse().ok()
}
