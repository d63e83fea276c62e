//! Tests of the data set's file.

use proptest::prelude::*;

use super::*;

fn us_accidents() -> &'static str {
    FILES.iter().find(|(name, _)| *name == "us_accidents").unwrap().1
}

#[test]
fn every_data_set_compiled_in_is_consistent() {
    for name in Dataset::names() {
        Dataset::named(name).unwrap();
    }
}

#[test]
fn us_accidents_holds_the_union_of_the_published_layouts() {
    let dataset = Dataset::named("us_accidents").unwrap();
    assert_eq!(dataset.columns.len(), 49 + 1, "49 published columns and the one that ingest stamps");
    assert_eq!(dataset.columns[dataset.id].name, "ID");
    assert_eq!(dataset.columns[dataset.column("Temperature(F)").unwrap()].column, "temperature_f");
    let names: Vec<_> = dataset.projection.iter().map(|c| dataset.columns[*c].name.as_str()).collect();
    assert_eq!(names, ["ID", "Severity", "City", "County", "Txn_Timestamp"]);
    let dimensions: Vec<_> = dataset.metric.dimensions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(dimensions, ["severity_accident", "city_accident", "county_accident"]);
}

#[test]
fn events_count_under_all_dimensions_and_under_the_rollups() {
    let dataset = Dataset::named("us_accidents").unwrap();
    assert_eq!(dataset.metric.sets, [vec![0, 1, 2], vec![0], vec![0, 2]]);
    let rollups = r#"rollups = [["severity_accident"], ["severity_accident", "county_accident"]]"#;
    assert!(us_accidents().contains(rollups));
    let sets =
        |other| Dataset::parse("us_accidents", &us_accidents().replace(rollups, other)).unwrap().metric.sets;
    assert_eq!(sets(""), dataset.metric.sets, "those that alarms and dashboards read");
    assert_eq!(sets("rollups = []"), [vec![0, 1, 2]]);
}

#[test]
fn digest_has_the_words_of_its_data_set_or_general_ones() {
    let (before, digest) = us_accidents().split_once("[alert.digest]").unwrap();
    let (_, after) = digest.split_once("[[column]]").unwrap();
    let dataset = Dataset::parse("us_accidents", &format!("{before}[[column]]{after}")).unwrap();
    let fill = |template: &Template| {
        template.fill("unknown", |place| {
            Some(match place {
                Place::Count => "12".into(),
                Place::Ids => "A-1, A-2".into(),
                Place::BySeverity => "5: 2, 4: 10".into(),
                Place::ByArea => "Franklin: 12".into(),
                Place::Column(column) => dataset.columns[column].name.clone().into(),
                Place::Detail(_) | Place::Map => return None,
            })
        })
    };
    let wording = &dataset.alert.digest;
    assert_eq!(fill(&wording.subject), "12 alerts of severity Severity: County");
    assert_eq!(
        fill(&wording.sms),
        "12 alerts (US accident) of severity Severity: County. First ids: A-1, A-2."
    );
    assert!(
        fill(&wording.text).ends_with(
            "are in the table us_accidents_analytical, under severity Severity and county County.\n"
        )
    );
    // What is left of the file has no [alert.storm] either.
    let wording = &dataset.alert.storm;
    assert_eq!(fill(&wording.subject), "12 alerts of severity Severity at once");
    assert_eq!(fill(&wording.sms), "12 alerts (US accident) of severity Severity at once: Franklin: 12.");
    let text = fill(&wording.text);
    assert!(text.contains("By severity:  5: 2, 4: 10\nBy area:      Franklin: 12\n"), "{text}");
    assert!(text.ends_with("All of the events are in the table us_accidents_analytical.\n"), "{text}");
}

#[test]
fn an_unknown_data_set_is_answered_with_those_that_exist() {
    let error = Dataset::named("tickets_of_mars").unwrap_err().to_string();
    assert!(error.starts_with("there is no data set `tickets_of_mars`: datasets/ holds "), "{error}");
    assert!(error.contains("us_accidents"), "{error}");
}

