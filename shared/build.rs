//! Compiles every file of `datasets/` in, so that a further data set is a further file and no other code.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../datasets");
    println!("cargo:rerun-if-changed={}", folder.display());
    let files: Vec<_> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    for (ending, table) in [(".toml", "datasets.rs"), (".series.tsv", "series.rs")] {
        let mut named: Vec<(String, &PathBuf)> = files
            .iter()
            .filter_map(|file| Some((file.file_name()?.to_str()?.strip_suffix(ending)?.to_owned(), file)))
            .collect();
        named.sort();
        let mut entries = String::from("&[\n");
        for (name, file) in named {
            let path = file.canonicalize()?;
            writeln!(entries, "    ({name:?}, include_str!({:?})),", path.display().to_string())?;
        }
        entries.push(']');
        fs::write(Path::new(&env::var("OUT_DIR")?).join(table), entries)?;
    }
    Ok(())
}
