//! Combines the modules: each generated file, unless one of them cannot be generated.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use shared::data::{
    dataset::{Dataset, DatasetError, Level},
    dimension::dimension,
};

use crate::{
    alarms::rules::{self, NoVariable},
    departments::{self, Attributes, NotADepartment},
    generated_file::GeneratedFile,
    grafana,
    metrics::emitted,
    page, queries,
    template::{self, NoBlock},
};

/// The data set that the repository's `template.yaml` deploys; for another one the template is rendered again.
const COMMITTED: &str = "us_accidents";

/// Why nothing can be generated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("{file}{source}")]
    Department { file: String, source: NotADepartment },
    /// Metrics could not distinguish two severities of a data set.
    #[error(
        "datasets/{dataset}.toml: `severities`: expected texts that differ in their ASCII letters, under which metrics count \
         them, found `{one}` and `{other}`"
    )]
    SameDimension { dataset: String, one: String, other: String },
    #[error(transparent)]
    NoVariable(#[from] NoVariable),
    #[error(transparent)]
    NoBlock(#[from] NoBlock),
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
}

pub(crate) fn with_path(path: &Path) -> impl FnOnce(io::Error) -> RenderError {
    let path = path.display().to_string();
    move |source| RenderError::File { path, source }
}

/// All generated files, for all data sets.
pub(crate) fn generate(root: &Path) -> Result<Vec<GeneratedFile>, RenderError> {
    let template = template(COMMITTED, None, root)?;
    let mut files = Vec::new();
    for name in Dataset::names() {
        let dataset = Dataset::named(name)?;
        check_dimensions(&dataset)?;
        let folder = Path::new("datasets").join(name);
        files.push(GeneratedFile::new(folder.join("README.md"), page::render(&dataset)));
        files.push(GeneratedFile::new(folder.join("grafana.json"), grafana::render(&dataset)));
        let rules = rules::render(&dataset, &template, &[])?;
        files.push(GeneratedFile::new(folder.join("grafana-alerts.json"), rules));
        let general = queries::general(&dataset);
        files.extend(
            general.map(|(name, text)| GeneratedFile::new(folder.join(format!("queries/{name}.sql")), text)),
        );
    }
    files.push(GeneratedFile::new("template.yaml", template));
    Ok(files)
}

/// The alert rules of Grafana for the data set of that name, with these values of variables instead of the defaults.
pub(crate) fn alert_rules(
    name: &str,
    given: &[(String, String)],
    root: &Path,
) -> Result<String, RenderError> {
    let path = root.join("template.yaml");
    let template = fs::read_to_string(&path).map_err(with_path(&path))?;
    Ok(rules::render(&Dataset::named(name)?, &template, given)?)
}

/// The template for the data set of that name, with the departments of the project or of another file.
pub(crate) fn template(name: &str, departments: Option<&Path>, root: &Path) -> Result<String, RenderError> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(with_path(&path));
    let dataset = &Dataset::named(name)?;
    check_dimensions(dataset)?;
    let folder = root.join("datasets").join(name).join("queries");
    let queries = &queries::all(dataset, &folder).map_err(with_path(&folder))?;
    let path = departments.map_or_else(|| root.join("departments.toml"), Path::to_owned);
    let file = departments.map_or_else(|| "departments.toml".to_owned(), |path| path.display().to_string());
    let departments = &departments::read(&read(path)?, &Attributes::of(dataset))
        .map_err(|source| RenderError::Department { file, source })?;
    let source = template::TemplateSource { dataset, queries, departments };
    Ok(template::render(&source, &read(root.join("template.yaml"))?)?)
}

/// Whether metrics can distinguish the severities: CloudWatch accepts only ASCII.
fn check_dimensions(dataset: &Dataset) -> Result<(), RenderError> {
    let mut texts = HashMap::new();
    for Level { text, .. } in dataset.severities.levels() {
        if let Some(one) = texts.insert(dimension(text), text) {
            return Err(RenderError::SameDimension {
                dataset: dataset.name.clone(),
                one: one.clone(),
                other: text.clone(),
            });
        }
    }
    Ok(())
}

