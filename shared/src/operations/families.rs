//! The metric families of a service, each with what it tells. All are there from the first scrape on, so that
//! a rate does not miss the first event.

use metrics::{Label, counter, describe_counter, describe_gauge};

pub struct Family {
    name: &'static str,
    /// What it tells, as a sentence.
    help: &'static str,
    kind: Kind,
}

enum Kind {
    /// Set with each scrape.
    Gauge,
    Counter(Labels),
}

/// Labels, each with its usual values. A label without values is the consumer, whose name only the service knows.
type Labels = &'static [(&'static str, &'static [&'static str])];

/// Of `dead_letters_total`, to which a service adds its own reasons.
pub const SET_ASIDE: &str = "Messages that were set aside, by reason.";
const REASONS: &[&str] =
    &["invalid_event", "invalid_headers", "unsendable_event", "handler_panicked", "too_many_deliveries"];

/// A gauge, which whoever answers the scrape sets.
pub const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Gauge }
}

/// A counter; its name ends in `_total`.
pub const fn total(name: &'static str, help: &'static str) -> Family {
    by(name, help, &[])
}

/// A counter by labels, each with the values from which it starts.
pub const fn by(name: &'static str, help: &'static str, labels: Labels) -> Family {
    Family { name, help, kind: Kind::Counter(labels) }
}

const SHARED: &[Family] = &[
    gauge("build_info", "Always 1; its labels tell the service and its version."),
    gauge("broker_connected", "1 while the broker answers, else 0."),
    gauge("consumer_owned", "0 while the consumer belongs to another database, else 1."),
    gauge("database_writable", "1 while the database takes writes, else 0."),
    gauge("outbox_rows", "Events that are not published yet."),
    gauge("dead_letters", "Messages that can never succeed and wait for an operator."),
    total("database_write_failures_total", "Writes that failed and made the database count as not writable."),
    total("database_damaged_total", "Times that the database was found damaged."),
    total("log_lines_lost_total", "Lines of the log that nobody took."),
    total("handler_panics_total", "Panics of the event handler."),
    total(
        "http_connections_stalled_total",
        "Connections closed because the client took nothing of its answer.",
    ),
    total("http_panics_total", "Requests or connections that panicked."),
    total("http_requests_refused_total", "Requests answered 503, certainly not stored."),
    by("dead_letters_total", SET_ASIDE, &[("consumer", &[]), ("reason", REASONS)]),
    total("dead_letters_discarded_total", "Dead letters that an operator deleted."),
    by(
        "dead_letters_redriven_total",
        "Redriven dead letters, by what became of them.",
        &[("outcome", &["done", "dead", "failed"])],
    ),
    by(
        "messages_handled_total",
        "Messages that were handled, by what they did.",
        &[("consumer", &[]), ("outcome", &["confirmed", "cancelled", "repeated"])],
    ),
    by("messages_failed_total", "Attempts at a message alone that failed.", &[("consumer", &[])]),
];

/// Gives the families of every service and the `own` ones their help texts, and the counters their start.
pub fn describe(service: &'static str, own: &[Family]) {
    for Family { name, help, kind } in SHARED.iter().chain(own) {
        match kind {
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Counter(labels) => {
                describe_counter!(*name, *help);
                for labels in combinations(service, labels) {
                    counter!(*name, labels).increment(0);
                }
            }
        }
    }
}

/// Each value of the first label with each of the next one.
fn combinations(service: &'static str, labels: Labels) -> Vec<Vec<Label>> {
    labels.iter().fold(vec![vec![]], |before, (name, values)| {
        let values = if values.is_empty() { &[service][..] } else { values };
        let with =
            |labels: &Vec<Label>, value| [&labels[..], &[Label::from_static_parts(name, value)]].concat();
        before.iter().flat_map(|labels| values.iter().map(move |value| with(labels, value))).collect()
    })
}
