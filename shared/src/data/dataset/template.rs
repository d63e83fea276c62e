//! Text templates with places for the values of one event or many.

use std::borrow::Cow;

/// A text with places for the values of an event, or of many.
///
/// Text about a detail that an event does not have is left out. A part in square brackets needs the values of all its
/// details. A line of a longer text needs that of at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Line>);

/// A line with its line break.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    pieces: Vec<Piece>,
    /// Whether it is left out if it has details and none of them has a value.
    can_be_left_out: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
    /// A part in square brackets with a detail.
    Part(Vec<Piece>),
}

/// The meaning of a place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `{Column}`: the value of a column of the projection.
    Column(usize),
    /// `{Column}`: the value of a detail, if there is one.
    Detail(usize),
    /// `{map}`: a link to the event's place on a map, if the place is known.
    Map,
    /// `{count}` in a digest: how many events it covers.
    Count,
    /// `{ids}` in a digest: the ids of its first events.
    Ids,
    /// `{by_severity}` in a storm: how many events there are of each severity.
    BySeverity,
    /// `{by_area}` in a storm: how many events there are in the areas with the most of them.
    ByArea,
}

/// The text of a template in which one or more lines are for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TemplateForm {
    /// A subject or a text message.
    Short,
    /// A text of lines, some of which can be left out.
    Lines,
}

/// What the places of a text may name.
pub(super) struct TemplateNames<'n, C> {
    /// The title, which is filled in at once.
    pub(super) title: &'n str,
    /// The position of a column by its name.
    pub(super) column: &'n C,
    /// The details among the columns.
    pub(super) details: &'n [usize],
    /// The places other than columns.
    pub(super) own: &'n [(&'static str, Place)],
}

impl<C: Fn(&str, &str) -> Result<usize, String>> TemplateNames<'_, C> {
    /// The pieces of a line. `role` is the text's name in errors.
    fn pieces(&self, role: &str, line: &str) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let mut rest = line;
        while let Some(at) = rest.find(['{', '[']) {
            pieces.push(Piece::Text(rest[..at].to_owned()));
            let inner = &rest[at + 1..];
            if rest[at..].starts_with('{') {
                let (name, tail) = inner.split_once('}').ok_or_else(|| {
                    format!("`{role}`: expected a `}}` after each `{{`, found the end of the text")
                })?;
                pieces.push(self.place(role, name)?);
                rest = tail;
            } else if let Some(end) = end_of_part(inner) {
                let part = self.pieces(role, &inner[..end])?;
                if details(&part).next().is_some() {
                    pieces.push(Piece::Part(part));
                } else {
                    pieces.push(Piece::Text("[".to_owned()));
                    pieces.extend(part);
                    pieces.push(Piece::Text("]".to_owned()));
                }
                rest = &inner[end + 1..];
            } else {
                pieces.push(Piece::Text("[".to_owned()));
                rest = inner;
            }
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(pieces)
    }

    fn place(&self, role: &str, name: &str) -> Result<Piece, String> {
        if name == "title" {
            return Ok(Piece::Text(self.title.to_owned()));
        }
        if let Some((_, place)) = self.own.iter().find(|(own, _)| *own == name) {
            return Ok(Piece::Place(*place));
        }
        let column = (self.column)(role, name)?;
        let is_detail = self.details.contains(&column);
        Ok(Piece::Place(if is_detail { Place::Detail(column) } else { Place::Column(column) }))
    }
}

impl Place {
    /// Whether an event may have no value for it.
    fn can_be_blank(self) -> bool {
        matches!(self, Self::Detail(_) | Self::Map)
    }
}

/// Where a part ends whose opening bracket is before the text: at its closing bracket, outside of places.
fn end_of_part(text: &str) -> Option<usize> {
    let (mut in_place, mut open) = (false, 1);
    text.char_indices().find_map(|(at, c)| {
        in_place = c == '{' || in_place && c != '}';
        match c {
            '[' if !in_place => open += 1,
            ']' if !in_place => open -= 1,
            _ => {}
        }
        (open == 0).then_some(at)
    })
}

/// The places of these pieces, but not of their parts, for which an event may have no value.
fn details(pieces: &[Piece]) -> impl Iterator<Item = Place> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Place(place) if place.can_be_blank() => Some(*place),
        _ => None,
    })
}

