//! Rewrites what `template.yaml` says of the data set.

use std::{error::Error, fs, path::Path};

use shared::dataset::Dataset;

fn main() -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let template = fs::read_to_string(&path)?;
    fs::write(&path, schema::render(&Dataset::named("us_accidents")?, &template)?)?;
    Ok(())
}
