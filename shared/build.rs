//! Takes the parts of Swagger UI that a page needs out of the crate that carries all of it, and leaves them
//! compressed.
//!
//! A member of a zip archive differs from a gzip file only in its frame, so nothing is compressed here, nor
//! ever unpacked.

use std::error::Error;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::{env, fs};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::{CompressionMethod, ZipArchive};

const FILES: [&str; 3] = ["swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"];
/// RFC 1952, section 2.3: deflate, no name, no time, the strongest compression, an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for name in FILES {
        let end = format!("/dist/{name}");
        let index =
            archive.file_names().position(|path| path.is_ok_and(|path| path.ends_with(&end))).ok_or(end)?;
        let mut member = archive.by_index_raw(index)?;
        let mut content = Vec::new();
        member.read_to_end(&mut content)?;
        let is_compressed = member.compression() == CompressionMethod::DEFLATE;
        if is_compressed {
            let size = u32::try_from(member.size())?;
            content = [&GZIP_HEADER, &*content, &member.crc32().to_le_bytes(), &size.to_le_bytes()].concat();
        }
        let name = if is_compressed { format!("{name}.gz") } else { name.to_owned() };
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}
