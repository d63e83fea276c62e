//! The separator of the cells of a CSV: declared by a first line such as `sep=;`, or inferred from the header.
//!
//! A header shows the separator by naming the id and the severity. The comma is used if the header names them with
//! commas, with several of the other separators, or with none.

use shared::data::dataset::Dataset;

use super::{
    Cells,
    cells::has_no_text,
    csv,
    header::has_required_columns,
    span::{RowKind, RowSpan, Scan, TextEnd},
};
use crate::charset::Charset;

/// The separator unless another is declared or inferred.
pub(super) const COMMA: u8 = b',';
/// The separators that are inferred from a header, in addition to the comma.
const OTHERS: [u8; 3] = [b';', b'\t', b'|'];
/// The beginning of a first line that declares a separator, as in Excel.
const DECLARATION: &[u8] = b"sep=";

/// How far the first row was scanned with each of the other separators.
#[derive(Debug, Default)]
pub(super) struct Search([csv::Scanned; OTHERS.len()]);

/// How the other separators split the first row.
pub(super) enum FirstRow {
    /// More text is needed to decide.
    More,
    /// A row without text, with one of them.
    Blank(u8, RowSpan),
    /// A header, with exactly one of them.
    Header(u8, RowSpan),
    /// In no way that makes sense: the comma is used.
    Nothing,
}

impl Search {
    /// Finds the separator of the header at the start of `text`, which is not a header with commas.
    pub(super) fn find(
        &mut self,
        dataset: &Dataset,
        text: &[u8],
        charset: Charset,
        (bound, end): (usize, TextEnd),
        cells: &mut Cells,
    ) -> FirstRow {
        let mut found = FirstRow::Nothing;
        let mut headers = 0;
        for (separator, scanned) in OTHERS.into_iter().zip(&mut self.0) {
            let span = match csv::scan(text, scanned, bound, end, separator) {
                Scan::More => return FirstRow::More,
                Scan::TooLong(_) => continue,
                Scan::Row(span) => span,
            };
            let row = &text[..span.end];
            if has_no_text(row, &span.kind, separator, cells) {
                return FirstRow::Blank(separator, span);
            }
            if is_header(dataset, row, &span.kind, (charset, separator), cells) {
                headers += 1;
                found = FirstRow::Header(separator, span);
            }
        }
        if headers == 1 { found } else { FirstRow::Nothing }
    }
}

/// Whether a row names the columns that a header must name.
pub(super) fn is_header(
    dataset: &Dataset,
    row: &[u8],
    kind: &RowKind,
    (charset, separator): (Charset, u8),
    cells: &mut Cells,
) -> bool {
    if matches!(kind, RowKind::Broken(..)) {
        return false;
    }
    cells.read(&charset.decode(row).0, matches!(kind, RowKind::Quoted), separator);
    has_required_columns(dataset, cells)
}

/// The separator that a row declares, if any.
pub(super) fn declared(row: &[u8], kind: &RowKind) -> Option<u8> {
    if matches!(kind, RowKind::Broken(..)) { None } else { declared_by_line(row) }
}

fn declared_by_line(line: &[u8]) -> Option<u8> {
    let quoted = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\""));
    let (begin, separator) = quoted.unwrap_or(line).split_at_checked(DECLARATION.len())?;
    match separator {
        [separator] if begin.eq_ignore_ascii_case(DECLARATION) && can_separate(*separator) => {
            Some(*separator)
        }
        _ => None,
    }
}

fn can_separate(byte: u8) -> bool {
    byte == b'\t' || byte.is_ascii_punctuation() && byte != b'"'
}

/// The text of a header that shows its separator wherever it is read: the line itself, or the line after one that
/// declares the separator.
pub(super) fn with_declaration(dataset: &Dataset, line: &str, separator: u8, cells: &mut Cells) -> String {
    if shown(dataset, line, cells) == Some(separator) {
        return line.to_owned();
    }
    format!("sep={}\n{line}", char::from(separator))
}

/// The declared separator of a stored header, and its line.
pub(super) fn without_declaration(header: &str) -> (Option<u8>, &str) {
    let declaration = header.split_once('\n').and_then(|(first, line)| {
        let separator = declared_by_line(first.as_bytes())?;
        Some((Some(separator), line))
    });
    declaration.unwrap_or((None, header))
}

/// The separator that is inferred from a header regardless of what follows; `None` if that depends on what follows.
fn shown(dataset: &Dataset, line: &str, cells: &mut Cells) -> Option<u8> {
    let line = [line.as_bytes(), b"\n"].concat();
    let bound = line.len();
    match csv::scan(&line, &mut csv::Scanned::default(), bound, TextEnd::MoreMayFollow, COMMA) {
        Scan::Row(span)
            if is_header(dataset, &line[..span.end], &span.kind, (Charset::default(), COMMA), cells) =>
        {
            return Some(COMMA);
        }
        Scan::Row(_) | Scan::TooLong(_) => {}
        Scan::More => return None,
    }
    match Search::default().find(dataset, &line, Charset::default(), (bound, TextEnd::MoreMayFollow), cells) {
        FirstRow::Header(separator, _) => Some(separator),
        FirstRow::Blank(..) | FirstRow::Nothing => Some(COMMA),
        FirstRow::More => None,
    }
}

/// The names in a stored header, for each separator that it may have, the most names first.
pub(super) fn names(header: &str, declared: Option<u8>) -> Vec<Vec<String>> {
    let (_, line) = without_declaration(header);
    let mut cells = Cells::default();
    let mut names = |separator| {
        cells.read(line, line.contains('"'), separator);
        (0..cells.len()).map(|position| cells.get(position).trim().to_owned()).collect::<Vec<_>>()
    };
    let mut found: Vec<_> = match declared {
        Some(separator) => vec![names(separator)],
        None => std::iter::once(COMMA).chain(OTHERS).map(names).collect(),
    };
    // Stable, so that the comma is first if there are as many.
    found.sort_by_key(|names| std::cmp::Reverse(names.iter().filter(|name| !name.is_empty()).count()));
    found
}

/// The plural name of a separator.
pub(super) fn name(separator: u8) -> String {
    match separator {
        COMMA => "commas".to_owned(),
        b';' => "semicolons".to_owned(),
        b'\t' => "tabs".to_owned(),
        b'|' => "vertical bars".to_owned(),
        other => format!("`{}`", char::from(other)),
    }
}
