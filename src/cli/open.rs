//! `open`: the status page in a browser, without typing the token.

use std::{error::Error, fs, io::Write as _, path::Path, process::Stdio};

use clap::Args;
use serde_json::json;
use url::Url;

use super::{
    Exit, Output,
    daemon::{Address, Daemon, DaemonArgs, Local, block_on},
};
use crate::{
    config::{Environment, Flags},
    control,
};

/// In the state folder, for the daemon's owner alone.
const PAGE: &str = "open.html";

#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    /// Prints the address, which contains the token, instead of opening a browser
    #[arg(long)]
    print: bool,
    /// Prints the address, which contains the token, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// Opens the page; where there is no browser, prints its address.
///
/// The token is in the address's fragment, which browsers do not send. It is also kept from the browser's command line,
/// which every user of the machine can read: the browser is given a file that leads on to the address.
pub(super) fn open(
    args: &OpenArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    block_on(async {
        let loader = args.daemon.loader(flags, environment);
        let daemon = Daemon::named(&args.daemon, &loader)?;
        daemon.get("v1/status").await?;
        let url = page_url(&daemon.address);
        if args.json {
            output.json(&json!({"url": url.as_str()}))?;
            return Ok(Exit::Done);
        }
        let local = daemon.address.local.as_ref().filter(|_| !args.print);
        let opened = match local.zip(opener(&loader.environment)) {
            Some((Local { state_dir, .. }, opener)) => {
                let page = state_dir.join(PAGE);
                write_page(&page, &url).is_ok() && run(opener, &page).await
            }
            None => false,
        };
        if opened {
            output.line(format_args!("opened {} in the browser", daemon.address.shown()))?;
        } else {
            output.line(&url)?;
        }
        Ok(Exit::Done)
    })
}

fn page_url(address: &Address) -> Url {
    match &address.token {
        Some(token) => control::page_url(address.url.clone(), token),
        None => address.url.clone(),
    }
}

/// The program that opens files the way the user likes, if there is a screen.
fn opener(environment: &Environment) -> Option<&'static str> {
    if cfg!(target_os = "macos") {
        Some("open")
    } else if cfg!(windows) {
        Some("explorer")
    } else {
        let is_set = |name| matches!(environment.variable(name), Ok(Some(_)));
        (is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")).then_some("xdg-open")
    }
}

async fn run(opener: &str, page: &Path) -> bool {
    let mut command = tokio::process::Command::new(opener);
    command.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success() || cfg!(windows))
}

/// Writes a page that leads on to `url`, in one step and for its owner alone.
fn write_page(page: &Path, url: &Url) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".open").tempfile_in(page.parent().unwrap_or(Path::new(".")))?;
    let url = url.as_str().replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    write!(
        file,
        "<!doctype html><meta charset=\"utf-8\"><title>ograph-dispatcher</title>\
         <meta name=\"referrer\" content=\"no-referrer\"><meta http-equiv=\"refresh\" content=\"0; url={url}\">\n\
         <a href=\"{url}\">ograph-dispatcher</a>\n"
    )?;
    fs::File::sync_all(file.as_file())?;
    file.persist(page).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use ograph_dispatcher_actors::secret::Secret;

    use super::*;

    fn address(token: Option<&str>) -> Address {
        Address { url: "http://127.0.0.1:18791/".parse().unwrap(), token: token.map(Secret::new), local: None }
    }

    #[test]
    fn the_token_is_in_the_fragment_whatever_is_in_it() {
        assert_eq!(page_url(&address(None)).as_str(), "http://127.0.0.1:18791/");
        assert_eq!(page_url(&address(Some("hush"))).as_str(), "http://127.0.0.1:18791/#token=hush");
        assert_eq!(page_url(&address(Some("a&b=\"<#"))).as_str(), "http://127.0.0.1:18791/#token=a%26b%3D%22%3C%23");
    }

    #[test]
    fn the_page_that_leads_on_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join(PAGE);
        for token in ["first", "second"] {
            write_page(&page, &page_url(&address(Some(token)))).unwrap();
            assert!(
                fs::read_to_string(&page).unwrap().contains(&format!("url=http://127.0.0.1:18791/#token={token}\""))
            );
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                assert_eq!(page.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn without_a_screen_there_is_no_browser() {
        let environment =
            |name: &str| Environment { variables: [(name.into(), ":0".into())].into(), ..Environment::default() };
        if cfg!(target_os = "linux") {
            assert_eq!(opener(&environment("X")), None);
            assert_eq!(opener(&environment("DISPLAY")), Some("xdg-open"));
            assert_eq!(opener(&environment("WAYLAND_DISPLAY")), Some("xdg-open"));
        }
    }
}
