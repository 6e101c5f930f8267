//! The sandbox's story: an agent's task board that changes while OpenClaw is busy now and then.
//!
//! A cycle of 42 seconds shows what the dispatcher is for, and then repeats with other tasks and people:
//!
//! | Second | Scene |
//! |---|---|
//! | 0 | nothing happens: the baseline is no news |
//! | 4 | a task changes, and is pushed |
//! | 7.5 | another one changes during the cooldown of that push |
//! | 15 | OpenClaw is busy; several changes merge; one task is only written in another order; at 24 there is room again |
//! | 27 | OpenClaw is busy; a change is taken back before there is room: nothing is left to tell |
//! | 35 | a task appears, another one is gone |
//!
//! The times fit a watcher that polls every 2 s (500 ms while something happens), a scheduler with the same pace and a
//! cooldown of 6 s. The story is data and knows no clock: the same seed tells the same story.

use std::{convert::Infallible, time::Duration};

use serde_json::{Value, json};

use super::{ograph::OGraphStandIn, openclaw::OpenClawStandIn};

/// A projection that the story never touches: it is there for whoever wants to `PUT` something.
pub(crate) const PLAYGROUND: &str = "playground";
/// How many slots the story's OpenClaw has.
pub(crate) const SLOTS: u64 = 4;
/// How long one cycle lasts.
pub(crate) const CYCLE: Duration = Duration::from_secs(42);

const AGENTS: [&str; 4] = ["mira", "otto", "juno", "theo"];
const PRIORITIES: [&str; 4] = ["low", "normal", "high", "urgent"];
/// The way of a task; after `done` it is reopened.
const STATUSES: [&str; 5] = ["backlog", "todo", "in_progress", "review", "done"];
const TITLES: [(u32, &str); 6] = [
    (7, "Answer the customer about the March invoice"),
    (9, "Fix the flaky login test"),
    (12, "Write the release notes"),
    (15, "Find out why search is slow"),
    (18, "Rotate the signing keys"),
    (21, "Draft the onboarding guide"),
];

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// When, counted from the start of the cycle.
    pub(crate) at: Duration,
    /// What.
    pub(crate) what: Action,
    /// The same in words, for the person who watches.
    pub(crate) narration: String,
}

/// What a step does to the stand-ins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Sets a projection.
    Put {
        /// `name?param=value`.
        projection: String,
        /// Its value from now on.
        value: Value,
    },
    /// Removes a projection.
    Remove {
        /// `name?param=value`.
        projection: String,
    },
    /// Fills so many of OpenClaw's slots.
    Busy(u64),
}

/// The story from a seed on: what the board looks like, and what happens next.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    random: Random,
    /// The tasks that are there the whole time.
    residents: Vec<Task>,
    /// On the board or not: one of the guests is, and they take turns.
    present: Task,
    absent: Task,
}

#[derive(Clone, Debug)]
struct Task {
    id: u32,
    title: &'static str,
    status: usize,
    assignee: &'static str,
    priority: &'static str,
    /// Whether its members are written in reverse order.
    backwards: bool,
}

impl Story {
    /// The story with this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let [present, absent, residents @ ..] = TITLES.map(|(id, title)| Task {
            id,
            title,
            // Never `done`, so that no cycle starts with a reopened task.
            status: random.below(STATUSES.len() - 1),
            assignee: random.pick(&AGENTS),
            priority: random.pick(&PRIORITIES),
            backwards: false,
        });
        Self { random, residents: residents.into(), present, absent }
    }

    /// The projections to watch, also those that have no value yet.
    pub(crate) fn projections() -> Vec<String> {
        TITLES.iter().map(|(id, _)| projection(*id)).chain([PLAYGROUND.to_owned()]).collect()
    }

    /// What must be there before the dispatcher looks for the first time: the baseline.
    pub(crate) fn opening(&self) -> Vec<Action> {
        let mut actions: Vec<_> = self.residents.iter().chain([&self.present]).map(Task::put).collect();
        actions.push(Action::Put { projection: PLAYGROUND.to_owned(), value: json!({}) });
        actions.push(Action::Busy(1));
        actions
    }

    /// What happens in the next cycle, in order of time.
    pub(crate) fn next_cycle(&mut self) -> Vec<Step> {
        let random = &mut self.random;
        random.shuffle(&mut self.residents);
        let [first, second, third, rewritten] = &mut self.residents[..] else { return Vec::new() };
        let mut steps = Vec::new();
        let mut at = |millis: u64, what: Action, narration: String| {
            steps.push(Step { at: Duration::from_millis(millis), what, narration });
        };

        let words = first.advance();
        at(4_000, first.put(), format!("OGraph: {words}"));
        let words = second.hand_over(random);
        at(7_500, second.put(), format!("OGraph: {words}, soon after a push"));

        let busy = 3 + random.below(2) as u64;
        at(15_000, Action::Busy(busy), format!("OpenClaw: {}", slots(busy)));
        let words = first.advance();
        at(16_000, first.put(), format!("OGraph: {words}"));
        let words = third.reprioritise(random);
        at(17_500, third.put(), format!("OGraph: {words}"));
        let words = first.hand_over(random);
        at(19_000, first.put(), format!("OGraph: {words}"));
        let words = first.advance();
        at(20_500, first.put(), format!("OGraph: {words}; that makes three changes of one task"));
        rewritten.backwards = !rewritten.backwards;
        at(
            22_000,
            rewritten.put(),
            format!("OGraph: task {} is written in another key order, with the same content", rewritten.id),
        );
        let free = random.below(3) as u64;
        at(24_000, Action::Busy(free), format!("OpenClaw: {}", slots(free)));

        let busy = 3 + random.below(2) as u64;
        at(27_000, Action::Busy(busy), format!("OpenClaw: {}", slots(busy)));
        let before = second.clone();
        let words = second.advance();
        at(28_000, second.put(), format!("OGraph: {words}"));
        *second = before;
        at(31_500, second.put(), format!("OGraph: no, that was a mistake: task {} is as it was", second.id));
        let free = random.below(3) as u64;
        at(33_500, Action::Busy(free), format!("OpenClaw: {}", slots(free)));

        std::mem::swap(&mut self.present, &mut self.absent);
        let (arrived, gone) = (&mut self.present, &self.absent);
        arrived.status = 1;
        arrived.assignee = random.pick(&AGENTS);
        at(
            35_000,
            arrived.put(),
            format!("OGraph: task {} \"{}\" is created for {}", arrived.id, arrived.title, arrived.assignee),
        );
        at(
            36_500,
            Action::Remove { projection: projection(gone.id) },
            format!("OGraph: task {} is archived, its projection is gone", gone.id),
        );
        steps
    }
}