#[test]
fn data_set_without_wording_alerts_with_stream_2s_columns() {
    let text = us_accidents();
    let (before, rest) = text.split_once("[alert]").unwrap();
    let (_, columns) = rest.split_once("[[column]]").unwrap();
    let dataset = Dataset::parse("us_accidents", &format!("{before}\n[[column]]{columns}")).unwrap();
    let value = |place: Place| match place {
        Place::Column(column) => Some(format!("<{}>", dataset.columns[column].name).into()),
        Place::Detail(column) => (dataset.columns[column].name == "Street").then(|| "I-70".into()),
        Place::Map => Some("link".into()),
        place => unreachable!("{place:?} in the words about one event"),
    };
    let fill = |template: &Template| template.fill("unknown", value);
    assert_eq!(fill(&dataset.alert.one.subject), "US accident of severity <Severity>: <County>");
    let text = fill(&dataset.alert.one.text);
    let lines = "County: <County>\nTxn_Timestamp: <Txn_Timestamp>\nStreet: I-70\nMap: link\n";
    assert!(text.ends_with(lines), "{text}");
    let attributes: Vec<_> = dataset.alert.attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(attributes, ["severity", "area", "id", "latitude", "longitude"]);
}

/// The text about one event with this template, of which the details `Street` and `Description` may have values.
fn text_of(template: &str, street: Option<&str>, description: Option<&str>) -> String {
    let (before, text) = us_accidents().split_once("text = \"\"\"").unwrap();
    let (_, after) = text.split_once("\"\"\"").unwrap();
    let file = format!("{before}text = \"\"\"\n{template}\"\"\"{after}");
    let dataset = Dataset::parse("us_accidents", &file).unwrap();
    dataset.alert.one.text.fill("unknown", |place| match place {
        Place::Detail(column) if dataset.columns[column].name == "Street" => street.map(Into::into),
        Place::Detail(_) => description.map(Into::into),
        Place::Column(column) => Some(dataset.columns[column].name.clone().into()),
        place => unreachable!("{place:?}"),
    })
}

#[test]
fn details_without_a_value_leave_no_blank_lines() {
    let template = "At {City}.\n\nStreet: {Street}\nWhat: {Description}\n\nBye.\n\n{Street}\n";
    for (street, description, expected) in [
        (Some("a"), Some("b"), "At City.\n\nStreet: a\nWhat: b\n\nBye.\n\na\n"),
        (Some("a"), None, "At City.\n\nStreet: a\n\nBye.\n\na\n"),
        (None, Some("b"), "At City.\n\nWhat: b\n\nBye.\n"),
        (None, None, "At City.\n\nBye.\n"),
    ] {
        assert_eq!(text_of(template, street, description), expected);
    }
    assert_eq!(text_of("{Street}\n\nBye\n", None, None), "Bye\n");
    assert_eq!(text_of("{Street}: {Description}, {City}\n.", Some("a"), None), "a: unknown, City\n.");
}

#[test]
fn part_in_brackets_is_left_out_without_a_detail() {
    for (template, both, first, none) in [
        ("x[ {Street}] {City}", "x a City", "x a City", "x City"),
        ("[{Street}: {Description}, ]{City}", "a: b, City", "City", "City"),
        ("{City}[ {Street}[, {Description}]]", "City a, b", "City a", "City"),
        ("[{City}] [", "[City] [", "[City] [", "[City] ["),
    ] {
        assert_eq!(text_of(template, Some("a"), Some("b")), both);
        assert_eq!(text_of(template, Some("a"), None), first);
        assert_eq!(text_of(template, None, None), none);
    }
}

/// The file of `us_accidents` with a text replaced, once.
fn with(from: &str, to: &str) -> Result<Dataset, DatasetError> {
    let text = us_accidents().replacen(from, to, 1);
    assert_ne!(text, us_accidents(), "the file must contain {from}");
    Dataset::parse("us_accidents", &text)
}

