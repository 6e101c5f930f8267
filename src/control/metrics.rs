//! Metrics in the text format of Prometheus.

use std::fmt::{self, Write as _};

use ograph_dispatcher_actors::{
    model::{document::ChangeKind, time::Timestamp},
    status::Phase,
    status::Status,
    store::Outcome,
    totals::{BUCKETS, Histogram, Totals},
};

use super::health::Condition;

/// The media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the metrics are made of.
pub(super) struct Sources<'s> {
    pub(super) status: &'s Status,
    pub(super) totals: &'s Totals,
    pub(super) conditions: &'s [Condition],
    pub(super) now: Timestamp,
    pub(super) started_at: Timestamp,
    pub(super) event_streams: usize,
}

/// Text in the making.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// Begins a metric.
    fn metric(&mut self, name: &str, kind: &str, help: &str) -> &mut Self {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP ograph_dispatcher_{name} {help}"));
        self.line(format_args!("# TYPE ograph_dispatcher_{name} {kind}"));
        self
    }

    /// A value of the metric.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) -> &mut Self {
        let labels: Vec<_> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escape(text))).collect();
        if labels.is_empty() {
            self.line(format_args!("ograph_dispatcher_{name} {value}"));
        } else {
            self.line(format_args!("ograph_dispatcher_{name}{{{}}} {value}", labels.join(",")));
        }
        self
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl fmt::Display) {
        self.metric(name, kind, help).sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.metric(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(histogram.counts) {
            below += count;
            self.sample(&bucket, &[("le", &bound.to_string())], below);
        }
        self.sample(&bucket, &[("le", "+Inf")], histogram.count());
        self.sample(&format!("{name}_sum"), &[], histogram.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), &[], histogram.count());
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The text.
pub(super) fn text(sources: &Sources<'_>) -> String {
    let mut out = Exposition::default();
    process(&mut out, sources);
    watching(&mut out, sources);
    pushing(&mut out, sources);
    storing(&mut out, sources);
    out.0
}

fn process(out: &mut Exposition, Sources { status, conditions, started_at, event_streams, .. }: &Sources<'_>) {
    out.metric("build_info", "gauge", "Always 1; what the program was built from.").sample(
        "build_info",
        &[("version", env!("CARGO_PKG_VERSION")), ("build", env!("OGRAPH_DISPATCHER_BUILD"))],
        1,
    );
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into 53 bits")]
    let started = started_at.as_millis() as f64 / 1_000.0;
    out.single("start_time_seconds", "gauge", "When the daemon started, in seconds since 1970.", started);
    let ready = u8::from(!conditions.iter().any(|condition| condition.blocks));
    out.single("ready", "gauge", "1 if nothing keeps the dispatcher from doing its job.", ready);
    out.metric("condition", "gauge", "1 for every condition that holds: what is not as it should be.");
    for condition in *conditions {
        let subject = condition.subject.as_deref().unwrap_or_default();
        let labels = [("name", condition.name), ("severity", condition.severity.label()), ("subject", subject)];
        out.sample("condition", &labels, 1);
    }
    out.metric("actor_restarts_total", "counter", "Restarts of an actor, by cause.");
    for (actor, state) in &status.actors {
        out.sample("actor_restarts_total", &[("actor", actor), ("cause", "panic")], state.restarts);
    }
    out.single("event_streams", "gauge", "Listeners to /v1/events.", event_streams);
}

fn watching(out: &mut Exposition, Sources { status, totals, .. }: &Sources<'_>) {
    let watcher = &status.watcher;
    out.single("projections", "gauge", "Projections that are watched.", watcher.projections);
    out.single("projections_failing", "gauge", "Projections that cannot be read now.", watcher.failing.len());
    #[expect(clippy::cast_precision_loss, reason = "an interval is a day at most")]
    let interval = watcher.interval_ms as f64 / 1_000.0;
    out.single("poll_interval_seconds", "gauge", "The interval between two polls that is in force.", interval);
    out.metric("polls_total", "counter", "Polls of projections by outcome: unchanged, changed, absent, or an error.");
    for (outcome, count) in &totals.polls {
        out.sample("polls_total", &[("outcome", outcome)], count);
    }
    let help = "How long sweeps took, from the first poll until none was running.";
    out.histogram("sweep_duration_seconds", help, &totals.sweeps);
    out.metric("changes_total", "counter", "Changes of projections that were observed.");
    for kind in [ChangeKind::Changed, ChangeKind::Appeared, ChangeKind::Removed] {
        let label = match kind {
            ChangeKind::Changed => "changed",
            ChangeKind::Appeared => "appeared",
            ChangeKind::Removed => "removed",
        };
        out.sample("changes_total", &[("kind", label)], totals.changes.get(&kind).unwrap_or(&0));
    }
    let help = "Changes that were folded into one that was pending already.";
    out.single("changes_merged_total", "counter", help, totals.merged);
    let help = "Changes that took back what was pending, so that nobody is told.";
    out.single("changes_cancelled_total", "counter", help, totals.cancelled);
}

fn pushing(out: &mut Exposition, Sources { status, totals, now, .. }: &Sources<'_>) {
    let scheduler = &status.scheduler;
    out.metric("scheduler_state", "gauge", "1 for the state that the scheduler is in.");
    for phase in [Phase::Idle, Phase::Waiting, Phase::Pushing, Phase::Cooldown, Phase::Paused] {
        let current = u8::from(scheduler.state == Some(phase));
        out.sample("scheduler_state", &[("state", phase.label())], current);
    }
    let known = u8::from(scheduler.available.is_some());
    out.single("availability_known", "gauge", "1 if it is known how many slots are free.", known);
    out.metric("available_slots", "gauge", "Free slots at the last poll; absent if unknown.");
    if let Some(available) = scheduler.available {
        out.sample("available_slots", &[], available);
    }
    out.single("required_slots", "gauge", "Free slots that a push needs.", scheduler.min_available);
    out.metric("availability_polls_total", "counter", "Polls of the availability by outcome: ok, or an error.");
    for (outcome, count) in &totals.availability_polls {
        out.sample("availability_polls_total", &[("outcome", outcome)], count);
    }
    out.metric("pending_changes", "gauge", "Projections whose latest value a receiver does not know.");
    for receiver in &status.receivers {
        out.sample("pending_changes", &[("receiver", receiver.receiver.as_str())], receiver.pending);
    }
    out.metric("oldest_pending_age_seconds", "gauge", "How long the oldest change has been pending; 0 for none.");
    for receiver in &status.receivers {
        let age = receiver.oldest_pending_at.map_or(0.0, |at| now.since(at).as_secs_f64());
        out.sample("oldest_pending_age_seconds", &[("receiver", receiver.receiver.as_str())], age);
    }
    out.metric("deliveries_total", "counter", "Pushes that ended, by receiver and outcome.");
    for ((receiver, outcome), count) in &totals.deliveries {
        let outcome = match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
            Outcome::Skipped => "skipped",
        };
        out.sample("deliveries_total", &[("receiver", receiver.as_str()), ("outcome", outcome)], count);
    }
    out.metric("delivery_retries_total", "counter", "Pushes of a batch that had been pushed before, by receiver.");
    for (receiver, count) in &totals.retries {
        out.sample("delivery_retries_total", &[("receiver", receiver.as_str())], count);
    }
}