/// The metrics that are emitted for a data set, each with its dimensions, as JSON.
pub(crate) fn metrics(name: &str) -> Result<String, RenderError> {
    Ok(format!("{:#}\n", emitted(&Dataset::named(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for file in generate(&root).unwrap() {
            let difference = file.difference(&root).unwrap();
            assert!(difference.is_none(), "{}", difference.unwrap());
        }
    }

    #[test]
    fn data_set_is_complete_in_its_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let files = generate(&root).unwrap();
        for file in files.iter().filter(|file| file.path != Path::new("template.yaml")) {
            let is_in_folder =
                Dataset::names().any(|name| file.path.starts_with(Path::new("datasets").join(name)));
            assert!(is_in_folder, "{}", file.path.display());
        }
        let template = super::template(COMMITTED, None, &root).unwrap();
        assert!(Dataset::names().filter(|name| *name != COMMITTED).all(|name| !template.contains(name)));
    }

    #[test]
    fn example_of_the_guide_is_a_valid_data_set() {
        let guide = include_str!("../../../docs/DATA.md");
        let example = guide.split("```toml").nth(1).unwrap().split("```").next().unwrap();
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

    /// The support tickets with other severities.
    pub(crate) fn tickets(severities: &str, kind: &str) -> Dataset {
        let text = include_str!("../../../datasets/support_tickets/dataset.toml");
        let column = "column = \"priority\"\ntype = ";
        let text = text
            .replacen(
                "severities = [1, 2, 3, 4]",
                &format!("blanks = [\"NA\"]\nseverities = {severities}"),
                1,
            )
            .replacen(&format!("{column}\"int\""), &format!("{column}\"{kind}\""), 1);
        Dataset::parse("support_tickets", &text).unwrap()
    }

    pub(crate) const WORDS: &str = r#"["Low", "Medium", "High", "Critic's"]"#;

    #[test]
    fn severities_that_metrics_cannot_distinguish_are_refused() {
        assert!(check_dimensions(&tickets(WORDS, "string")).is_ok());
        let error = check_dimensions(&tickets(r#"["H\u00f4", "Ho"]"#, "string")).unwrap_err().to_string();
        assert!(error.contains("found `H\u{f4}` and `Ho`"), "{error}");
    }

    #[test]
    fn page_shows_the_levels_of_words_and_what_thresholds_mean() {
        let page = page::render(&tickets(WORDS, "string"));
        for expected in [
            "| level | `Priority` | above it |",
            "| 2 | `Medium` | `High`, `Critic's` |",
            "| 4 | `Critic's` | nothing |",
            "`TransformSeverityAbove=2`, the default, passes on `High`, `Critic's`; `NotifySeverityAbove=3`, the default, alerts about `Critic's`.",
            "| says how severe it is, from Low to Critic's | `Priority` |",
            "`severity` (the level of `Priority`), `severity_text` (`Priority`)",
            "is blank: `NA`.",
            "| `Priority` | `priority` | string | string |",
        ] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
        let page = page::render(&tickets("[3, 2, 1]", "int"));
        assert!(page.contains("| 3 | `1` | nothing |") && page.contains("from 3 to 1"), "{page}");
        assert!(!page::render(&Dataset::named("support_tickets").unwrap()).contains("## Severities"));
    }

    #[test]
    fn queries_show_the_level_and_the_text() {
        let query = |dataset: &Dataset, name: &str| {
            queries::general(dataset).find(|(found, _)| *found == name).unwrap().1
        };
        let words = tickets(WORDS, "string");
        let mix = query(&words, "daily_severity_mix");
        for expected in [
            "--  2026-07-14 | 4        | Critic's | 866    | 17.9",
            "case when lower(trim(priority)) in ('low') then 1 when ",
            "when lower(trim(priority)) in ('critic''s') then 4 end as severity,",
            "case severity when 1 then 'Low' when 2 then 'Medium' when 3 then 'High' when 4 then 'Critic''s' end as priority,",
        ] {
            assert!(mix.contains(expected), "{expected} in {mix}");
        }
        let hour = query(&words, "severe_last_hour");
        assert!(
            hour.contains("max_by(priority, coalesce(unlisted_severity, severity)) as worst_priority,"),
            "{hour}"
        );
        assert!(hour.contains("| severe | worst | worst_priority | latest"), "{hour}");
        let mix = query(&tickets("[3, 2, 1]", "int"), "daily_severity_mix");
        assert!(mix.contains("case when priority in (3) then 1 when "), "{mix}");
        assert!(
            mix.contains(
                "when priority > 3 then 3 + 1 - priority when priority < 1 then 1 + 3 - priority end"
            ),
            "{mix}"
        );
        assert!(mix.contains("min(priority) as priority"), "{mix}");
    }

    /// The template of a data set without queries and departments.
    fn rendered(dataset: &Dataset) -> String {
        let source = template::TemplateSource {
            dataset,
            queries: &std::collections::BTreeMap::new(),
            departments: &[],
        };
        template::render(&source, include_str!("../../../template.yaml")).unwrap()
    }

    #[test]
    fn template_has_the_levels_of_words_and_alarms_have_the_word() {
        let dataset = tickets(WORDS, "string");
        let template = rendered(&dataset);
        for expected in [
            "Severity: {Dimension: \"priority_ticket\", Highest: \"Critic's\"}",
            "AllowedValues: [0, 1, 2, 3]",
            "\"2\": {Range: \"3,5\"}",
            "- {Name: priority, Type: string, ",
            "- {Name: severity, Type: bigint, Comment: \"Level of the severity: the higher, the worse.\"}",
        ] {
            assert!(template.contains(expected), "{expected}");
        }
        let dataset = tickets("[3, 2, 1]", "int");
        let template = rendered(&dataset);
        assert!(template.contains("Highest: \"1\"}") && template.contains("\"2\": {Range: \"3,4\"}"));
    }
}
