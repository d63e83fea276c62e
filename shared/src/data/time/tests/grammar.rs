//! The whole grammar: what is written in any of its forms is read again, and nothing else is read.

use proptest::{prelude::*, sample::select};

use super::*;

const ORDERS: [DateOrder; 2] = [DateOrder::Mdy, DateOrder::Dmy];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// What a text means: its wall clock, and its offset in minutes, if it has one.
type Meaning = (NaiveDateTime, Option<i32>);

fn read(text: &str, order: DateOrder) -> Option<Meaning> {
    let time = Timestamp::parse(text, order)?;
    let offset = time.offset.map(|offset| match offset {
        Offset::Zulu => 0,
        Offset::Minutes(minutes) => minutes,
    });
    Some((time.local, offset))
}

/// A text in some form of the grammar, what it means, and whether its meaning depends on the declared order.
#[derive(Debug, Clone)]
struct Written {
    text: String,
    day: String,
    meaning: Meaning,
    is_ordered: bool,
}

fn digits(number: u32, is_wide: bool) -> String {
    if is_wide { format!("{number:02}") } else { number.to_string() }
}

fn in_some_case(text: &str, case: usize) -> String {
    match case {
        0 => text.to_lowercase(),
        1 => text.to_uppercase(),
        _ => text[..1].to_uppercase() + &text[1..].to_lowercase(),
    }
}

prop_compose! {
    fn days()(
        year in prop_oneof![3 => 1900_i32..2100, 1 => 1000_i32..10_000, 1 => Just(2016), 1 => Just(2000)],
        of_year in 1_u32..=365,
        form in 0_usize..5,
        mark in select(vec!["-", "/", ".", " ", "  "]),
        wide: [bool; 2],
        full: bool,
        case in 0_usize..3,
        order in select(ORDERS.to_vec()),
    ) -> (NaiveDate, String, DateOrder, bool) {
        let date = NaiveDate::from_yo_opt(year, of_year).unwrap();
        let (month, day) = (digits(date.month(), wide[0]), digits(date.day(), wide[1]));
        let name = MONTHS[date.month0() as usize];
        let name = in_some_case(if full { name } else { &name[..3] }, case);
        let numeric = if mark.trim().is_empty() { "/" } else { mark };
        let text = match form {
            0 => [format!("{year}"), month, day].join(numeric),
            1 if order == DateOrder::Mdy => [month, day, format!("{year}")].join(numeric),
            1 => [day, month, format!("{year}")].join(numeric),
            2 => [format!("{year}"), name, day].join(mark),
            3 => [day, name, format!("{year}")].join(mark),
            _ if full && mark.trim().is_empty() => format!("{name}{mark}{day},{mark}{year}"),
            _ => [name, day, format!("{year}")].join(mark),
        };
        (date, text, order, form == 1 && date.month() != date.day())
    }
}

prop_compose! {
    fn clocks()(
        second_of_day in 0_u32..86_400,
        nanosecond in 0_u32..1_000_000_000,
        has_second: bool,
        fraction in 0_usize..=12,
        mark in select(vec![".", ","]),
        half in select(vec!["", "", "m", "M", ".m.", ".M."]),
        is_wide: bool,
        blank in select(vec!["", " ", "\u{202f}", "\u{a0}", "  "]),
    ) -> (NaiveTime, String) {
        let whole = if has_second { second_of_day } else { second_of_day / 60 * 60 };
        let (hour, minute, second) = (whole / 3_600, whole / 60 % 60, whole % 60);
        let mut text = digits(if half.is_empty() { hour } else { (hour + 11) % 12 + 1 }, is_wide);
        text += &format!(":{minute:02}");
        let mut nanos = 0;
        if has_second {
            text += &format!(":{second:02}");
            if fraction > 0 {
                let all = format!("{nanosecond:09}000");
                text += mark;
                text += &all[..fraction];
                let kept = 10_u32.pow(9 - u32::try_from(fraction.min(9)).unwrap());
                nanos = nanosecond / kept * kept;
            }
        }
        if !half.is_empty() {
            let letter = if hour < 12 { "a" } else { "p" };
            let letter = if half.contains('M') { letter.to_uppercase() } else { letter.to_owned() };
            text += &format!("{blank}{letter}{half}");
        }
        (NaiveTime::from_num_seconds_from_midnight_opt(whole, nanos).unwrap(), text)
    }
}

