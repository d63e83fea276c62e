//! A generated file, and the first line in which the copy in the project differs from it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::generate::{RenderError, with_path};

/// A file with its expected text.
#[derive(Debug)]
pub(crate) struct GeneratedFile {
    /// Its path below the project's folder.
    pub(crate) path: PathBuf,
    text: String,
}

impl GeneratedFile {
    pub(crate) fn new(path: impl Into<PathBuf>, text: String) -> Self {
        Self { path: path.into(), text }
    }

    /// The first difference from the file in the project, if any.
    pub(crate) fn difference(&self, root: &Path) -> Result<Option<Difference>, RenderError> {
        let path = root.join(&self.path);
        let found = match fs::read_to_string(&path) {
            // A missing file counts as empty.
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(with_path(&path))?,
        };
        Ok(self.difference_from(&found))
    }

    fn difference_from(&self, found: &str) -> Option<Difference> {
        // Split after line feeds, so that a missing line feed is a difference, too.
        let (mut found, mut expected) = (found.split_inclusive('\n'), self.text.split_inclusive('\n'));
        for line in 1.. {
            let (found, expected) = (found.next(), expected.next());
            if found != expected {
                let [found, expected] = [found, expected].map(|line| line.map(str::to_owned));
                return Some(Difference { path: self.path.clone(), line, found, expected });
            }
            if found.is_none() {
                break;
            }
        }
        None
    }

    /// Writes the file unless it is up to date; returns whether it was written.
    pub(crate) fn write(&self, root: &Path) -> Result<bool, RenderError> {
        if self.difference(root)?.is_none() {
            return Ok(false);
        }
        let path = root.join(&self.path);
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(with_path(folder))?;
        fs::write(&path, &self.text).map_err(with_path(&path))?;
        Ok(true)
    }
}

/// The first line of a generated file that is not up to date.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    path: PathBuf,
    line: usize,
    found: Option<String>,
    expected: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |line: &Option<String>| match line {
            Some(line) => format!("`{}`", line.trim()),
            None => "the end of the file".to_owned(),
        };
        write!(
            f,
            "{}:{}: expected {}, found {}. This is generated: edit datasets/, departments.toml or tools/render, and run \
             `make render`",
            self.path.display(),
            self.line,
            quoted(&self.expected),
            quoted(&self.found)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_line_to_fix() {
        let file = GeneratedFile::new("a.yaml", "one\ntwo\nthree\n".to_owned());
        assert_eq!(file.difference_from("one\ntwo\nthree\n"), None);
        let difference = file.difference_from("one\n  zwei\nthree\n").unwrap().to_string();
        assert!(difference.starts_with("a.yaml:2: expected `two`, found `zwei`. "), "{difference}");
        let difference = file.difference_from("one\n").unwrap().to_string();
        assert!(
            difference.starts_with("a.yaml:2: expected `two`, found the end of the file. "),
            "{difference}"
        );
        assert_eq!(file.difference_from("one\ntwo\nthree").map(|difference| difference.line), Some(3));
    }
}
