//! The grammar of times: the numbers in a text, before the calendar and the clock decide whether they exist.

use chrono::{NaiveDate, NaiveTime};

use super::{DateOrder, Offset};

/// Months as files abbreviate them, and the rest of their full names.
const MONTHS: [(&[u8], &[u8]); 12] = [
    (b"jan", b"uary"),
    (b"feb", b"ruary"),
    (b"mar", b"ch"),
    (b"apr", b"il"),
    (b"may", b""),
    (b"jun", b"e"),
    (b"jul", b"y"),
    (b"aug", b"ust"),
    (b"sep", b"tember"),
    (b"oct", b"ober"),
    (b"nov", b"ember"),
    (b"dec", b"ember"),
];

/// A day, with the time of day if the text names one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub day: Day,
    pub clock: Option<Clock>,
}

/// A day as a text names it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Day {
    /// The year comes first, or the month is a name, so no order is needed.
    Plain { year: Year, month: u32, day: u32 },
    /// Two numbers before the year: the declared order says which is the month.
    Ordered { first: u32, second: u32, year: Year },
}

/// A year as a text names it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Year {
    /// Four digits.
    Full(u32),
    /// Two digits: the text does not name the century.
    Short,
}

/// A time of day, and the offset from UTC if the text names one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    pub end: ClockEnd,
}

/// The text after the seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockEnd {
    nanosecond: u32,
    half: Option<Half>,
    pub offset: Option<Offset>,
}

/// A half of the day on a 12-hour clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    /// Before noon.
    Am,
    /// After noon.
    Pm,
}

impl Form {
    /// Reads a text that is trimmed.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some(usual) = Self::usual(text.as_bytes()) {
            return Some(usual);
        }
        let mut rest = Rest(text.as_bytes());
        let day = rest.day()?;
        if rest.0.is_empty() {
            return Some(Self { day, clock: None });
        }
        rest.gap()?;
        Some(Self { day, clock: Some(rest.clock()?) })
    }

    /// Reads the form of most files and all events: `2016-02-08 00:37:08`, with any text that can follow the seconds.
    /// The grammar reads it too, but byte by byte: then ingest takes 6 % more instructions.
    fn usual(text: &[u8]) -> Option<Self> {
        let (head, tail) = text.split_first_chunk::<19>()?;
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b' ', h1, h2, b':', n1, n2, b':', s1, s2] =
            head
        else {
            return None;
        };
        let year = Year::Full(two(y1, y2)? * 100 + two(y3, y4)?);
        let day = Day::Plain { year, month: two(m1, m2)?, day: two(d1, d2)? };
        let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
        let clock = Clock { hour, minute, second, end: Rest(tail).end(true)? };
        Some(Self { day, clock: Some(clock) })
    }
}

impl Day {
    pub(super) fn date(self, order: DateOrder) -> Option<NaiveDate> {
        let (year, month, day) = match (self, order) {
            (Self::Plain { year, month, day }, _) => (year, month, day),
            (Self::Ordered { first, second, year }, DateOrder::Mdy) => (year, first, second),
            (Self::Ordered { first, second, year }, DateOrder::Dmy) => (year, second, first),
        };
        let Year::Full(year) = year else { return None };
        NaiveDate::from_ymd_opt(year.try_into().ok()?, month, day)
    }

    /// Whether the year has two digits.
    pub(super) fn lacks_century(self) -> bool {
        let (Self::Plain { year, .. } | Self::Ordered { year, .. }) = self;
        matches!(year, Year::Short)
    }
}

impl Clock {
    pub(super) fn time(self) -> Option<NaiveTime> {
        let hour = match (self.end.half, self.hour) {
            (None, hour) => hour,
            // On a 12-hour clock, one follows twelve.
            (Some(half), hour @ 1..=12) => hour % 12 + if half == Half::Pm { 12 } else { 0 },
            (Some(_), _) => return None,
        };
        NaiveTime::from_hms_nano_opt(hour, self.minute, self.second, self.end.nanosecond)
    }
}

