mod grammar;

use super::*;

fn iso(text: &str, order: DateOrder) -> Option<String> {
    let time = Timestamp::parse(text, order)?;
    let mut iso = Vec::new();
    time.write_iso(&mut iso);
    Some(String::from_utf8(iso).unwrap())
}

#[test]
fn every_accepted_form_becomes_iso_8601() {
    let cases = [
        ("2016-02-08 00:37:08", "2016-02-08T00:37:08"),
        ("2016-02-08T00:37:08", "2016-02-08T00:37:08"),
        ("2022-12-03 23:37:14.000000000", "2022-12-03T23:37:14"),
        ("2022-12-03 23:37:14.000000", "2022-12-03T23:37:14"),
        ("2022-12-03 23:37:14.450051000", "2022-12-03T23:37:14.450051"),
        ("2022-12-03 23:37:14.000000001", "2022-12-03T23:37:14.000000001"),
        ("2022-12-24T04:53:57.450051Z", "2022-12-24T04:53:57.450051Z"),
        ("2022-12-24T04:53:57+00:00", "2022-12-24T04:53:57+00:00"),
        ("2022-12-24T04:53:57-0530", "2022-12-24T04:53:57-05:30"),
        ("2024-02-29 23:59:59", "2024-02-29T23:59:59"),
        ("2/8/2016 0:37", "2016-02-08T00:37:00"),
        ("02-08-2016 00:37", "2016-02-08T00:37:00"),
        ("02/08/2016 00:37:09", "2016-02-08T00:37:09"),
        ("1-10-2016 0:37", "2016-01-10T00:37:00"),
        ("12-8-2016 0:37", "2016-12-08T00:37:00"),
        ("2-08-2016 00:37", "2016-02-08T00:37:00"),
        ("2.8.2016 0:37", "2016-02-08T00:37:00"),
        ("2016-02-08 00:37", "2016-02-08T00:37:00"),
        ("2016-02-08T00:37", "2016-02-08T00:37:00"),
        ("2016-02-08t00:37:00z", "2016-02-08T00:37:00Z"),
        ("2016-2-8 0:37", "2016-02-08T00:37:00"),
        ("2022/2/23 9:05", "2022-02-23T09:05:00"),
        ("2022.02.23 09:05:07", "2022-02-23T09:05:07"),
        ("2/8/2016 0:37:08.000", "2016-02-08T00:37:08"),
        ("2/8/2016 0:37:08,25", "2016-02-08T00:37:08.25"),
        ("2016-02-08 00:37:08.1234567890", "2016-02-08T00:37:08.123456789"),
        ("04/12/2015 02:41:17 PM", "2015-04-12T14:41:17"),
        ("04/12/2015 02:41:17AM", "2015-04-12T02:41:17"),
        ("4/12/2015 2:41PM", "2015-04-12T14:41:00"),
        ("4/12/2015 2:41 p.m.", "2015-04-12T14:41:00"),
        ("4/12/2015 12:00:00 AM", "2015-04-12T00:00:00"),
        ("4/12/2015 12:30 pm", "2015-04-12T12:30:00"),
        ("2015-04-12 11:59:59.5 PM", "2015-04-12T23:59:59.5"),
        ("4/12/2015, 2:41:17\u{202f}PM", "2015-04-12T14:41:17"),
        ("4/12/2015  2:41:17 PM", "2015-04-12T14:41:17"),
        ("2016-02-08 00:37:00+00", "2016-02-08T00:37:00+00:00"),
        ("2016-02-08 00:37:00 -0530", "2016-02-08T00:37:00-05:30"),
        ("2016-02-08 00:37:00 UTC", "2016-02-08T00:37:00Z"),
        ("2016-02-08 00:37:00.5 gmt", "2016-02-08T00:37:00.5Z"),
        ("2016-02-08 00:37Z", "2016-02-08T00:37:00Z"),
        ("2/8/2016 2:41 PM +01", "2016-02-08T14:41:00+01:00"),
        ("08-Feb-2016 00:37:08", "2016-02-08T00:37:08"),
        ("8 February 2016 0:37", "2016-02-08T00:37:00"),
        ("Feb 8, 2016 12:37 AM", "2016-02-08T00:37:00"),
        ("2016 Feb 08 12:37:08 AM", "2016-02-08T00:37:08"),
    ];
    for (text, expected) in cases {
        assert_eq!(iso(text, DateOrder::Mdy).as_deref(), Some(expected), "{text}");
    }
    for (text, expected) in [
        ("13/08/2016 1:02", "2016-08-13T01:02:00"),
        ("13.08.2016 17:05", "2016-08-13T17:05:00"),
        ("04/12/2015 02:41:17 PM", "2015-12-04T14:41:17"),
    ] {
        assert_eq!(iso(text, DateOrder::Dmy).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn nothing_is_guessed() {
    let cases = [
        "",
        "45:00.0",
        "13:00.0",
        "13/08/2016 1:02",
        "2/30/2016 0:37",
        "2023-02-29 00:00:00",
        "2016-02-08",
        "2016-02-08 24:00:00",
        "2016-02-08 00:37:60",
        "2/8/16 0:37",
        "2/8/2016",
        "2/8/2016 0:7",
        "2/8/2016 0:37 PM",
        "2/8/2016 13:37 PM",
        "2/8/2016 0:37 AM",
        "2/8/2016 2:41 P",
        "2/8/2016 2:41 P.M",
        "2/8/2016 2 PM",
        "4/31/2016 2:41 PM",
        "2/29/2015 0:37",
        "2016-02-08 0:37:60",
        "2016-02-08 24:00",
        "2016-02-08 00:37:08 ",
        "2016-02-08 00:37.5",
        "2016-02-08T",
        "2016-02-08T 00:37",
        "2016-02-08 T00:37",
        "2016-02-08 00:37 +1",
        "2016-02-08 00:37 GMT+1",
        "2016-02-08 00:37 UTC+01:00",
        "2016-02-08 00:37 EST",
        "2016-02-08 00:37+01:0",
        "2016-02-08 00:37:00.1234567891",
        "2016-02-08 00:37:00,",
        "2016 02 08 00:37",
        "2 8 2016 0:37",
        "8-Febr-2016 0:37",
        "8 Feb-2016 0:37",
        "8-Feb-16 0:37",
        "Feb 8 0:37",
        "20160208T003700",
        "42408.0257",
        "2/8-2016 0:37",
        "+2/8/2016 0:37",
        "2016-02-08 00:37:00.",
        "2016-02-08T00:37:00+24:00",
        "２016-02-08 00:37:00",
        "002/8/2016 0:37",
        "1707352628",
    ];
    for text in cases {
        assert_eq!(iso(text, DateOrder::Mdy), None, "{text}");
    }
}

#[test]
fn written_time_is_read_again_unchanged() {
    for text in ["2016-02-08T00:37:08", "2016-02-08T00:37:08.5Z", "2016-02-08T00:37:08.000000001-11:45"] {
        assert_eq!(iso(text, DateOrder::Mdy).as_deref(), Some(text));
    }
}

#[test]
fn firehose_gets_a_form_that_it_takes_as_timestamp() {
    let firehose = |text| {
        let mut written = Vec::new();
        Timestamp::parse(text, DateOrder::Mdy).unwrap().write_firehose(&mut written);
        String::from_utf8(written).unwrap()
    };
    assert_eq!(firehose("2016-02-08T00:37:00"), "2016-02-08 00:37:00");
    assert_eq!(firehose("2022-12-24T04:53:57.450051Z"), "2022-12-24 04:53:57.450051");
    assert_eq!(firehose("2022-12-31T23:30:00-05:00"), "2023-01-01 04:30:00", "an offset is put in UTC");
}

#[test]
fn a_stamp_has_microseconds_even_when_they_are_zero() {
    let instant = Timestamp::parse("2022-12-24T04:53:57Z", DateOrder::Mdy).unwrap().instant();
    assert_eq!(stamp(instant), "2022-12-24T04:53:57.000000Z");
}

#[test]
fn a_time_needs_an_order_only_if_the_orders_differ() {
    for (text, needs) in [
        ("2016-02-08T00:37:08", false),
        ("2/2/2016 0:37", false),
        ("2022/2/23 9:05", false),
        ("13-Aug-2016 0:37", false),
        ("2/8/2016 0:37", true),
        ("13/08/2016 0:37", true),
        ("45:00.0", true),
    ] {
        assert_eq!(!Timestamp::needs_no_order(text), needs, "{text}");
    }
}

#[test]
fn days_are_read_without_a_time() {
    let day = |text, order| {
        let mut day = Vec::new();
        Date::parse(text, order)?.write_iso(&mut day);
        Some(String::from_utf8(day).unwrap())
    };
    let cases = [
        ("2016-02-08", Some("2016-02-08")),
        ("2016/2/8", Some("2016-02-08")),
        ("2/8/2016", Some("2016-02-08")),
        ("02.08.2016", Some("2016-02-08")),
        ("8-Feb-2016", Some("2016-02-08")),
        ("0987-12-31", Some("0987-12-31")),
        ("2016-02-08 00:00:00", Some("2016-02-08")),
        ("2016-02-08T00:00:00.000", Some("2016-02-08")),
        ("2/8/2016 12:00:00 AM", Some("2016-02-08")),
        ("2016-02-08 00:00:01", None),
        ("2/8/2016 12:00 PM", None),
        ("2016-02-08T00:00:00Z", None),
        ("2016-02-08Z", None),
        ("2016-02-30", None),
        ("2016-02", None),
        ("2/8/16", None),
        ("20160208", None),
        ("42408", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(day(text, DateOrder::Mdy).as_deref(), expected, "{text}");
    }
    assert_eq!(day("2/8/2016", DateOrder::Dmy).as_deref(), Some("2016-08-02"));
    assert!(Date::needs_no_order("2016-02-08") && Date::needs_no_order("2/2/2016"));
    assert!(!Date::needs_no_order("2/8/2016") && !Date::needs_no_order("13/8/2016"));
}

#[test]
fn an_unreadable_time_is_explained() {
    use Unreadable::{
        DayAndTime, DayOnly, NoCentury, NoSuchTime, NotATime, OtherOrder, SerialNumber, TimeOnly, UnixTime,
    };
    let cases = [
        ("13/08/2016 17:05", Some(OtherOrder)),
        ("13.08.2016 5:05 PM", Some(OtherOrder)),
        ("2/8/2016 17:05", None),
        ("2016-02-08", Some(DayOnly)),
        ("13/08/2016", Some(DayOnly)),
        ("13/13/2016", Some(NoSuchTime)),
        ("45:00.0", Some(TimeOnly)),
        ("17:05", Some(TimeOnly)),
        ("2:41:17 PM", Some(TimeOnly)),
        ("2/8/16 0:37", Some(NoCentury)),
        ("13-Aug-16 0:37", Some(NoCentury)),
        ("4/31/2016 17:05", Some(NoSuchTime)),
        ("2016-02-08 24:00", Some(NoSuchTime)),
        ("2/8/2016 13:41 PM", Some(NoSuchTime)),
        ("42408", Some(SerialNumber)),
        ("42408.0257", Some(SerialNumber)),
        ("1454891828", Some(UnixTime)),
        ("1454891828123", Some(UnixTime)),
        ("1454891828.5", Some(UnixTime)),
        ("7", Some(NotATime)),
        ("a:00", Some(NotATime)),
        ("yesterday", Some(NotATime)),
        ("", Some(NotATime)),
    ];
    for (text, expected) in cases {
        assert_eq!(explain(text, DateOrder::Mdy), expected, "{text}");
    }
    assert_eq!(explain("2/13/2016 17:05", DateOrder::Dmy), Some(OtherOrder));
    let cases = [
        ("2/8/2016", None),
        ("13/8/2016", Some(OtherOrder)),
        ("13/8/2016 0:00", Some(OtherOrder)),
        ("13/8/2016 17:05", Some(DayAndTime)),
        ("2016-02-08T00:00:00Z", Some(DayAndTime)),
        ("4/31/2016", Some(NoSuchTime)),
        ("2/8/16", Some(NoCentury)),
        ("42408", Some(SerialNumber)),
        ("soon", Some(NotATime)),
    ];
    for (text, expected) in cases {
        assert_eq!(explain_date(text, DateOrder::Mdy), expected, "{text}");
    }
}
