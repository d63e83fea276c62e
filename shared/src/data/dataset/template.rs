//! Text templates with places for the values of one event or many.

use std::borrow::Cow;

/// A text with places for the values of an event, or of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// The meaning of a place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `{Column}`: the value of the column.
    Column(usize),
    /// `{count}` in a digest: how many events it covers.
    Count,
    /// `{ids}` in a digest: the ids of its first events.
    Ids,
    /// `{by_severity}` in a storm: how many events there are of each severity.
    BySeverity,
    /// `{by_area}` in a storm: how many events there are in the areas with the most of them.
    ByArea,
}

impl Template {
    /// Reads a text. Places of the title are filled at once; `own` are the places other than columns.
    pub(super) fn parse(
        role: &str,
        text: &str,
        title: &str,
        column: &impl Fn(&str, &str) -> Result<usize, String>,
        own: &[(&str, Place)],
    ) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.trim_start_matches('\n');
        while let Some((literal, tail)) = rest.split_once('{') {
            let (place, tail) = tail.split_once('}').ok_or_else(|| {
                format!("`{role}`: expected a `}}` after each `{{`, found the end of the text")
            })?;
            pieces.push(Piece::Text(literal.to_owned()));
            pieces.push(match place {
                "title" => Piece::Text(title.to_owned()),
                name => Piece::Place(match own.iter().find(|(place, _)| *place == name) {
                    Some((_, place)) => *place,
                    None => Place::Column(column(role, name)?),
                }),
            });
            rest = tail;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Whether the text is blank for all values.
    pub(super) fn is_blank(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(text) if text.trim().is_empty()))
    }

    /// Whether the text itself has a line break or another control character.
    pub(super) fn has_control(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains(char::is_control)))
    }

    /// Fills in the places; `value` returns the text of each.
    pub fn fill<'v>(&self, value: impl Fn(Place) -> Cow<'v, str>) -> String {
        self.0.iter().fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Place(place) => text.push_str(&value(*place)),
            }
            text
        })
    }

    /// The columns whose values are in the text.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Place(Place::Column(column)) => Some(*column),
            _ => None,
        })
    }
}

/// The places of a digest in addition to its columns.
pub(super) const DIGEST: [(&str, Place); 2] = [("count", Place::Count), ("ids", Place::Ids)];

/// The places of a digest over several severities or areas, in addition to its columns.
pub(super) const STORM: [(&str, Place); 4] = [
    ("count", Place::Count),
    ("ids", Place::Ids),
    ("by_severity", Place::BySeverity),
    ("by_area", Place::ByArea),
];
