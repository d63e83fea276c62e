//! Compiles every folder of `datasets/` in, so that another data set is another folder and no other code.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let datasets = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../datasets").canonicalize()?;
    println!("cargo:rerun-if-changed={}", datasets.display());
    let entries = fs::read_dir(&datasets)?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<_> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for (file, table) in [("dataset.toml", "datasets.rs"), ("series.tsv", "series.rs")] {
        let mut entries = String::new();
        for name in &names {
            let path = datasets.join(name).join(file);
            if path.is_file() {
                let path = path.display().to_string();
                entries += &format!("    ({name:?}, include_str!({path:?})),\n");
            }
        }
        fs::write(Path::new(&env::var("OUT_DIR")?).join(table), format!("&[\n{entries}]"))?;
    }
    Ok(())
}