/// Sets the scene: call it before the dispatcher looks for the first time.
pub(crate) fn open(story: &Story, ograph: &OGraphStandIn, openclaw: &OpenClawStandIn) {
    for action in story.opening() {
        perform(action, ograph, openclaw);
    }
}

/// Plays the story, cycle after cycle, on tokio time; `narrate` gets the words of each step just before it happens.
///
/// Never ends by itself. Cancel-safe: dropped, the stand-ins stay as they are.
pub(crate) async fn play(
    mut story: Story,
    ograph: &OGraphStandIn,
    openclaw: &OpenClawStandIn,
    mut narrate: impl FnMut(&str),
) -> Infallible {
    loop {
        let mut elapsed = Duration::ZERO;
        for Step { at, what, narration } in story.next_cycle() {
            tokio::time::sleep(at.saturating_sub(elapsed)).await;
            elapsed = at;
            narrate(&narration);
            perform(what, ograph, openclaw);
        }
        tokio::time::sleep(CYCLE.saturating_sub(elapsed)).await;
    }
}

fn perform(action: Action, ograph: &OGraphStandIn, openclaw: &OpenClawStandIn) {
    let done = match action {
        Action::Put { projection, value } => ograph.put(&projection, value).map(drop),
        // It may be gone already: the person who watches can remove it too.
        Action::Remove { projection } => ograph.remove(&projection).map(drop),
        Action::Busy(slots) => {
            openclaw.set_busy(slots);
            Ok(())
        }
    };
    done.expect("the story names its projections correctly, as its tests show");
}

fn projection(id: u32) -> String {
    format!("task?task_id={id}")
}

fn slots(busy: u64) -> String {
    match SLOTS - busy {
        0 => format!("all {SLOTS} slots are busy"),
        1 => format!("{busy} of {SLOTS} slots are busy, 1 is free"),
        free => format!("{free} of {SLOTS} slots are free"),
    }
}

impl Task {
    /// The next status, and the change in words.
    fn advance(&mut self) -> String {
        let from = STATUSES[self.status];
        self.status = if self.status + 1 == STATUSES.len() { 1 } else { self.status + 1 };
        format!("task {} \"{}\" goes from {from} to {}", self.id, self.title, STATUSES[self.status])
    }

    fn hand_over(&mut self, random: &mut Random) -> String {
        let from = self.assignee;
        self.assignee = random.pick_other(&AGENTS, from);
        format!("task {} is handed from {from} to {}", self.id, self.assignee)
    }

    fn reprioritise(&mut self, random: &mut Random) -> String {
        self.priority = random.pick_other(&PRIORITIES, self.priority);
        format!("task {} is {} now", self.id, self.priority)
    }

    fn put(&self) -> Action {
        let mut members = [
            ("id", json!(self.id)),
            ("title", json!(self.title)),
            ("status", json!(STATUSES[self.status])),
            ("assignee", json!(self.assignee)),
            ("priority", json!(self.priority)),
        ];
        if self.backwards {
            members.reverse();
        }
        let value = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Action::Put { projection: projection(self.id), value: Value::Object(value) }
    }
}

/// A small generator of numbers (SplitMix64), so that a seed tells the same story everywhere.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is above 0. (The bias of the remainder does not matter in a story.)
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn pick_other(&mut self, from: &[&'static str], not: &str) -> &'static str {
        let others: Vec<_> = from.iter().copied().filter(|name| *name != not).collect();
        self.pick(&others)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests;
