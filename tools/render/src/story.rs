//! The content of both dashboards, panel by panel: the metrics, and how they are drawn.

use crate::metrics::{
    ANY, AREA_NAME, CHOSEN_AREA, CONSUMERS, DELIVERED, DELIVERIES, DELIVERY_LAG, DELIVERY_RECORDS, DURATION,
    ERRORS, EVENT_TO_ALERT, EVENT_TO_METRIC, EVENTS_BY_SEVERITY, EVENTS_OF_AREA, FAILED, FAILURES_BUCKET,
    FILTERED, FRESHNESS, FUNCTIONS, IN, ITERATOR_AGE, LATE, MetricLine, NOTIFICATIONS_FAILED, PUBLISHED,
    PUT_REQUESTS, READS_REFUSED, REJECTED, RETRIED, STREAM_RECORDS, THROTTLES, TOPIC_SUFFIX, UNACCOUNTED,
    UNKNOWN_SEVERITY, UNREADABLE_CELLS, UNREADABLE_ROWS, UNRECORDED, WRITES_REFUSED,
};

/// The columns of both dashboards.
pub(crate) const COLUMNS: u32 = 24;
const HEADING_HEIGHT: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PanelKind {
    Lines,
    Bars,
    Map,
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PanelUnit {
    Count,
    Milliseconds,
    Seconds,
}

pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) lines: Vec<MetricLine>,
    pub(crate) unit: PanelUnit,
    pub(crate) kind: PanelKind,
    width: u32,
    height: u32,
}

pub(crate) struct PanelRow {
    pub(crate) title: &'static str,
    pub(crate) panels: Vec<Panel>,
}

/// The position on a dashboard, in its columns and rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GridPlace {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