prop_compose! {
    fn zones()(
        form in 0_usize..8, hour in 0_i32..24, minute in 0_i32..60, is_west: bool, is_spaced: bool, case in 0_usize..2,
    ) -> (Option<i32>, String) {
        let sign = if is_west { '-' } else { '+' };
        let east = |minutes: i32| Some(if is_west { -minutes } else { minutes });
        let blank = if is_spaced { " " } else { "" };
        match form {
            0 => (east(hour * 60), format!("{blank}{sign}{hour:02}")),
            1 => (east(hour * 60 + minute), format!("{blank}{sign}{hour:02}{minute:02}")),
            2 => (east(hour * 60 + minute), format!("{blank}{sign}{hour:02}:{minute:02}")),
            3 => (Some(0), format!("{blank}{}", in_some_case("z", case))),
            4 => (Some(0), format!("{blank}{}", in_some_case("utc", case))),
            5 => (Some(0), format!("{blank}{}", in_some_case("gmt", case))),
            _ => (None, String::new()),
        }
    }
}

prop_compose! {
    /// Any text of the grammar, written in the order that it comes with.
    fn written()(
        (date, day, order, is_ordered) in days(),
        (time, clock) in clocks(),
        (offset, zone) in zones(),
        gap in select(vec!["T", "t", " ", "  ", ", ", "\u{a0}"]),
    ) -> (Written, DateOrder) {
        let text = format!("{day}{gap}{clock}{zone}");
        (Written { text, day, meaning: (date.and_time(time), offset), is_ordered }, order)
    }
}

/// A reader of its own: the text's shape, digits as `9` and names as `M`, is looked for among all shapes that there are.
/// Gives every reading.
fn reference(text: &str, order: DateOrder) -> Vec<Meaning> {
    let mut plain = text.replace(['\u{a0}', '\u{202f}'], " ").to_ascii_lowercase();
    while plain.contains("  ") {
        plain = plain.replace("  ", " ");
    }
    let mut shape = plain.replace(|c: char| c.is_ascii_digit(), "9");
    // Texts of other characters have no shape.
    if !shape.is_ascii() || shape.contains(['M', 'N']) {
        return Vec::new();
    }
    let mut month_named = None;
    for (at, month) in MONTHS.iter().enumerate() {
        for name in [month, &month[..3]] {
            if month_named.is_none() && shape.contains(name) {
                shape = shape.replacen(name, "M", 1);
                plain = plain.replacen(name, "M", 1);
                month_named = u32::try_from(at + 1).ok();
            }
        }
    }
    let mut readings = Vec::new();
    for (day, kind) in day_shapes() {
        let Some(rest) = shape.strip_prefix(&day) else { continue };
        for gap in ["t", " ", ", "] {
            let Some(rest) = rest.strip_prefix(gap) else { continue };
            for clock in clock_shapes() {
                let Some(rest) = rest.strip_prefix(&clock) else { continue };
                let (day_text, rest_text) = plain.split_at(day.len());
                let (clock_text, zone_text) = rest_text[gap.len()..].split_at(clock.len());
                let Some(date) = reference_date(day_text, kind, month_named, order) else { continue };
                let Some(time) = reference_time(clock_text) else { continue };
                let Ok(offset) = reference_offset(rest, zone_text) else { continue };
                readings.push((date.and_time(time), offset));
            }
        }
    }
    readings
}

