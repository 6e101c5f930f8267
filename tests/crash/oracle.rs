//! What must hold, whatever happened. Only what the daemon said and was told counts, never what it has in store.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::world::{COOLDOWN, Delivery, PROJECTIONS, State, World};

/// How long a decision may take to become a lease, in ms, on a machine whose disk is busy: meanwhile the next answer may
/// have come, and the cooldown counts from the decision.
const LATENCY: i64 = 400;

/// Whether everybody knows what is true.
pub(crate) fn is_settled(world: &World) -> bool {
    unsettled(world).is_empty()
}

/// Everything that is not as it must be, in words.
pub(crate) fn complaints(world: &World) -> Vec<String> {
    let mut complaints = unsettled(world);
    let inbox = world.inbox();
    let file = world.file();
    let state = world.state();
    let posted = state.deliveries.iter().map(|delivery| (delivery.receiver, &delivery.document));
    let commanded = inbox.iter().map(|document| ("command", document));
    let all: Vec<_> = posted.chain(commanded).chain(file.iter().map(|document| ("file", document))).collect();
    complaints.extend(invented(&state, &all));
    complaints.extend(ambiguous(&all));
    complaints.extend(out_of_turn(&state));
    complaints
}

/// One line about what this run has seen.
pub(crate) fn figures(world: &World, kills: u64) -> String {
    let commands = world.inbox().len();
    let state = world.state();
    let mut seen = BTreeMap::<(&str, &str), usize>::new();
    for delivery in &state.deliveries {
        *seen.entry((delivery.receiver, id(&delivery.document))).or_default() += 1;
    }
    format!(
        "{kills} kills: {} values observed, {} deliveries over HTTP of which {} repeat a batch, {commands} to the \
         command, {} answers about room, {} flushes; nothing lost",
        state.values.values().map(|track| track.served.len()).sum::<usize>(),
        state.deliveries.len(),
        seen.values().map(|times| times - 1).sum::<usize>(),
        state.answers.len(),
        state.flushes.len(),
    )
}

/// Every receiver's last told value is the last observed one, or it never needed telling.
///
/// This is asked again and again while the dust settles, so it looks at the newest documents only, and holds up the
/// world no longer than it must: the daemon waits for it.
fn unsettled(world: &World) -> Vec<String> {
    let in_command = last_told(world.newest_in_inbox());
    let state = world.state();
    let taken = |name| {
        let mine = state.deliveries.iter().rev().filter(move |delivery| delivery.receiver == name && delivery.taken);
        last_told(mine.map(|delivery| &delivery.document))
    };
    let mut complaints = Vec::new();
    for (receiver, told) in [("plugin", taken("plugin")), ("webhook", taken("webhook")), ("command", in_command)] {
        for (name, track) in &state.values {
            let told = told.get(name).unwrap_or(&track.baseline);
            if *told != track.current {
                complaints.push(format!("{receiver} was last told that {name} is {told}, but it is {}", track.current));
            }
        }
    }
    complaints
}

/// What the documents, newest first, tell of each projection.
fn last_told(documents: impl Iterator<Item = impl std::borrow::Borrow<Value>>) -> HashMap<String, Value> {
    let mut told = HashMap::new();
    for document in documents {
        for change in changes(document.borrow()) {
            let name = change["projection"].as_str().unwrap_or_default();
            told.entry(name.to_owned()).or_insert_with(|| change["new"].clone());
        }
        if told.len() == PROJECTIONS.len() {
            break;
        }
    }
    told
}

/// Nothing is told that was never observed.
fn invented(state: &State, all: &[(&str, &Value)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (receiver, document) in all {
        for change in changes(document) {
            let name = change["projection"].as_str().unwrap_or_default();
            for side in ["old", "new"] {
                let known = state.values.get(name).is_some_and(|track| track.served.contains(&change[side]));
                if !known {
                    let value = &change[side];
                    complaints
                        .push(format!("{receiver} was told of {name}: {side} is {value}, which was never observed"));
                }
            }
        }
    }
    complaints
}

/// One id, one content; and the other way round for each receiver.
fn ambiguous(all: &[(&str, &Value)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut contents = HashMap::<&str, &Value>::new();
    let mut ids = HashMap::<(&str, String), &str>::new();
    for (receiver, document) in all {
        let content = *contents.entry(id(document)).or_insert(document);
        if content != *document {
            complaints
                .push(format!("batch {} has two contents: {content} and for {receiver} {document}", id(document)));
        }
        let first = *ids.entry((receiver, document["changes"].to_string())).or_insert(id(document));
        if first != id(document) {
            complaints.push(format!(
                "{receiver} got {} under two ids, {first} and {}",
                document["changes"],
                id(document)
            ));
        }
    }
    complaints
}

/// Never without room, never in cooldown, unless it was asked for.
fn out_of_turn(state: &State) -> Vec<String> {
    let cooldown = i64::try_from(COOLDOWN.as_millis()).unwrap_or(i64::MAX);
    let mut complaints = Vec::new();
    // And whether it repeated an earlier one.
    let mut previous = HashMap::<&str, (&Delivery, bool)>::new();
    for (index, delivery) in state.deliveries.iter().enumerate() {
        let Delivery { receiver, life, .. } = delivery;
        let last = previous.get(receiver).copied();
        // Also one that was leased in an earlier life, which did not come to deliver it.
        let repeats = created(delivery) < state.births[*life]
            || last.is_some_and(|(last, _)| id(&last.document) == id(&delivery.document));
        previous.insert(receiver, (delivery, repeats));
        if state.flushes.get(life).is_some_and(|from| index >= *from) {
            continue;
        }
        let batch = id(&delivery.document);
        let leased = if repeats { delivery.at } else { created(delivery) };
        let until = state.answers.partition_point(|answer| answer.at <= leased);
        let answers = || state.answers[..until].iter().rev().take_while(|answer| answer.life == *life);
        let room = answers().find(|answer| answer.enough || answer.at < leased - LATENCY);
        if !room.is_some_and(|answer| answer.enough) {
            let last: Vec<_> = answers().take(5).map(|answer| (answer.at - leased, answer.enough)).collect();
            complaints.push(format!(
                "{receiver} was pushed to without room: batch {batch} in life {life} (repeated: {repeats}); the last \
                 answers before that, in ms, and whether they had room: {last:?}"
            ));
        }
        let Some((last, again)) = last.filter(|(last, _)| !repeats && !last.refused) else { continue };
        // One that was repeated began to cool down when it was repeated.
        let apart = created(delivery) - if again { last.at } else { created(last) };
        if apart < cooldown - LATENCY {
            let before = id(&last.document);
            complaints.push(format!(
                "{receiver} was pushed to in cooldown: batch {batch} was created {apart} ms after {before} (repeated: \
                 {again})"
            ));
        }
    }
    complaints
}

fn changes(document: &Value) -> &[Value] {
    document["changes"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn id(document: &Value) -> &str {
    document["batchId"].as_str().unwrap_or_default()
}

/// When the batch was leased, in milliseconds since 1970.
fn created(delivery: &Delivery) -> i64 {
    let text = delivery.document["createdAt"].as_str().unwrap_or_default();
    text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond)
}
