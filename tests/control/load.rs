//! A busy control server and clients that do not listen change nothing for the job.

use std::{sync::mpsc, thread, time::Duration};

use serde_json::json;

use crate::support::{Client, Job, Response, now};

/// A push must not take longer than this, also while the control server is busy. It takes some 100 ms.
const PROMPT: Duration = Duration::from_secs(5);

#[test]
fn a_thousand_status_requests_and_listeners_that_read_nothing_do_not_delay_a_push() {
    let job = Job::new([("board", json!(0))]).with_control();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    // They ask for everything and never read it.
    let stalled: Vec<_> = (0..20).map(|_| client.open("GET", "/v1/events", &client.usual(), b"")).collect();
    let (told, statuses) = mpsc::channel();
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (client, told) = (client.clone(), told.clone());
            thread::spawn(move || {
                for _ in 0..250 {
                    told.send(client.get("/v1/status")).expect("the test waits for all of them");
                }
            })
        })
        .collect();
    drop(told);
    for value in 1..=5 {
        let start = now();
        job.ograph.set("board", &json!(value));
        job.wait_for_documents(value);
        assert!(start.elapsed() < PROMPT, "push {value} took {:?}", start.elapsed());
    }
    let answers: Vec<Response> = statuses.iter().collect();
    assert_eq!(answers.len(), 1_000);
    assert!(answers.iter().all(|answer| answer.status == 200));
    for thread in asking {
        thread.join().expect("a thread that asks");
    }
    drop(stalled);
}

#[test]
fn too_many_listeners_are_refused_and_places_become_free_again() {
    let job = Job::new([("board", json!(0))]).with_control();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    let listening: Vec<_> = (0..64).map(|_| client.listen(None)).collect();
    let refused = client.get("/v1/events");
    assert_eq!((refused.status, refused.header("content-type")), (503, Some("application/problem+json")));
    assert!(client.get("/metrics").text().contains("ograph_dispatcher_event_streams 64\n"));
    drop(listening);
    crate::support::wait_until(crate::support::DEADLINE, "places are free again", || {
        // Somebody who is gone is noticed at the next event.
        job.ograph.set("board", &json!(now().elapsed().as_nanos().to_string()));
        client.get("/metrics").text().contains("ograph_dispatcher_event_streams 0\n")
    });
}
