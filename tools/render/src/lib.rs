//! What is generated from the data sets and from `departments.toml`: blocks of `template.yaml`, the dashboards, and each
//! data set's page and general queries.
//!
//! Each product has its module. [`generate`] puts them together; nothing is written before all of them are known.

#![allow(clippy::format_collect, reason = "texts are short, and written once")]

mod alarms;
mod dashboard;
mod departments;
mod grafana;
mod metrics;
mod page;
mod product;
mod queries;
mod repeated;
mod story;
mod tables;
mod template;
mod yaml;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use shared::dataset::{Dataset, DatasetError};

pub use crate::product::{Difference, Product};
use crate::{departments::NotADepartment, template::NoBlock};

/// The data set that the `template.yaml` of the repository deploys; for another one the template is rendered again.
pub const COMMITTED: &str = "us_accidents";

/// Why nothing can be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A data set's file is wrong.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The departments' file is wrong.
    #[error(transparent)]
    Department(#[from] NotADepartment),
    /// The template does not have a block.
    #[error(transparent)]
    NoBlock(#[from] NoBlock),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::File { path, source }
}

/// Everything that is generated, for all data sets.
pub fn generate(root: &Path) -> Result<Vec<Product>, Error> {
    let mut products = vec![Product::new("template.yaml", template(COMMITTED, None, root)?)];
    for name in Dataset::names() {
        let dataset = Dataset::named(name)?;
        let folder = Path::new("datasets").join(name);
        products.push(Product::new(folder.join("README.md"), page::render(&dataset)));
        products.push(Product::new(folder.join("grafana.json"), grafana::render(&dataset)));
        let general = queries::general(&dataset);
        products.extend(
            general.map(|(name, text)| Product::new(folder.join(format!("queries/{name}.sql")), text)),
        );
    }
    Ok(products)
}

/// The template as it deploys the data set of that name, with the departments of the project or those of another file.
pub fn template(name: &str, departments: Option<&Path>, root: &Path) -> Result<String, Error> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(at(&path));
    let dataset = &Dataset::named(name)?;
    let folder = root.join("datasets").join(name).join("queries");
    let queries = &queries::all(dataset, &folder).map_err(at(&folder))?;
    let departments = departments.map_or_else(|| root.join("departments.toml"), Path::to_owned);
    let departments = &departments::read(&read(departments)?)?;
    let source = template::Source { dataset, queries, departments };
    Ok(template::render(&source, &read(root.join("template.yaml"))?)?)
}

/// The metrics that are emitted for a data set, each with its dimensions, as JSON.
pub fn metrics(name: &str) -> Result<String, Error> {
    Ok(format!("{:#}\n", metrics::emitted(&Dataset::named(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_generated_is_what_the_data_sets_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for product in generate(&root).unwrap() {
            let difference = product.difference(&root).unwrap();
            assert!(difference.is_none(), "{}", difference.unwrap());
        }
    }

    #[test]
    fn what_a_data_set_has_is_in_its_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let products = generate(&root).unwrap();
        for product in products.iter().filter(|product| product.path != Path::new("template.yaml")) {
            let is_in_folder =
                Dataset::names().any(|name| product.path.starts_with(Path::new("datasets").join(name)));
            assert!(is_in_folder, "{}", product.path.display());
        }
        let template = super::template(COMMITTED, None, &root).unwrap();
        assert!(Dataset::names().filter(|name| *name != COMMITTED).all(|name| !template.contains(name)));
    }

    #[test]
    fn the_example_of_the_guide_is_a_data_set() {
        let guide = include_str!("../../../docs/DATA.md");
        let example = guide.split("```").nth(1).unwrap().strip_prefix("toml").unwrap();
        let others: Vec<_> = [
            ("Call No", "string"),
            ("Level", "int"),
            ("District", "string"),
            ("Received", "timestamp"),
        ]
        .iter()
        .map(|(name, kind)| {
            let column = name.to_lowercase().replace(' ', "_");
            format!(
                "[[column]]\nname = \"{name}\"\ncolumn = \"{column}\"\ntype = \"{kind}\"\ncomment = \"\"\n"
            )
        })
        .collect();
        let dataset = Dataset::parse("calls_911", &format!("{example}\n{}", others.concat())).unwrap();
        assert_eq!(dataset.severity_range(), (1, 5));
    }
}