pub(crate) enum StoryItem<'a> {
    Heading(&'static str),
    Panel(&'a Panel),
}

/// The positions of all headings and panels, from `top` downwards: panels fill a line from the left.
pub(crate) fn layout(rows: &[PanelRow], mut top: u32) -> Vec<(GridPlace, StoryItem<'_>)> {
    let mut items = Vec::new();
    for row in rows {
        let heading = GridPlace { left: 0, top, width: COLUMNS, height: HEADING_HEIGHT };
        items.push((heading, StoryItem::Heading(row.title)));
        top += HEADING_HEIGHT;
        let (mut left, mut tallest) = (0, 0);
        for panel in &row.panels {
            if left + panel.width > COLUMNS {
                (left, top, tallest) = (0, top + tallest, 0);
            }
            let place = GridPlace { left, top, width: panel.width, height: panel.height };
            items.push((place, StoryItem::Panel(panel)));
            left += panel.width;
            tallest = tallest.max(panel.height);
        }
        top += tallest;
    }
    items
}

impl Panel {
    fn new(
        title: impl Into<String>,
        description: impl Into<String>,
        lines: impl Into<Vec<MetricLine>>,
    ) -> Self {
        let (title, description, lines) = (title.into(), description.into(), lines.into());
        Self {
            title,
            description,
            lines,
            unit: PanelUnit::Count,
            kind: PanelKind::Bars,
            width: 12,
            height: 8,
        }
    }

    fn drawn_as(self, kind: PanelKind) -> Self {
        Self { kind, ..self }
    }

    /// Draws the values as lines in that unit.
    fn lines_in(self, unit: PanelUnit) -> Self {
        Self { unit, kind: PanelKind::Lines, ..self }
    }

    fn sized(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }
}

pub(crate) fn rows() -> Vec<PanelRow> {
    vec![
        PanelRow { title: "What is happening", panels: events() },
        PanelRow { title: "How fast", panels: latencies() },
        PanelRow { title: "The counts", panels: counts() },
        PanelRow { title: "Health", panels: health() },
    ]
}

fn events() -> Vec<Panel> {
    let by_severity = EVENTS_BY_SEVERITY.line([ANY]);
    vec![
        Panel::new(
            "Severe events by severity",
            "Events of each severity that metrics has counted, in the minute in which they arrived.",
            [by_severity.clone()],
        ),
        Panel::new(
            "Severity map by time",
            "The same as a map: a row for each severity, the darker the more events in that minute.",
            [by_severity],
        )
        .drawn_as(PanelKind::Map),
        Panel::new(
            format!("Severe events of the chosen {AREA_NAME}"),
            format!(
                "Choose the {AREA_NAME} above. Where MaxSeries limits the series, one without its own series is in `other`."
            ),
            [EVENTS_OF_AREA.line([ANY, CHOSEN_AREA])],
        ),
        Panel::new(
            "Alerts",
            "Events alerted, and the messages about them: fewer when a digest holds many. A notification that failed did \
             not reach its reader.",
            [
                DELIVERED.counted_by("notify").labelled("events alerted"),
                PUBLISHED.of_suffixed_resource("alerts", TOPIC_SUFFIX).labelled("messages"),
                NOTIFICATIONS_FAILED
                    .of_suffixed_resource("alerts", TOPIC_SUFFIX)
                    .labelled("notifications failed"),
            ],
        ),
    ]
}

fn latencies() -> Vec<Panel> {
    let lag = CONSUMERS.map(|name| ITERATOR_AGE.of_resource(name).with("Maximum"));
    let raw = DELIVERY_LAG.of_resource("raw").with("Maximum");
    vec![
        Panel::new(
            "From event to alert",
            "Age of the events when their alert had been published, from the moment that ingest took them in.",
            [
                EVENT_TO_ALERT.of_events("p50").labelled("half within"),
                EVENT_TO_ALERT.of_events("p99").labelled("99 % within"),
            ],
        )
        .lines_in(PanelUnit::Milliseconds),
        Panel::new(
            "From event to metric",
            "Age of the events when they were counted.",
            [
                EVENT_TO_METRIC.of_events("p50").labelled("half within"),
                EVENT_TO_METRIC.of_events("p99").labelled("99 % within"),
            ],
        )
        .lines_in(PanelUnit::Milliseconds),
        Panel::new(
            "Lag behind the streams",
            "Age of the last record of each batch, and how far the raw delivery stream is behind stream 1.",
            lag.into_iter().chain([raw]).collect::<Vec<_>>(),
        )
        .lines_in(PanelUnit::Milliseconds),
        Panel::new(
            "Age of the lake",
            "Age of the oldest record that a delivery stream has not yet written to its bucket.",
            DELIVERIES.map(|name| FRESHNESS.of_resource(name).with("Maximum")),
        )
        .lines_in(PanelUnit::Seconds),
    ]
}

fn counts() -> Vec<Panel> {
    let counts = FUNCTIONS.map(|function| {
        Panel::new(
            format!("Counts of {function}"),
            "In = delivered + filtered + rejected + failed; failed records are retried.",
            [IN, DELIVERED, FILTERED, REJECTED, FAILED]
                .map(|metric| metric.counted_by(function).labelled(metric.name.to_lowercase())),
        )
        .sized(6, 8)
    });
    let mut sent_again =
        FUNCTIONS.map(|name| RETRIED.counted_by(name).labelled(format!("{name}: sent again"))).to_vec();
    sent_again.push(LATE.counted_by("transform").labelled("late"));
    sent_again.push(UNKNOWN_SEVERITY.counted_by("transform").labelled("of unknown severity"));
    sent_again.push(UNRECORDED.counted_by("notify").labelled("messages without a row"));
    sent_again.push(UNREADABLE_CELLS.counted_by("ingest").labelled("unreadable cells"));
    sent_again.push(UNREADABLE_ROWS.counted_by("ingest").labelled("rows with unreadable cells"));
    let mut panels = Vec::from(counts);
    panels.push(
        Panel::new(
            "Unaccounted",
            "Records without a known outcome. Anything but zero is a defect.",
            FUNCTIONS.map(|function| UNACCOUNTED.counted_by(function).labelled(function)),
        )
        .drawn_as(PanelKind::Number)
        .sized(12, 5),
    );
    panels.push(
        Panel::new(
            "Sent again, late, of unknown severity, or unreadable",
            "Entries that a service refused and that were sent again; events that reached transform later than its watermark; \
             events of a severity that the data set does not list; cells that ingest could not read, and the rows that have \
             them.",
            sent_again,
        )
        .sized(12, 5),
    );
    panels
}

fn health() -> Vec<Panel> {
    let of_functions = |metric: crate::metrics::WatchedMetric| {
        let label = |name| format!("{name}: {}", metric.name.to_lowercase());
        FUNCTIONS.map(|name| metric.of_resource(name).labelled(label(name)))
    };
    let of_stream = |stream| {
        [(STREAM_RECORDS, "in"), (WRITES_REFUSED, "writes refused"), (READS_REFUSED, "reads refused")]
            .map(|(metric, label)| metric.of_stream(stream, label))
    };
    vec![
        Panel::new(
            "Errors and throttles",
            "Invocations that ended in an error, or that Lambda did not let begin.",
            [of_functions(ERRORS), of_functions(THROTTLES)].concat(),
        ),
        Panel::new(
            "Streams",
            "Records in, and requests that a stream refused because a shard was at its limit.",
            [of_stream(1), of_stream(2)].concat(),
        ),
        Panel::new(
            "Time of an invocation",
            "Longest duration; an invocation ends at its timeout at the latest.",
            FUNCTIONS.map(|name| DURATION.of_resource(name).with("Maximum")),
        )
        .lines_in(PanelUnit::Milliseconds),
        Panel::new(
            "Rejects and failures",
            "Records that went to rejects, and objects in the failures bucket: batches that were given up.",
            [
                DELIVERY_RECORDS.of_resource("rejects"),
                PUT_REQUESTS.line([FAILURES_BUCKET, "Failures"]).labelled("failures"),
            ],
        ),
    ]
}
