//! What is generated from the data sets' files: the blocks of `template.yaml`, the pages of `docs/datasets/`, and the
//! saved queries that every data set has.

pub mod page;
pub mod queries;
pub mod template;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use shared::dataset::{Dataset, DatasetError, Type};

/// The data set that the `template.yaml` of the repository stands for; for another one the template is rendered anew.
pub const COMMITTED: &str = "us_accidents";

/// Why nothing can be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A data set's file is wrong.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The template lacks a block.
    #[error(transparent)]
    NoBlock(#[from] template::NoBlock),
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

/// A file with the text that it should hold.
#[derive(Debug)]
pub struct Generated {
    /// Where it lies below the project's folder.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
}

/// Everything that is generated, for all data sets.
pub fn generate(root: &Path) -> Result<Vec<Generated>, Error> {
    let mut files = vec![Generated { path: "template.yaml".into(), text: template(COMMITTED, root)? }];
    for name in Dataset::names() {
        let dataset = Dataset::named(name)?;
        files.push(Generated {
            path: format!("docs/datasets/{name}.md").into(),
            text: page::render(&dataset),
        });
        let folder = queries::folder(&dataset);
        files.extend(
            queries::general(&dataset)
                .map(|(name, text)| Generated { path: format!("{folder}/{name}.sql").into(), text }),
        );
    }
    Ok(files)
}

/// The template as it deploys the data set of that name.
pub fn template(name: &str, root: &Path) -> Result<String, Error> {
    let path = root.join("template.yaml");
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let dataset = Dataset::named(name)?;
    let folder = root.join(queries::folder(&dataset));
    let queries = queries::all(&dataset, root).map_err(at(&folder))?;
    Ok(template::render(&dataset, &queries, &text)?)
}

/// The first line of a generated file that is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    path: PathBuf,
    line: usize,
    stands: Option<String>,
    right: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |line: &Option<String>| match line {
            Some(line) => format!("`{}`", line.trim()),
            None => "the end of the file".to_owned(),
        };
        write!(
            f,
            "{}:{}: {} stands where the data set has {}: change the data set's file in datasets/ if that is what you mean, \
             and run `make schema`",
            self.path.display(),
            self.line,
            quoted(&self.stands),
            quoted(&self.right)
        )
    }
}

impl Generated {
    /// Where the file in the project differs, if it does.
    pub fn difference(&self, root: &Path) -> Result<Option<Difference>, Error> {
        let path = root.join(&self.path);
        let stands = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(at(&path))?,
        };
        Ok(self.difference_from(&stands))
    }

    fn difference_from(&self, stands: &str) -> Option<Difference> {
        if stands == self.text {
            return None;
        }
        // Cut behind the line feeds, so that a missing one is a difference too.
        let (mut found, mut right) = (stands.split_inclusive('\n'), self.text.split_inclusive('\n'));
        let lines = stands.lines().count().max(self.text.lines().count());
        let difference = (1..=lines)
            .map(|line| (line, found.next(), right.next()))
            .find(|(_, found, right)| found != right)?;
        let (line, found, right) = difference;
        Some(Difference {
            path: self.path.clone(),
            line,
            stands: found.map(str::to_owned),
            right: right.map(str::to_owned),
        })
    }

    /// Writes the file unless it is as it should be.
    pub fn write(&self, root: &Path) -> Result<bool, Error> {
        if self.difference(root)?.is_none() {
            return Ok(false);
        }
        let path = root.join(&self.path);
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(at(folder))?;
        fs::write(&path, &self.text).map_err(at(&path))?;
        Ok(true)
    }
}

/// The type in Glue of a type of the data set.
fn glue_type(kind: Type) -> &'static str {
    match kind {
        Type::String => "string",
        // Whole numbers have 64 bits; an int of Glue has 32.
        Type::Int => "bigint",
        Type::Double => "double",
        Type::Boolean => "boolean",
        Type::Timestamp => "timestamp",
    }
}

/// The type in the raw table, which is faithful: times stay as they stand, since as timestamps the table's reader would refuse them.
fn raw_type(kind: Type) -> &'static str {
    if kind == Type::Timestamp { "string" } else { glue_type(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn everything_generated_is_what_the_data_sets_say() {
        for file in generate(&root()).unwrap() {
            let difference = file.difference(&root()).unwrap();
            assert!(difference.is_none(), "{}", difference.unwrap());
        }
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

    #[test]
    fn a_difference_names_the_line_to_mend() {
        let file = Generated { path: "a.yaml".into(), text: "one\ntwo\nthree\n".to_owned() };
        assert_eq!(file.difference_from("one\ntwo\nthree\n"), None);
        let difference = file.difference_from("one\n  zwei\nthree\n").unwrap().to_string();
        assert!(
            difference.starts_with("a.yaml:2: `zwei` stands where the data set has `two`: "),
            "{difference}"
        );
        let difference = file.difference_from("one\n").unwrap().to_string();
        assert!(difference.starts_with("a.yaml:2: the end of the file stands where "), "{difference}");
        assert_eq!(file.difference_from("one\ntwo\nthree").map(|difference| difference.line), Some(3));
    }
}
