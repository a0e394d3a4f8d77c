//! Lists the files of the page (clients/web/dist, built and committed there) for `http/page.rs` to carry.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let dist = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../clients/web/dist");
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut paths = Vec::new();
    for folder in [dist.clone(), dist.join("assets")] {
        println!("cargo:rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_file() {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let mut list = String::from("[\n");
    for path in paths {
        let name = path.strip_prefix(&dist)?.to_str().ok_or("a file's name is not text")?.replace('\\', "/");
        writeln!(list, "(\"/{name}\", include_bytes!({:?}).as_slice()),", path.display().to_string())?;
    }
    list.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("page.rs"), list)?;
    Ok(())
}
