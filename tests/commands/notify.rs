//! What systemd hears of the daemon.

use std::{os::unix::net::UnixDatagram, time::Duration};

use serde_json::json;

use crate::support::{DEADLINE, Job, Signal, now, observe_for, wait_for};

/// Everything that was sent so far.
struct Notified {
    socket: UnixDatagram,
    messages: Vec<String>,
}

impl Notified {
    fn by(job: &mut Job) -> Self {
        let path = job.setup.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let path = path.to_str().expect("UTF-8").to_owned();
        job.setup.env.push(("NOTIFY_SOCKET".to_owned(), path));
        Self { socket, messages: Vec::new() }
    }

    fn look(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        &self.messages
    }

    /// The index of the first message that starts like this, at or after another.
    #[track_caller]
    fn wait(&mut self, start: &str, after: usize) -> usize {
        wait_for(DEADLINE, start, || {
            let found = self.look().iter().skip(after).position(|message| message.starts_with(start));
            found.map(|found| found + after)
        })
    }

    fn count(&mut self, message: &str) -> usize {
        self.look().iter().filter(|there| *there == message).count()
    }
}

#[test]
fn a_service_is_ready_reloads_and_stops_and_says_where_it_stands() {
    let mut job = Job::new([("board", json!(1))]);
    let mut systemd = Notified::by(&mut job);
    let daemon = job.setup.start();
    let ready = systemd.wait("READY=1", 0);
    systemd.wait("STATUS=", 0);
    daemon.signal(Signal::HUP);
    let reloading = systemd.wait("RELOADING=1\nMONOTONIC_USEC=", ready + 1);
    let reloaded = systemd.wait("READY=1", reloading + 1);
    job.openclaw.set_available(0);
    job.change("board", &json!(2));
    let waiting = systemd.wait("STATUS=waiting", 0);
    assert!(systemd.messages[waiting].contains("0 of 2"), "{}", systemd.messages[waiting]);
    daemon.terminate();
    systemd.wait("STOPPING=1", reloaded + 1);
    assert_eq!(systemd.count("WATCHDOG=1"), 0, "nobody asked for it");
}

#[test]
fn a_reload_that_fails_ends_as_well() {
    let mut job = Job::new([("board", json!(1))]);
    let mut systemd = Notified::by(&mut job);
    let daemon = job.setup.start();
    let ready = systemd.wait("READY=1", 0);
    std::fs::write(job.setup.path("dispatcher.json"), "{").expect("a file");
    daemon.signal(Signal::HUP);
    let reloading = systemd.wait("RELOADING=1", ready + 1);
    systemd.wait("READY=1", reloading + 1);
}

#[test]
fn signs_of_life_come_while_all_is_well_and_not_while_the_process_stands_still() {
    let mut job = Job::new([("board", json!(1))]);
    let mut systemd = Notified::by(&mut job);
    job.setup.env.push(("WATCHDOG_USEC".to_owned(), "200000".to_owned()));
    let daemon = job.setup.start();
    let start = now();
    wait_for(DEADLINE, "three signs of life", || (systemd.count("WATCHDOG=1") >= 3).then_some(()));
    assert!(start.elapsed() >= Duration::from_millis(200), "they come at half of the time allowed");
    daemon.signal(Signal::STOP);
    // What was on its way when the signal came.
    observe_for(Duration::from_millis(100));
    let before = systemd.count("WATCHDOG=1");
    observe_for(Duration::from_secs(1));
    assert_eq!(systemd.count("WATCHDOG=1"), before);
    daemon.signal(Signal::CONT);
    wait_for(DEADLINE, "it lives again", || (systemd.count("WATCHDOG=1") > before).then_some(()));
}