/// All places of these pieces.
fn places(pieces: &[Piece]) -> Vec<Place> {
    let of_each = pieces.iter().map(|piece| match piece {
        Piece::Text(_) => Vec::new(),
        Piece::Place(place) => vec![*place],
        Piece::Part(part) => places(part),
    });
    of_each.flatten().collect()
}

impl Template {
    /// Reads a text. `role` is its name in errors.
    pub(super) fn parse<C: Fn(&str, &str) -> Result<usize, String>>(
        role: &str,
        text: &str,
        form: TemplateForm,
        names: &TemplateNames<'_, C>,
    ) -> Result<Self, String> {
        let line = |line: &str| {
            let pieces = names.pieces(role, line)?;
            let can_be_left_out = form == TemplateForm::Lines && details(&pieces).next().is_some();
            Ok(Line { pieces, can_be_left_out })
        };
        Ok(Self(
            text.trim_start_matches('\n').split_inclusive('\n').map(line).collect::<Result<_, String>>()?,
        ))
    }

    /// Whether the text can be blank.
    pub(super) fn can_be_blank(&self) -> bool {
        let is_blank = |piece: &Piece| match piece {
            Piece::Text(text) => text.trim().is_empty(),
            Piece::Place(_) => false,
            Piece::Part(_) => true,
        };
        self.0.iter().filter(|line| !line.can_be_left_out).flat_map(|line| &line.pieces).all(is_blank)
    }

    /// Whether the text itself has a line break or another control character.
    pub(super) fn has_control(&self) -> bool {
        fn has_control(pieces: &[Piece]) -> bool {
            pieces.iter().any(|piece| match piece {
                Piece::Text(text) => text.contains(char::is_control),
                Piece::Place(_) => false,
                Piece::Part(part) => has_control(part),
            })
        }
        self.0.iter().any(|line| has_control(&line.pieces))
    }

    /// Fills in the places; `value` returns the text of each, and `unknown` is written where a detail without a value
    /// cannot be left out.
    pub fn fill<'v>(&self, unknown: &str, value: impl Fn(Place) -> Option<Cow<'v, str>>) -> String {
        let has_value = |place: Place| value(place).is_some();
        let mut text = String::new();
        // Whether the lines since the last one that was not blank are left out. Then one blank line is enough.
        let mut left_out = false;
        for line in &self.0 {
            if line.can_be_left_out && !details(&line.pieces).any(has_value) {
                left_out = true;
                continue;
            }
            let begin = text.len();
            write(&line.pieces, unknown, &value, &mut text);
            let is_blank = text[begin..].trim().is_empty();
            if is_blank && left_out && (begin == 0 || text[..begin].ends_with("\n\n")) {
                text.truncate(begin);
            }
            left_out &= is_blank;
        }
        if left_out && text.ends_with("\n\n") {
            text.pop();
        }
        text
    }

    /// The columns whose values are in the text.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.places().filter_map(|place| match place {
            Place::Column(column) | Place::Detail(column) => Some(column),
            _ => None,
        })
    }

    /// Whether the text has a link to a map.
    pub(super) fn has_map(&self) -> bool {
        self.places().any(|place| place == Place::Map)
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.0.iter().flat_map(|line| places(&line.pieces))
    }
}

fn write<'v>(
    pieces: &[Piece],
    unknown: &str,
    value: &impl Fn(Place) -> Option<Cow<'v, str>>,
    text: &mut String,
) {
    for piece in pieces {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Place(place) => text.push_str(value(*place).as_deref().unwrap_or(unknown)),
            Piece::Part(part) if details(part).all(|place| value(place).is_some()) => {
                write(part, unknown, value, text);
            }
            Piece::Part(_) => {}
        }
    }
}

/// The places of a text about one event of a data set with a location, in addition to its columns.
pub(super) const LOCATED: [(&str, Place); 1] = [("map", Place::Map)];

/// The places of a digest in addition to its columns.
pub(super) const DIGEST: [(&str, Place); 2] = [("count", Place::Count), ("ids", Place::Ids)];

/// The places of a digest over several severities or areas, in addition to its columns.
pub(super) const STORM: [(&str, Place); 4] = [
    ("count", Place::Count),
    ("ids", Place::Ids),
    ("by_severity", Place::BySeverity),
    ("by_area", Place::ByArea),
];
