//! What `template.yaml` says of the data set, generated from the data set's file.
//!
//! The template holds blocks between `# <columns raw: …>` and `# </columns raw>`; nothing in them is written by hand.

use shared::dataset::{Column, Dataset, Type};

/// What stands in the first line of every block, behind its name.
const ORIGIN: &str = "generated from the data set by make schema";

/// A block of the template, and how a column is written in it: nothing where it has no line.
struct Block {
    name: &'static str,
    line: fn(&Dataset, &Column) -> Option<String>,
}

const BLOCKS: [Block; 3] = [
    Block { name: "mappings raw", line: |_, column| mapping(column) },
    // The raw layer is faithful: times stay as they stand, since the SerDe would refuse them as timestamps.
    Block {
        name: "columns raw",
        line: |_, column| {
            Some(glue_column(
                column,
                if column.kind == Type::Timestamp { "string" } else { glue_type(column) },
            ))
        },
    },
    // The severity is a key of the partitions, and Glue takes no column twice.
    Block {
        name: "columns analytical",
        line: |dataset, column| {
            (*column != dataset.columns[dataset.severity]).then(|| glue_column(column, glue_type(column)))
        },
    },
];

/// A block is not where it must be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the template lacks the line `{0}`: put it back where the block belongs")]
pub struct NoBlock(String);

/// The template with every block as the data set has it.
pub fn render(dataset: &Dataset, template: &str) -> Result<String, NoBlock> {
    BLOCKS.iter().try_fold(template.to_owned(), |template, block| fill(dataset, &template, block))
}

fn fill(dataset: &Dataset, template: &str, block: &Block) -> Result<String, NoBlock> {
    let (begin, end) = (format!("# <{}: {ORIGIN}>", block.name), format!("# </{}>", block.name));
    let (before, rest) = template.split_once(&begin).ok_or_else(|| NoBlock(begin.clone()))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| NoBlock(end.clone()))?;
    let indent = before.rsplit('\n').next().unwrap_or_default();
    let lines = dataset.columns.iter().filter_map(|column| (block.line)(dataset, column));
    let body: String = lines.flat_map(|line| [indent.to_owned(), line, "\n".to_owned()]).collect();
    Ok(format!("{before}{begin}\n{body}{indent}{end}{after}"))
}

/// The key of the JSON, in lower case as the deserialiser reads it, where it is not the column's own name.
fn mapping(column: &Column) -> Option<String> {
    let key = column.name.to_lowercase();
    (key != column.column).then(|| format!("mapping.{}: {}", column.column, quoted(&key)))
}

fn glue_column(column: &Column, kind: &str) -> String {
    format!("- {{Name: {}, Type: {kind}, Comment: {}}}", column.column, quoted(&column.comment))
}

fn glue_type(column: &Column) -> &'static str {
    match column.kind {
        Type::String => "string",
        // Whole numbers have 64 bits; an int of Glue has 32.
        Type::Int => "bigint",
        Type::Double => "double",
        Type::Boolean => "boolean",
        Type::Timestamp => "timestamp",
    }
}

/// A text in YAML's double quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../template.yaml");

    #[test]
    fn the_template_says_what_the_data_set_says() {
        let dataset = Dataset::named("us_accidents").unwrap();
        let rendered = render(&dataset, TEMPLATE).unwrap();
        for (number, (stands, should)) in TEMPLATE.lines().zip(rendered.lines()).enumerate() {
            assert_eq!(stands, should, "template.yaml:{}: run `make schema`", number + 1);
        }
        assert_eq!(TEMPLATE.lines().count(), rendered.lines().count(), "run `make schema`");
    }

    #[test]
    fn a_block_is_rewritten_whole_and_the_rest_is_left_alone() {
        let dataset = Dataset::named("us_accidents").unwrap();
        let spoilt = TEMPLATE.replacen("{Name: city, Type: string", "{Name: town, Type: string", 1);
        assert_ne!(spoilt, TEMPLATE);
        assert_eq!(render(&dataset, &spoilt), render(&dataset, TEMPLATE));
        let error = render(&dataset, &TEMPLATE.replace("# </columns raw>", "")).unwrap_err().to_string();
        assert_eq!(
            error,
            "the template lacks the line `# </columns raw>`: put it back where the block belongs"
        );
    }
}