#[test]
fn contradictions_are_reported_in_one_sentence() {
    let cases = [
        ("id = \"ID\"", "id = \"Id\"", "`id` names `Id`, but there is no [[column]] of that name"),
        (
            "severity = \"Severity\"",
            "severity = \"City\"",
            "expected a column of type int, found `City` of type string",
        ),
        ("\"City\", \"County\", \"Txn", "\"City\", \"Txn", "`projection` lacks `County`"),
        ("\"City\", \"County\", \"Txn", "\"City\", \"City\", \"County\", \"Txn", "found `City` twice"),
        (
            "details = [\"Start_Time",
            "details = [\"Start",
            "`details` names `Start`, but there is no [[column]]",
        ),
        ("details = [\"Start_Time\"", "details = [\"City\"", "found `City` in `projection` too"),
        (
            "details = [\"Start_Time\"",
            "details = [\"Street\"",
            "`details`: expected each column once, found `Street` twice",
        ),
        ("\"Start_Lat\", \"Start_Lng\", \"Desc", "\"Start_Lat\", \"Desc", "`projection` lacks `Start_Lng`"),
        ("location = {", "# location = {", "`alert.text` names `map`"),
        ("source = \"traffic\"", "source = \"US traffic\"", "`source`: expected one to 32"),
        ("{Severity} accident was", "{Sev} accident was", "`alert.text` names `Sev`"),
        ("{Severity} accident was", "{Severity accident was", "`alert.text` names `Severity accident"),
        ("name = \"us_accidents\"", "name = \"other\"", "expected the file's own name"),
        ("type = \"int\"", "type = \"integer\"", "unknown variant `integer`"),
        (
            "[\"severity_accident\", \"county_acc",
            "[\"severity_accident\", \"town_acc",
            "`metric.rollups`: expected names of `metric.dimensions`, found `town_accident`",
        ),
        ("severities = [1, 2", "severities = [2, 1", "`severities`: expected each severity once"),
        ("severities = [1, 2", "severities = [1, 1, 2", "`severities`: expected each severity once"),
        ("severities = [1, 2", "severities = [-9000000000, 2", "found -9000000000"),
        ("text = \"\"\"\nA sev", "text = \"\"\"\n{count} sev", "`alert.text` names `count`"),
        ("moments of each", "{by_area} of each", "`alert.digest.text` names `by_area`"),
        ("Most: {by_area}", "Most: {by_county}", "`alert.storm.sms` names `by_county`"),
        (
            "\"Start_Lat\", long",
            "\"City\", long",
            "`location.latitude`: expected a column of type double, found `City`",
        ),
        ("title = \"US accident\"", "title = \"US\\naccident\"", "`title`: expected a text of one line"),
        ("title = \"US accident\"", "title = \" \"", "`title`: expected a text of one line"),
    ];
    for (from, to, expected) in cases {
        let error = with(from, to).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\nshould say: {expected}");
        assert!(error.starts_with("datasets/us_accidents/dataset.toml"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_wrong_file_is_reported_with_its_line() {
    for (from, to, line) in [
        ("title = \"US accident\"", "title = US accident", 6),
        ("id = \"ID\"", "id = 7", 9),
        ("source_region", "region", 8),
    ] {
        let error = with(from, to).unwrap_err().to_string();
        assert!(error.starts_with(&format!("datasets/us_accidents/dataset.toml:{line}: ")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn day_column_needs_a_timestamp_and_its_own_name() {
    let start = "column = \"start_time\"\n";
    let day = |name: &str| with(start, &format!("{start}day_column = \"{name}\"\n"));
    let dataset = day("start_day").unwrap();
    let column = &dataset.columns[dataset.column("Start_Time").unwrap()];
    assert_eq!((column.kind, column.day_column.as_deref()), (Type::TimestampOrDate, Some("start_day")));
    for (name, expected) in [
        ("end_time", "column = `end_time` of `End_Time`: expected a name of its own, found it twice"),
        ("city", "column = `city` of `City`: expected a name of its own, found it twice"),
        ("severity", "column = `severity` of `Start_Time`: expected another name"),
        ("year", "column = `year` of `Start_Time`: expected another name"),
        ("Start day", "column = `Start day` of `Start_Time`: expected a Glue name"),
    ] {
        let error = day(name).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let city = "column = \"city\"\n";
    let error = with(city, &format!("{city}day_column = \"city_day\"\n")).unwrap_err().to_string();
    assert!(error.contains("expected a column of type timestamp, found type string"), "{error}");
    let stamped = "column = \"txn_timestamp\"\n";
    let error = with(stamped, &format!("{stamped}day_column = \"txn_day\"\n")).unwrap_err().to_string();
    assert!(error.contains("`received_at`: expected a column of type timestamp, found"), "{error}");
}

#[test]
fn columns_that_readers_cannot_distinguish_are_refused() {
    for name in
        ["City", "CITY", "c\u{130}ty", "_invalid", "_INVALID", "", " ", " Street", "Street\t", "a\\nb"]
    {
        let error = with("name = \"Side\"", &format!("name = \"{name}\"")).map(|_| name);
        // A dotted capital I is an i with a dot, so that the name is one of its own.
        assert_eq!(error.is_ok(), name == "c\u{130}ty", "{name}");
    }
    let error = with("name = \"Side\"", "name = \"CITY\"").unwrap_err().to_string();
    assert!(error.contains("`City`: expected a name of its own, found that of `CITY`"), "{error}");
}

#[test]
fn names_that_glue_or_athena_cannot_read_are_refused() {
    let named = |column: &str| with("column = \"city\"", &format!("column = \"{column}\""));
    for column in [
        "",
        "City",
        "1",
        "0123",
        "12_34",
        "_",
        "1st",
        "a b",
        "a-b",
        "\u{e9}",
        "county",
        "day",
        "unlisted_severity",
    ] {
        let error = named(column).unwrap_err().to_string();
        assert!(error.contains(&format!("column = `{column}` of ")), "{error}");
    }
    for column in ["no", "on", "null", "y", "true", "select", "_x", "x1"] {
        assert!(named(column).is_ok(), "{column}");
    }
    let error = with("column = \"city\"", "column = \"severity\"").unwrap_err().to_string();
    assert!(error.contains("expected"), "{error}");
}

#[test]
fn names_that_cloudwatch_refuses_are_refused() {
    let long = "n".repeat(256);
    for (namespace, fits) in [
        ("AWS/EC2", false),
        ("\u{e9}", false),
        (":a", false),
        (" ", false),
        ("", false),
        (long.as_str(), false),
        ("a{b}", false),
        ("Custom/accidents.new #1", true),
    ] {
        let found = with("\"accidents_reports_namespace\"", &format!("\"{namespace}\""));
        assert_eq!(found.is_ok(), fits, "{namespace}");
    }
    for (name, fits) in [
        ("cit\u{e9}", false),
        (":city", false),
        ("", false),
        (long.as_str(), false),
        ("a\\tb", false),
        ("city area", true),
    ] {
        let dimension = with("city_accident = ", &format!("\"{name}\" = "));
        assert_eq!(dimension.is_ok(), fits, "{name}");
    }
    for (name, fits) in [("m\u{e9}", false), ("", false), (long.as_str(), false), ("high severity", true)] {
        let metric = with("\"us_accidents_severity_high\"", &format!("\"{name}\""));
        assert_eq!(metric.is_ok(), fits, "{name}");
    }
    let error = with("severity_accident = \"Severity\", ", "").unwrap_err().to_string();
    assert!(error.contains("metric."), "{error}");
}

#[test]
fn attributes_that_sns_refuses_are_refused() {
    let long = "n".repeat(257);
    for (name, fits) in [
        ("call type", false),
        ("", false),
        (".a", false),
        ("a.", false),
        ("a..b", false),
        ("AWS.trace", false),
        ("amazon.x", false),
        ("\u{e9}", false),
        (long.as_str(), false),
        ("call-type_1.b", true),
    ] {
        let found = with("city = \"City\"", &format!("\"{name}\" = \"City\""));
        assert_eq!(found.is_ok(), fits, "{name}");
    }
    let more = |count: usize| {
        let added: Vec<_> = (0..count).map(|at| format!("a{at} = \"City\"")).collect();
        with("city = \"City\"", &added.join(", "))
    };
    assert!(more(5).is_ok(), "ten attributes");
    assert!(
        more(6)
            .unwrap_err()
            .to_string()
            .contains("expected at most 10, which is what a queue takes, found 11")
    );
}

#[test]
fn subjects_of_two_lines_and_blank_texts_are_refused() {
    let subject = "subject = \"Severity {Severity} accident: {City}, {County}\"";
    for (text, fits) in [
        ("subject = \"\"", false),
        ("subject = \"  \"", false),
        ("subject = \"a\\nb {City}\"", false),
        ("subject = \"{City}\"", true),
    ] {
        assert_eq!(with(subject, text).is_ok(), fits, "{text}");
    }
    let digest = "subject = \"{count} accidents of severity {Severity} in {County} county\"";
    assert!(with(digest, "subject = \"{count}\\n\"").is_err());
    let storm = "subject = \"{count} accidents of severity {Severity} in many counties\"";
    assert!(with(storm, "subject = \"{count}\\n\"").is_err());
    assert!(with("sms = \"Severity", "sms = \" \" # \"").is_err());
}

#[test]
fn severities_outside_the_list_share_two_partitions() {
    let dataset = Dataset::named("us_accidents").unwrap();
    assert_eq!(dataset.severity_partitions(), (0, 5));
    for (severity, partition, listed) in [
        (1, 1, true),
        (4, 4, true),
        (5, 5, false),
        (0, 0, false),
        (-1, 0, false),
        (99, 5, false),
        (i64::MIN, 0, false),
        (i64::MAX, 5, false),
    ] {
        assert_eq!(dataset.severity_partition(severity), partition, "{severity}");
        assert_eq!(dataset.severities.lists(severity), listed, "{severity}");
    }
    let gaps = with("severities = [1, 2, 3, 4]", "severities = [10, 20, 30]").unwrap();
    assert_eq!(
        (gaps.severity_partition(25), gaps.severities.lists(25)),
        (25, false),
        "a gap has a partition of its own"
    );
}

/// The file of `support_tickets` with other severities.
fn tickets(severities: &str, kind: &str, glue: &str) -> Result<Dataset, DatasetError> {
    let text = include_str!("../../../../datasets/support_tickets/dataset.toml")
        .replacen("severities = [1, 2, 3, 4]", &format!("severities = {severities}"), 1)
        .replacen(
            "column = \"priority\"\ntype = \"int\"",
            &format!("column = \"{glue}\"\ntype = \"{kind}\""),
            1,
        );
    Dataset::parse("support_tickets", &text)
}

#[test]
fn severities_may_be_words_a_table_or_descending_numbers() {
    let words = r#"["Low", "Medium", "High"]"#;
    let table = r#"{ "3 - Moderate" = 3, "1 - Critical" = 5 }"#;
    for (severities, kind, range) in
        [(words, "string", (1, 3)), (table, "string", (3, 5)), ("[4, 3, 2, 1]", "int", (1, 4))]
    {
        let dataset = tickets(severities, kind, "priority").unwrap();
        assert_eq!(dataset.severity_range(), range, "{severities}");
        assert_eq!(dataset.severity_text_attribute("severity").as_deref(), Some("severity_text"));
        let other = if kind == "int" { "string" } else { "int" };
        let error = tickets(severities, other, "priority").unwrap_err().to_string();
        assert!(
            error.contains(&format!("`severity`: expected a column of type {kind}, found `Priority`")),
            "{error}"
        );
        let error = tickets(severities, kind, "severity").unwrap_err().to_string();
        assert!(
            error.contains(
                "column = `severity` of `Priority`: expected another name, such as `severity_text`"
            ),
            "{error}"
        );
    }
    let numbers = tickets("[1, 2]", "int", "severity").unwrap();
    assert_eq!(numbers.severity_text_attribute("severity"), None);
}

#[test]
fn the_order_of_a_table_is_that_of_the_file() {
    let dataset = tickets(r#"{ "P1" = 5, "1 - Critical" = 5, "Low" = 1 }"#, "string", "priority").unwrap();
    assert_eq!(dataset.severities.text(5), "P1");
    assert_eq!(dataset.bad_severity(), "`Priority`: expected one of `Low`, `P1`");
}

#[test]
fn the_text_of_a_severity_counts_as_an_attribute() {
    let words = tickets(r#"["Low", "High"]"#, "string", "priority").unwrap();
    assert!(words.alert.attributes.iter().any(|(name, _)| name == "severity"));
    let text = include_str!("../../../../datasets/support_tickets/dataset.toml");
    let attributes = |added: &str| {
        let text = text
            .replacen("severities = [1, 2, 3, 4]", "severities = [\"Low\", \"High\"]", 1)
            .replacen("column = \"priority\"\ntype = \"int\"", "column = \"priority\"\ntype = \"string\"", 1)
            .replacen("channel = \"Channel\",", &format!("channel = \"Channel\", {added}"), 1);
        Dataset::parse("support_tickets", &text).map_err(|error| error.to_string())
    };
    let error = attributes("severity_text = \"Channel\",").unwrap_err();
    assert!(error.contains("expected each name once, found `severity_text` twice"), "{error}");
    for taken in ["text", "source", "on_call"] {
        let error = attributes(&format!("{taken} = \"Channel\",")).unwrap_err();
        assert!(error.contains(&format!("fields of the text for machines, found `{taken}`")), "{error}");
    }
    let many = |count: usize| -> String {
        let added: Vec<_> = (0..count).map(|n| format!("a{n} = \"Channel\", ")).collect();
        added.concat()
    };
    assert!(attributes(&many(5)).is_ok(), "ten with the text");
    assert!(attributes(&many(6)).unwrap_err().contains("found 11"));
}

#[test]
fn blanks_are_listed_in_the_file() {
    let listed = with("severities = ", "blanks = [\"NA\", \"\\\\N\"]\nseverities = ").unwrap();
    assert_eq!(listed.blanks.texts(), ["NA", "\\N"]);
    assert!(Dataset::named("us_accidents").unwrap().blanks.is_empty());
    let error = with("severities = ", "blanks = [\" NA\"]\nseverities = ").unwrap_err().to_string();
    assert!(error.contains("`blanks`: expected texts of 1 to 100 characters"), "{error}");
}

proptest! {
    #[test]
    fn names_equal_ignoring_case_never_pass(name in "[a-zA-Z\u{130}\u{212a}\u{df}\u{1e9e}\u{3a3}\u{3c2} _]{1,4}", upper: bool) {
        let other = if upper { name.to_uppercase() } else { name.to_lowercase() };
        let columns = format!("name = \"{name}\"\ncolumn = \"a1\"\ntype = \"string\"\ncomment = \"\"\n\n[[column]]\nname = \"{other}\"");
        prop_assert!(with("name = \"Side\"", &columns).is_err());
    }

    #[test]
    fn accepted_names_are_valid_in_glue_and_athena(column in "[a-z0-9_A-Z é-]{0,6}") {
        let passes = with("column = \"city\"", &format!("column = \"{column}\"")).is_ok();
        let identifier = column.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && column.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        prop_assert!(!passes || identifier);
    }
}
