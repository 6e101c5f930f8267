//! Tells what happens, a line for every turn of the story.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use ograph_dispatcher_actors::{
    clock::Clock,
    events::{Event, EventRecord, PendingEffect},
    model::{document::ChangeKind, schedule::Phase},
    store::Outcome,
};

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// Writes lines with their time, and counts what the summary needs.
pub(super) struct Teller {
    clock: Arc<dyn Clock>,
    start: Duration,
    colour: bool,
    counts: Counts,
    /// The last thing said of the scheduler, not to be said twice.
    standing: Option<Phase>,
}

#[derive(Default)]
struct Counts {
    noticed: usize,
    merged: usize,
    cancelled: usize,
    pushes: usize,
    delivered: BTreeMap<String, usize>,
    failed: usize,
}

impl Teller {
    pub(super) fn new(clock: Arc<dyn Clock>, colour: bool) -> Self {
        let start = clock.now().mono;
        Self { clock, start, colour, counts: Counts::default(), standing: None }
    }

    /// A line of the story itself.
    pub(super) fn narrate(&self, out: &mut dyn Write, line: &str) -> io::Result<()> {
        self.line(out, BOLD, line)
    }

    /// What the dispatcher made of it.
    pub(super) fn report(&mut self, out: &mut dyn Write, records: &[Arc<EventRecord>]) -> io::Result<()> {
        let baselines = records.iter().filter(|record| matches!(record.event, Event::Baseline { .. })).count();
        if baselines > 0 {
            let what = if baselines == 1 { "1 projection is" } else { &format!("{baselines} projections are") };
            self.line(out, DIM, &format!("  {what} seen for the first time: the baseline, no news"))?;
        }
        let mut pushed_to: Vec<(String, Vec<String>)> = Vec::new();
        for record in records {
            if let Event::Pushing { receiver, projections, .. } = &record.event {
                let names = projections.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                match pushed_to.iter_mut().find(|(told, _)| *told == names) {
                    Some((_, receivers)) => receivers.push(receiver.to_string()),
                    None => pushed_to.push((names, vec![receiver.to_string()])),
                }
            }
        }
        for record in records {
            if let Some(text) = self.words(&record.event) {
                self.line(out, DIM, &text)?;
            }
        }
        for (names, receivers) in pushed_to {
            self.counts.pushes += 1;
            self.line(out, DIM, &format!("  pushes {names} to {}", receivers.join(" and ")))?;
        }
        out.flush()
    }

    /// What an event is worth saying.
    fn words(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Changed { projection, kind, effect } => {
                self.counts.noticed += 1;
                let what = match kind {
                    ChangeKind::Changed => "has changed",
                    ChangeKind::Appeared => "has appeared",
                    ChangeKind::Removed => "stayed away and counts as removed",
                };
                let so = match effect {
                    PendingEffect::Added => "pending",
                    PendingEffect::Merged => {
                        self.counts.merged += 1;
                        "merged with the change that is pending"
                    }
                    PendingEffect::Cancelled => {
                        self.counts.cancelled += 1;
                        "back to what everybody knows: nothing to tell"
                    }
                };
                Some(format!("  {projection} {what}: {so}"))
            }
            Event::Standing { phase, reason } => {
                let news = self.standing.replace(*phase) != Some(*phase);
                let worth = match phase {
                    Phase::Waiting => "waits",
                    Phase::Cooldown => "rests",
                    Phase::Idle | Phase::Pushing | Phase::Paused => return None,
                };
                news.then(|| format!("  {worth}: {reason}"))
            }
            Event::Pushed { receiver, outcome: Outcome::Delivered, .. } => {
                *self.counts.delivered.entry(receiver.to_string()).or_default() += 1;
                None
            }
            Event::Pushed { receiver, detail, .. } => {
                self.counts.failed += 1;
                Some(format!("  {receiver} failed: {detail}"))
            }
            Event::PollFailing { projection, message, .. } => {
                Some(format!("  {projection} cannot be polled: {message}"))
            }
            Event::Restarted { actor, panic } => Some(format!("  the {actor} panicked and is restarted: {panic}")),
            _ => None,
        }
    }

    /// What came of it all; `told` is what OpenClaw really got.
    pub(super) fn summarise(&self, out: &mut dyn Write, told: usize) -> io::Result<()> {
        let Counts { noticed, merged, cancelled, pushes, delivered, failed } = &self.counts;
        writeln!(out)?;
        writeln!(out, "Summary: {noticed} changes noticed ({merged} merged, {cancelled} undone), {pushes} pushes")?;
        for (receiver, batches) in delivered {
            writeln!(out, "  {receiver}: {batches} batches delivered")?;
        }
        if *failed > 0 {
            writeln!(out, "  {failed} attempts failed")?;
        }
        writeln!(out, "  OpenClaw was disturbed {told} times instead of {noticed} times")?;
        out.flush()
    }

    fn line(&self, out: &mut dyn Write, style: &str, text: &str) -> io::Result<()> {
        let seconds = self.clock.now().mono.saturating_sub(self.start).as_secs_f64();
        if self.colour {
            writeln!(out, "{DIM}{seconds:6.1} s{RESET}  {style}{text}{RESET}")?;
        } else {
            writeln!(out, "{seconds:6.1} s  {text}")?;
        }
        out.flush()
    }
}