/// A part of a day.
#[derive(Clone, Copy)]
enum DayPart {
    /// A number with its digits.
    Number(u32, usize),
    /// The name of a month.
    Month(u32),
}

/// The separator between the parts of a day.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    Mark(u8),
    /// One or more, which only a day with the name of a month has.
    Blanks,
}

/// The bytes of a text that are not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// `2016-02-08`, `2/8/2016`, `13.08.2016`, `8 Feb 2016`, `Feb 8, 2016`: three parts with one separator.
    fn day(&mut self) -> Option<Day> {
        let first = self.part()?;
        let separator = self.separator()?;
        let second = self.part()?;
        if matches!(first, DayPart::Month(_)) && separator == Separator::Blanks {
            self.skip(b',');
        }
        if self.separator()? != separator {
            return None;
        }
        let third = self.part()?;
        match (first, second, third) {
            (DayPart::Number(year, 4), DayPart::Number(month, 1 | 2), DayPart::Number(day, 1 | 2))
                if separator != Separator::Blanks =>
            {
                Some(Day::Plain { year: Year::Full(year), month, day })
            }
            (DayPart::Number(first, 1 | 2), DayPart::Number(second, 1 | 2), year)
                if separator != Separator::Blanks =>
            {
                Some(Day::Ordered { first, second, year: year.year()? })
            }
            (DayPart::Number(year, 4), DayPart::Month(month), DayPart::Number(day, 1 | 2)) => {
                Some(Day::Plain { year: Year::Full(year), month, day })
            }
            (DayPart::Number(day, 1 | 2), DayPart::Month(month), year)
            | (DayPart::Month(month), DayPart::Number(day, 1 | 2), year) => {
                Some(Day::Plain { year: year.year()?, month, day })
            }
            _ => None,
        }
    }

    fn part(&mut self) -> Option<DayPart> {
        if self.0.first()?.is_ascii_digit() {
            let (number, digits) = self.number(4)?;
            return Some(DayPart::Number(number, digits));
        }
        self.month().map(DayPart::Month)
    }

    fn month(&mut self) -> Option<u32> {
        let end = self.0.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        let (begin, end) = name.split_at_checked(3)?;
        let at = MONTHS.iter().position(|(month, _)| begin.eq_ignore_ascii_case(month))?;
        if !end.is_empty() && !end.eq_ignore_ascii_case(MONTHS[at].1) {
            return None;
        }
        self.0 = rest;
        u32::try_from(at + 1).ok()
    }

    fn separator(&mut self) -> Option<Separator> {
        if let [mark @ (b'-' | b'/' | b'.'), rest @ ..] = self.0 {
            self.0 = rest;
            return Some(Separator::Mark(*mark));
        }
        self.blanks().then_some(Separator::Blanks)
    }

    /// Between day and time: `T`, or blanks, with a comma before them as browsers write it.
    fn gap(&mut self) -> Option<()> {
        if let [b'T' | b't', rest @ ..] = self.0 {
            self.0 = rest;
            return Some(());
        }
        self.skip(b',');
        self.blanks().then_some(())
    }

    /// `0:37`, `00:37:08.5`, `2:41 PM`, `00:37:08+01:00`.
    fn clock(&mut self) -> Option<Clock> {
        let (hour, _) = self.number(2)?;
        if !self.skip(b':') {
            return None;
        }
        let minute = self.two()?;
        let has_second = self.skip(b':');
        let second = if has_second { self.two()? } else { 0 };
        Some(Clock { hour, minute, second, end: self.end(has_second)? })
    }

    /// Everything that follows the last number of a clock, up to the end.
    fn end(&mut self, has_second: bool) -> Option<ClockEnd> {
        let nanosecond = match self.0 {
            [b'.' | b',', digits @ ..] if has_second => {
                self.0 = digits;
                self.fraction()?
            }
            _ => 0,
        };
        let mut spaced = self.blanks();
        let half = self.half();
        if half.is_some() {
            spaced = self.blanks();
        }
        let offset = if self.0.is_empty() && !spaced { None } else { Some(self.offset()?) };
        Some(ClockEnd { nanosecond, half, offset })
    }

    /// The nanoseconds in the digits after a mark. Digits after the ninth must be zeros, so that none is lost.
    fn fraction(&mut self) -> Option<u32> {
        let (mut nanosecond, mut digits) = (0, 0);
        while let [digit @ b'0'..=b'9', rest @ ..] = self.0 {
            if digits < 9 {
                nanosecond = nanosecond * 10 + u32::from(digit - b'0');
                digits += 1;
            } else if *digit != b'0' {
                return None;
            }
            self.0 = rest;
        }
        (digits > 0).then(|| nanosecond * 10_u32.pow(9 - digits))
    }

    /// `AM`, `pm`, `a.m.`.
    fn half(&mut self) -> Option<Half> {
        let ([half, b'M' | b'm', rest @ ..] | [half, b'.', b'M' | b'm', b'.', rest @ ..]) = self.0 else {
            return None;
        };
        let half = match half {
            b'A' | b'a' => Half::Am,
            b'P' | b'p' => Half::Pm,
            _ => return None,
        };
        self.0 = rest;
        Some(half)
    }

    /// `Z`, `UTC`, `GMT`, `+01`, `+0100`, `+01:00`, which end the text. A name with a number after it, such as
    /// `GMT+1`, is not read: it means east to some and west to others.
    fn offset(&mut self) -> Option<Offset> {
        let (sign, hours, minutes) = match self.0 {
            [b'Z' | b'z'] => return Some(Offset::Zulu),
            name if name.eq_ignore_ascii_case(b"UTC") || name.eq_ignore_ascii_case(b"GMT") => {
                return Some(Offset::Zulu);
            }
            [sign @ (b'+' | b'-'), h1, h2] => (sign, two(*h1, *h2)?, 0),
            [sign @ (b'+' | b'-'), h1, h2, m1, m2] | [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                (sign, two(*h1, *h2)?, two(*m1, *m2)?)
            }
            _ => return None,
        };
        if hours > 23 || minutes > 59 {
            return None;
        }
        let east = i32::try_from(hours * 60 + minutes).ok()?;
        Some(Offset::Minutes(if *sign == b'-' { -east } else { east }))
    }

    /// The number in one to `most` digits, and how many digits it has.
    fn number(&mut self, most: usize) -> Option<(u32, usize)> {
        let (mut number, mut digits) = (0, 0);
        while let [digit @ b'0'..=b'9', rest @ ..] = self.0
            && digits < most
        {
            number = number * 10 + u32::from(digit - b'0');
            digits += 1;
            self.0 = rest;
        }
        (digits > 0).then_some((number, digits))
    }

    fn two(&mut self) -> Option<u32> {
        let [tens, units, rest @ ..] = self.0 else { return None };
        self.0 = rest;
        two(*tens, *units)
    }

    fn skip(&mut self, byte: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Skips blanks; returns whether there are any. Browsers write a narrow non-breaking one before `AM`.
    fn blanks(&mut self) -> bool {
        let before = self.0.len();
        while let [b' ', rest @ ..] | [0xC2, 0xA0, rest @ ..] | [0xE2, 0x80, 0xAF, rest @ ..] = self.0 {
            self.0 = rest;
        }
        self.0.len() < before
    }
}

impl DayPart {
    fn year(self) -> Option<Year> {
        match self {
            Self::Number(year, 4) => Some(Year::Full(year)),
            Self::Number(_, 2) => Some(Year::Short),
            Self::Number(..) | Self::Month(_) => None,
        }
    }
}

/// A number of two ASCII digits.
fn two(tens: u8, units: u8) -> Option<u32> {
    let (tens, units) = (tens.wrapping_sub(b'0'), units.wrapping_sub(b'0'));
    (tens <= 9 && units <= 9).then(|| u32::from(tens) * 10 + u32::from(units))
}
