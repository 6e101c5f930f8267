//! Many projections, and one that spoils nothing for the others.

use std::time::Duration;

use serde_json::json;

use crate::support::{DEADLINE, Job, Reply, change_of, keys, now};

#[test]
fn two_hundred_projections_are_not_delayed_by_one_that_hangs() {
    let names: Vec<_> = (0..200).map(|id| format!("task?task_id={id}")).collect();
    let mut job = Job::new(names.iter().map(|name| (name.as_str(), json!({"status": "todo"}))));
    let timeout = Duration::from_secs(60);
    job.setup.config["ograph"]["timeout"] = json!(60_000);
    job.setup.config["intervals"]["watcherIdle"] = json!(500);
    job.setup.config["intervals"]["watcherActive"] = json!(250);
    let _daemon = job.start();

    let (silent, changed) = (names[0].as_str(), names[150].as_str());
    job.ograph.fault(silent, Reply::Hang);
    crate::support::wait_until(DEADLINE, "the poll hangs", || job.ograph.unanswered(silent) == 1);
    let start = now();
    job.ograph.set(changed, &json!({"status": "done"}));
    let document = job.wait_for_documents(1).remove(0);
    assert_eq!(keys(&document), [changed]);
    assert_eq!(change_of(&document, changed)["new"], json!({"status": "done"}));
    assert_eq!(job.ograph.unanswered(silent), 1, "delivered while the one still hangs");
    assert!(start.elapsed() < timeout / 6, "it took {:?}", start.elapsed());

    let others: Vec<_> = names[1..].iter().map(String::as_str).collect();
    job.ograph.wait_for_polls(&others, 3, DEADLINE);
    assert_eq!(job.ograph.unanswered(silent), 1, "all others were polled again and again meanwhile");
    let overlapping = job.ograph.overlapping();
    assert!(
        overlapping.is_empty(),
        "polled twice at once: {:?}",
        overlapping.iter().map(|r| &r.target).collect::<Vec<_>>()
    );
    job.assert_nothing_is_pending();
}
