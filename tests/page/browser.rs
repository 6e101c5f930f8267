//! A browser for tests: headless Chromium, steered through ChromeDriver's plain HTTP.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{DEADLINE, read_response, wait_for, wait_until};

/// A browser with one window. Dropping it closes it, and shows its console if the test is failing.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts a browser that prefers `language`, with nothing stored.
    pub(crate) fn start(language: &str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (see tests/page/run.sh)");
        let said = BufReader::new(driver.stdout.take().expect("piped"));
        let port = said.lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut browser = Self { driver, port: port.expect("chromedriver says its port"), session: String::new() };
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
            &format!("--lang={language}"),
        ];
        let options = json!({"args": arguments, "prefs": {"intl.accept_languages": language}});
        let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let created = browser.command("POST", "/session", &json!({"capabilities": {"alwaysMatch": wanted}}));
        browser.session = created["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("chromedriver reads");
        // It keeps the connection, so the answer ends where it says.
        let answer = read_response(&mut BufReader::new(stream));
        let value = answer.json();
        assert_eq!(answer.status, 200, "{method} {path}: {value}");
        value["value"].clone()
    }

    #[track_caller]
    fn in_session(&self, path: &str, body: &Value) -> Value {
        self.command("POST", &format!("/session/{}{path}", self.session), body)
    }

    /// Opens a page.
    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.in_session("/url", &json!({ "url": url }));
    }

    /// What `script` returns, run in the page.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.in_session("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text that a person sees in the element.
    #[track_caller]
    pub(crate) fn text(&self, id: &str) -> String {
        self.run(&format!("return document.getElementById('{id}').innerText")).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a person sees `text` in the element.
    #[track_caller]
    pub(crate) fn wait_for_text(&self, id: &str, text: &str) {
        let found = |browser: &Self| browser.text(id).contains(text);
        if !found(self) {
            wait_for(DEADLINE, &format!("{text:?} in #{id}"), || found(self).then_some(()));
        }
    }

    /// Clicks on the element as a person would: it must be there, visible and not covered.
    #[track_caller]
    pub(crate) fn click(&self, id: &str) {
        let found = self.in_session("/element", &json!({"using": "css selector", "value": format!("#{id}")}));
        let element = found.as_object().and_then(|it| it.values().next()).and_then(Value::as_str).expect("an element");
        self.in_session(&format!("/element/{element}/click"), &json!({}));
    }

    /// Presses keys, one after the other, wherever the focus is.
    #[track_caller]
    pub(crate) fn press(&self, keys: &[&str]) {
        let press = |key: &&str| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let actions: Vec<_> = keys.iter().flat_map(press).collect();
        self.in_session("/actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Gives the page this many CSS pixels, and dark or light colours.
    #[track_caller]
    pub(crate) fn show_as(&self, width: u32, dark: bool) {
        let device = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &device);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    #[track_caller]
    fn devtools(&self, command: &str, params: &Value) -> Value {
        self.in_session("/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    /// What the page and the browser have complained about since the last time.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.in_session("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Asserts that nothing was complained about: no error in the script, nothing that the policy had to forbid.
    #[track_caller]
    pub(crate) fn assert_no_complaints(&self) {
        assert_eq!(self.complaints(), Vec::<String>::new());
    }
}

impl Drop for Browser {
    #[expect(clippy::print_stderr, reason = "the test harness shows it for tests that failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The state of the page says most about why a test failed.
            let session = self.session.clone();
            let text = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let text = self.run("return document.body.innerText");
                format!("{}\n{:#?}", text.as_str().unwrap_or_default(), self.complaints())
            }));
            eprintln!("--- the page of session {session} ---\n{}\n---", text.unwrap_or_default());
        } else {
            self.command("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        // The only error is that it has ended already.
        let _killed = self.driver.kill();
        let _status = self.driver.wait();
    }
}

/// Waits until `script` returns true in the page.
#[track_caller]
pub(crate) fn wait_for_page(browser: &Browser, what: &str, script: &str) {
    wait_until(DEADLINE, what, || browser.run(script) == true);
}