fn storing(out: &mut Exposition, Sources { totals, .. }: &Sources<'_>) {
    let help = "How long commits to the store took until they were durable.";
    out.histogram("store_commit_duration_seconds", help, &totals.commits);
    out.metric("store_commit_failures_total", "counter", "Commits that failed, by error.");
    for (error, count) in &totals.commit_failures {
        out.sample("store_commit_failures_total", &[("error", error)], count);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::testing, *};

    fn metrics(status: &Status, totals: &Totals) -> String {
        let now = Timestamp::from_millis(10_000);
        let started_at = Timestamp::from_millis(1_500);
        text(&Sources { status, totals, conditions: &[], now, started_at, event_streams: 2 })
    }

    #[test]
    fn label_values_are_escaped_so_that_no_receiver_can_forge_a_line() {
        let hostile = "a\"} 1\nforged{b=\"\\";
        let status = Status { receivers: vec![testing::receiver(hostile)], ..Status::default() };
        let text = metrics(&status, &Totals::default());
        assert!(text.contains(r#"pending_changes{receiver="a\"} 1\nforged{b=\"\\"} 0"#), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("forged")));
    }

    #[test]
    fn every_sample_has_help_and_type_before_it() {
        let mut totals = Totals::default();
        totals.polls.insert("changed", 3);
        let text = metrics(&Status::default(), &totals);
        let mut described = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                described.push(rest.split(' ').next().unwrap_or_default().to_owned());
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                let family = described.last().expect("a type before the first sample");
                assert!(name.starts_with(family.as_str()), "{line} after {family}");
            }
        }
        assert!(text.contains("ograph_dispatcher_polls_total{outcome=\"changed\"} 3\n"));
        assert!(text.contains("ograph_dispatcher_start_time_seconds 1.5\n"));
    }

    #[test]
    fn the_dashboard_asks_for_metrics_that_exist() {
        let text = metrics(&Status::default(), &Totals::default());
        let dashboard = include_str!("../../config/grafana-dashboard.json");
        for part in dashboard.split("ograph_dispatcher_").skip(1) {
            let name = part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(text.contains(&format!("# TYPE ograph_dispatcher_{family} ")), "{name}");
        }
    }

    #[test]
    fn buckets_add_up() {
        let mut totals = Totals::default();
        totals.commits.counts[0] = 2;
        totals.commits.counts[3] = 1;
        totals.commits.counts[12] = 1;
        totals.commits.sum = Duration::from_millis(1_250);
        let text = metrics(&Status::default(), &totals);
        let bucket = |le: &str| format!("store_commit_duration_seconds_bucket{{le=\"{le}\"}}");
        for (le, count) in [("0.001", 2), ("0.005", 2), ("0.01", 3), ("30", 3), ("+Inf", 4)] {
            assert!(text.contains(&format!("{} {count}\n", bucket(le))), "{le}: {text}");
        }
        assert!(text.contains("store_commit_duration_seconds_sum 1.25\n"));
        assert!(text.contains("store_commit_duration_seconds_count 4\n"));
    }
}
