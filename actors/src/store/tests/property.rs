//! Both stores hold the same after any writes.

use proptest::prelude::*;

use super::{Harness, InFile, InMemory, samples::*};
use crate::store::{Store, Write};

const NAMES: [&str; 4] = ["a", "a?x=1", "b", "任务"];

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn any_json() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        "-?[1-9][0-9]{0,30}",
        "[0-9]\\.[0-9]{1,20}",
        "\"[a-z\u{e9}]{0,9}\"",
        "\"[a-z]{5000}\"",
        Just(r#"{"a":[1.10,{"b":null}]}"#.to_owned()),
    ]
}

fn any_write() -> impl Strategy<Value = Write> {
    let some_json = || prop::option::of(any_json());
    prop_oneof![
        (any_name(), some_json()).prop_map(|(name, json)| {
            Write::Observed(key(name), observed_state(json.and_then(|json| state(&json))))
        }),
        any_name().prop_map(|name| Write::ForgetObserved(key(name))),
        (any_name(), any_name(), prop::option::of((some_json(), any_json())), any::<bool>()).prop_map(
            |(id, name, change, doubted)| {
                let entry = change.map(|(from, to)| match from {
                    Some(from) if doubted => doubtful(&from, &to, None),
                    from => entry_between(from.and_then(|from| state(&from)), state(&to)),
                });
                Write::Entry(receiver(id), key(name), entry)
            }
        ),
        (any_name(), prop::option::of((any_name(), any_json(), any_json()))).prop_map(|(id, change)| {
            Write::Lease(receiver(id), change.map(|(name, from, to)| lease(&[(name, &from, &to)])))
        }),
        (any_name(), any::<i32>()).prop_map(|(id, until)| Write::Receiver(receiver(id), record(i64::from(until)))),
        any_name().prop_map(|id| Write::ForgetReceiver(receiver(id))),
        any::<bool>().prop_map(Write::Paused),
        (0_usize..100).prop_map(|number| Write::Delivery(delivery(number))),
    ]
}

#[derive(Clone, Debug)]
enum Action {
    Commit(Vec<Write>),
    Reopen,
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop::collection::vec(any_write(), 0..12).prop_map(Action::Commit),
        1 => Just(Action::Reopen),
    ]
}

/// How the stores show themselves to an actor.
fn seen(store: &dyn Store) -> (String, String) {
    let by_key = store.observed(&NAMES.map(key)).expect("observed values");
    (dump(store), format!("{by_key:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_hold_the_same(actions in prop::collection::vec(any_action(), 1..12)) {
        let (memory, mut file) = (InMemory::new(), InFile::new());
        for action in actions {
            match action {
                Action::Commit(writes) => {
                    memory.store().commit(&writes).expect("a commit in memory");
                    file.store().commit(&writes).expect("a commit in the file");
                }
                Action::Reopen => file.reopen(),
            }
            prop_assert_eq!(memory.store().load().expect("saved"), file.store().load().expect("saved"));
            prop_assert_eq!(seen(memory.store()), seen(file.store()));
        }
        file.reopen();
        prop_assert_eq!(seen(memory.store()), seen(file.store()));
    }
}
