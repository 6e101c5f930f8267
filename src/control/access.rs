//! Who may talk to the control server: the token, the key of the webhook, and the `Host` that a request must name.

use std::{fmt, net::IpAddr};

use actix_web::http::{Uri, uri::Authority};
use ograph_dispatcher_actors::secret::Secret;
use ring::hmac;

use crate::config::Listen;

/// Separates the webhook's key from everything else that is derived from the token.
const HOOK_PURPOSE: &[u8] = b"ograph-dispatcher webhook key v1";

/// The token, kept in a form that is compared in constant time.
pub(super) struct Gate {
    key: hmac::Key,
    token: hmac::Tag,
    hook: hmac::Tag,
    hook_key: String,
}

impl Gate {
    pub(super) fn new(token: &Secret) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.expose().as_bytes());
        let hook_key: String =
            hmac::sign(&key, HOOK_PURPOSE).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self {
            token: hmac::sign(&key, token.expose().as_bytes()),
            hook: hmac::sign(&key, hook_key.as_bytes()),
            key,
            hook_key,
        }
    }

    /// Whether an `Authorization` header carries the token.
    pub(super) fn admits(&self, authorization: Option<&str>) -> bool {
        authorization
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .is_some_and(|(_, given)| hmac::verify(&self.key, given.trim().as_bytes(), self.token.as_ref()).is_ok())
    }

    /// Whether a query carries the webhook's key, which opens nothing but the webhook.
    pub(super) fn admits_hook(&self, query: &str) -> bool {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("key="))
            .is_some_and(|given| hmac::verify(&self.key, given.as_bytes(), self.hook.as_ref()).is_ok())
    }

    /// The webhook's key: OGraph can be given a URL, but no header.
    pub(super) fn hook_key(&self) -> &str {
        &self.hook_key
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate(…)")
    }
}

/// The hosts that a request may be addressed to. A page from elsewhere whose name was bent to this machine (DNS
/// rebinding) still sends its own name.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    port: u16,
    /// The host that is configured, in lower case.
    configured: String,
    /// Whether only this machine can connect.
    loopback: bool,
}

impl Hosts {
    /// The hosts of a listener that got this port.
    pub(super) fn new(listen: &Listen, port: u16) -> Self {
        Self { port, configured: listen.host.to_ascii_lowercase(), loopback: listen.is_loopback() }
    }

    /// Whether a request with these `Host` headers and this target is meant for us.
    pub(super) fn admit<'h>(&self, mut headers: impl Iterator<Item = Option<&'h str>>, target: &Uri) -> bool {
        let (Some(Some(host)), None) = (headers.next(), headers.next()) else { return false };
        let named = host.parse::<Authority>().is_ok_and(|host| self.is_ours(&host));
        named && target.authority().is_none_or(|authority| self.is_ours(authority))
    }

    fn is_ours(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') || authority.port_u16().unwrap_or(80) != self.port {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        if host == "localhost" || host == self.configured {
            return true;
        }
        // An address cannot be bent to another machine; on loopback only loopback addresses make sense.
        host.parse::<IpAddr>().is_ok_and(|address| !self.loopback || address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(host: &str) -> Listen {
        Listen { host: host.to_owned(), port: 0 }
    }

    fn admits(hosts: &Hosts, host: &str) -> bool {
        hosts.admit([Some(host)].into_iter(), &Uri::from_static("/v1/status"))
    }

    #[test]
    fn only_the_listeners_address_and_localhost_are_hosts_of_a_loopback_listener() {
        let hosts = Hosts::new(&listen("127.0.0.1"), 18791);
        for host in ["127.0.0.1:18791", "localhost:18791", "LOCALHOST:18791", "[::1]:18791"] {
            assert!(admits(&hosts, host), "{host}");
        }
        for host in [
            "evil.example:18791",
            "127.0.0.1",
            "127.0.0.1:1",
            "localhost.evil.example:18791",
            "127.0.0.1.evil.example:18791",
            "192.168.1.5:18791",
            "user@localhost:18791",
            "localhost:18791:18791",
            "",
            " ",
            "[::1",
            "localhost:99999",
        ] {
            assert!(!admits(&hosts, host), "{host}");
        }
    }

    #[test]
    fn an_open_listener_is_named_by_any_address_or_by_its_name_but_by_no_other_name() {
        let hosts = Hosts::new(&listen("Box.lan"), 80);
        for host in ["box.lan", "box.lan:80", "192.168.1.5", "[fe80::1]:80", "localhost"] {
            assert!(admits(&hosts, host), "{host}");
        }
        assert!(!admits(&hosts, "evil.example"));
    }

    #[test]
    fn no_host_two_hosts_and_a_target_elsewhere_are_refused() {
        let hosts = Hosts::new(&listen("127.0.0.1"), 18791);
        let path = Uri::from_static("/");
        assert!(!hosts.admit([].into_iter(), &path));
        assert!(!hosts.admit([Some("localhost:18791"), Some("localhost:18791")].into_iter(), &path));
        assert!(!hosts.admit([None].into_iter(), &path), "not text");
        let elsewhere = Uri::from_static("http://evil.example:18791/");
        assert!(!hosts.admit([Some("localhost:18791")].into_iter(), &elsewhere));
    }

    #[test]
    fn the_token_opens_everything_and_the_key_of_the_webhook_only_the_webhook() {
        let gate = Gate::new(&Secret::new("open sesame"));
        assert!(gate.admits(Some("Bearer open sesame")));
        assert!(gate.admits(Some("bearer open sesame ")));
        for wrong in ["open sesame", "Bearer", "Bearer ", "Bearer open", "Bearer open sesame!", "Basic open sesame"] {
            assert!(!gate.admits(Some(wrong)), "{wrong}");
        }
        assert!(!gate.admits(None));
        let key = gate.hook_key().to_owned();
        assert!(gate.admits_hook(&format!("a=b&key={key}")));
        assert!(!gate.admits_hook("key=open sesame") && !gate.admits_hook("key=") && !gate.admits_hook(""));
        assert!(!gate.admits(Some(&format!("Bearer {key}"))));
        assert!(!Gate::new(&Secret::new("another")).admits_hook(&format!("key={key}")));
    }
}