/// The shapes of a day, with the order of its parts.
fn day_shapes() -> Vec<(String, &'static str)> {
    let mut shapes = Vec::new();
    for one in ["9", "99"] {
        for other in ["9", "99"] {
            for mark in ["-", "/", "."] {
                shapes.push((format!("9999{mark}{one}{mark}{other}"), "ymd"));
                shapes.push((format!("{one}{mark}{other}{mark}9999"), "order"));
            }
        }
        for mark in ["-", "/", ".", " "] {
            shapes.push((format!("9999{mark}M{mark}{one}"), "yMd"));
            shapes.push((format!("{one}{mark}M{mark}9999"), "dMy"));
            shapes.push((format!("M{mark}{one}{mark}9999"), "Mdy"));
        }
        shapes.push((format!("M {one}, 9999"), "Mdy"));
    }
    shapes
}

fn clock_shapes() -> Vec<String> {
    let mut shapes = Vec::new();
    for hour in ["9", "99"] {
        let mut clocks = vec![format!("{hour}:99"), format!("{hour}:99:99")];
        for mark in [".", ","] {
            clocks.extend((1..=15).map(|digits| format!("{hour}:99:99{mark}{}", "9".repeat(digits))));
        }
        for clock in clocks {
            for half in ["", "am", "pm", " am", " pm", "a.m.", "p.m.", " a.m.", " p.m."] {
                shapes.push(format!("{clock}{half}"));
            }
        }
    }
    shapes
}

fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
        .collect()
}

fn reference_date(text: &str, kind: &str, named: Option<u32>, order: DateOrder) -> Option<NaiveDate> {
    let numbers = numbers(text);
    let (year, month, day) = match (kind, &numbers[..], order) {
        ("ymd", [year, month, day], _) => (*year, *month, *day),
        ("order", [month, day, year], DateOrder::Mdy) | ("order", [day, month, year], DateOrder::Dmy) => {
            (*year, *month, *day)
        }
        ("yMd", [year, day], _) | ("dMy" | "Mdy", [day, year], _) => (*year, named?, *day),
        _ => return None,
    };
    NaiveDate::from_ymd_opt(i32::try_from(year).unwrap(), month, day)
}

fn reference_time(text: &str) -> Option<NaiveTime> {
    let (clock, half) = match text.find(['a', 'p']) {
        Some(at) => (text[..at].trim(), &text[at..=at]),
        None => (text, ""),
    };
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    if fraction.len() > 9 && !fraction[9..].trim_matches('0').is_empty() {
        return None;
    }
    let numbers = numbers(clock);
    let hour = match (half, numbers[0]) {
        ("", hour) => hour,
        (_, 0 | 13..) => return None,
        ("a", 12) => 0,
        ("a", hour) | ("p", hour @ 12) => hour,
        (_, hour) => hour + 12,
    };
    let second = numbers.get(2).copied().unwrap_or(0);
    (second < 60).then(|| NaiveTime::from_hms_nano_opt(hour, numbers[1], second, nanos.parse().unwrap()))?
}

/// The offset, if there is one; an error is a text that is none.
fn reference_offset(shape: &str, text: &str) -> Result<Option<i32>, String> {
    if shape.is_empty() {
        return Ok(None);
    }
    let not_one = || format!("{text} is not an offset");
    match shape.strip_prefix(' ').unwrap_or(shape) {
        "z" | "utc" | "gmt" => Ok(Some(0)),
        "+99" | "-99" | "+9999" | "-9999" | "+99:99" | "-99:99" => {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            let hours: i32 = digits[..2].parse().unwrap();
            let minutes: i32 = digits.get(2..4).map_or(0, |minutes| minutes.parse().unwrap());
            let east = hours * 60 + minutes;
            let offset = if shape.contains('-') { -east } else { east };
            (hours < 24 && minutes < 60).then_some(Some(offset)).ok_or_else(not_one)
        }
        _ => Err(not_one()),
    }
}

/// One change of a text.
fn changed(text: &str, at: usize, change: usize, with: char) -> String {
    let mut chars: Vec<_> = text.chars().collect();
    let at = at % chars.len();
    match change {
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, with),
        2 => chars[at] = with,
        3 => chars.insert(at, chars[at]),
        4 => chars.truncate(at),
        _ => {
            let end = chars.len() - 1;
            chars.swap(at, end.min(at + 1));
        }
    }
    chars.into_iter().collect()
}

fn characters() -> impl Strategy<Value = char> {
    select("0123456789-/.:,+ TtZzAaPpMmUuGgJF\u{a0}\u{202f}\u{660}é".chars().collect::<Vec<_>>())
}

/// Texts that are of the grammar, or nearly so.
fn near() -> impl Strategy<Value = String> {
    let free = "[0-9]{1,4}[-/. ](Feb|[0-9]{1,2})[-/. ],?[0-9]{1,4}([T ,]{1,2}[0-9]{1,2}:[0-9]{1,2}(:[0-9]{2}[.,]?[0-9]{0,11})?( ?([AP]M|[ap].?m.?))?( ?(Z|UTC|GMT|[+-][0-9:]{1,5}))?)?";
    let changes = proptest::collection::vec((any::<usize>(), 0_usize..6, characters()), 0..3);
    let written = (written(), changes).prop_map(|((written, _), changes)| {
        changes.into_iter().fold(written.text, |text, (at, change, with)| {
            if text.is_empty() { text } else { changed(&text, at, change, with) }
        })
    });
    prop_oneof![3 => written, 1 => free]
}

fn iso_of(text: &str, order: DateOrder) -> Option<String> {
    super::iso(text, order)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn reading_is_the_inverse_of_writing((written, order) in written()) {
        prop_assert_eq!(read(&written.text, order), Some(written.meaning), "{}", written.text);
        prop_assert_eq!(reference(&written.text, order), vec![written.meaning], "{}", written.text);
        prop_assert_eq!(Timestamp::needs_no_order(&written.text), !written.is_ordered, "{}", written.text);
        // The day by itself, without the time.
        prop_assert_eq!(Date::parse(&written.day, order), Some(Date(written.meaning.0.date())), "{}", written.day);
        prop_assert_eq!(Date::needs_no_order(&written.day), !written.is_ordered, "{}", written.day);
        prop_assert_eq!(explain(&written.day, order), Some(Unreadable::DayOnly), "{}", written.day);
    }

    #[test]
    fn time_on_a_stream_is_read_the_same_in_any_date_order((written, order) in written()) {
        let once = iso_of(&written.text, order).unwrap();
        for order in ORDERS {
            prop_assert_eq!(read(&once, order), Some(written.meaning), "{}", once);
            prop_assert_eq!(iso_of(&once, order), Some(once.clone()));
        }
        prop_assert!(Timestamp::needs_no_order(&once));
        let mut day = Vec::new();
        Date::parse(&written.day, order).unwrap().write_iso(&mut day);
        let day = String::from_utf8(day).unwrap();
        prop_assert_eq!(&day, &written.meaning.0.format("%Y-%m-%d").to_string());
        for order in ORDERS {
            prop_assert_eq!(Date::parse(&day, order), Some(Date(written.meaning.0.date())));
        }
    }

    #[test]
    fn only_the_grammar_is_read_and_each_text_in_one_way(text in near()) {
        let [mdy, dmy] = ORDERS.map(|order| {
            let mut readings = reference(&text, order);
            assert!(readings.len() < 2, "{text}: {readings:?}");
            (read(&text, order), readings.pop())
        });
        prop_assert_eq!(mdy.0, mdy.1, "{}", text);
        prop_assert_eq!(dmy.0, dmy.1, "{}", text);
        prop_assert_eq!(Timestamp::needs_no_order(&text), mdy.0.is_some() && mdy == dmy, "{}", text);
        prop_assert_eq!(explain(&text, DateOrder::Mdy).is_none(), mdy.0.is_some(), "{}", text);
        let is_other = mdy.0.is_none() && dmy.0.is_some();
        prop_assert_eq!(explain(&text, DateOrder::Mdy) == Some(Unreadable::OtherOrder), is_other, "{}", text);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,40}") {
        for order in ORDERS {
            prop_assert_eq!(Timestamp::parse(&text, order).is_none(), explain(&text, order).is_some());
            prop_assert_eq!(Date::parse(&text, order).is_none(), explain_date(&text, order).is_some());
        }
    }
}
