//! Which proxy a request takes.
//!
//! The rules are curl's: `HTTPS_PROXY` and `HTTP_PROXY` by the scheme of the URL, `ALL_PROXY` for both, and `NO_PROXY` is
//! the only exception. In particular loopback is not exempt by itself.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::secret::Secret;

/// The proxies in force. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<Exception>,
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<Secret>,
}

/// What `NO_PROXY` exempts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    /// `*`
    Everything,
    /// A name and all below it, on one port or all.
    Name(String, Option<u16>),
    /// The addresses that share the first so many bits with this one.
    Network(IpAddr, u8),
}

/// Why a text names no proxy. It may contain a password, so it is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// Not a URL.
    #[error("not a proxy's URL, such as http://proxy.example:3128")]
    NotAUrl,
    /// A scheme that is not spoken, such as `socks5`.
    #[error("`{0}` proxies are not supported, only http://")]
    Scheme(String),
    /// An environment variable with such a value.
    #[error("{name}: {error}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        #[source]
        error: Box<InvalidProxy>,
    },
}

impl ProxyRules {
    /// One proxy for everything, without exception. User and password stand in its URL.
    ///
    /// # Errors
    /// If it is not an `http` URL with a host.
    pub fn all(proxy: &str) -> Result<Self, InvalidProxy> {
        let proxy = Proxy::parse(proxy)?;
        Ok(Self { http: Some(proxy.clone()), https: Some(proxy), except: Vec::new() })
    }

    /// The rules that the usual environment variables describe, as `lookup` reads them. Lower case wins over upper case,
    /// an empty value is none.
    ///
    /// # Errors
    /// If one of them names no usable proxy.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidProxy> {
        let find = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).map(|v| (name, v))
            })
        };
        let proxy = |names| match find(names) {
            None => Ok(None),
            Some((name, value)) => {
                Proxy::parse(&value).map(Some).map_err(|error| InvalidProxy::Variable { name, error: Box::new(error) })
            }
        };
        let all = proxy(["all_proxy", "ALL_PROXY"])?;
        Ok(Self {
            http: proxy(["http_proxy", "HTTP_PROXY"])?.or_else(|| all.clone()),
            https: proxy(["https_proxy", "HTTPS_PROXY"])?.or(all),
            except: find(["no_proxy", "NO_PROXY"]).map(|(_, value)| exceptions(&value)).unwrap_or_default(),
        })
    }

    /// The same, but this machine itself is reached directly.
    #[must_use]
    pub fn except_loopback(mut self) -> Self {
        self.except.extend(exceptions("localhost,127.0.0.0/8,::1"));
        self
    }

    /// The proxy for `host`, as it stands in a URL, if there is one.
    pub(super) fn find(&self, scheme: &str, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = if scheme == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.except.iter().any(|exception| exception.covers(host, port)))
    }
}

impl Proxy {
    /// `host:port`.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn parse(text: &str) -> Result<Self, InvalidProxy> {
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
        let url = url.map_err(|_| InvalidProxy::NotAUrl)?;
        if url.scheme() != "http" {
            return Err(InvalidProxy::Scheme(url.scheme().to_owned()));
        }
        let host = url.host_str().ok_or(InvalidProxy::NotAUrl)?.to_owned();
        Ok(Self { host, port: url.port_or_known_default().unwrap_or(80), authorization: basic(&url) })
    }
}

/// The `Basic` credentials of the user and password in a URL, if there are any.
pub(super) fn basic(url: &Url) -> Option<Secret> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
}

fn exceptions(list: &str) -> Vec<Exception> {
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).map(Exception::parse).collect()
}

impl Exception {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        let (address, bits) = entry.split_once('/').map_or((entry, None), |(a, bits)| (a, Some(bits)));
        if let Ok(address) = unbracket(address).parse::<IpAddr>() {
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(all), |bits| bits.parse().ok().filter(|bits| *bits <= all));
            return bits.map_or_else(|| Self::name(entry, None), |bits| Self::Network(address, bits));
        }
        match entry.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => Self::name(name, port.parse().ok()),
            _ => Self::name(entry, None),
        }
    }

    fn name(name: &str, port: Option<u16>) -> Self {
        let name = name.strip_prefix("*.").unwrap_or(name);
        Self::Name(name.trim_matches('.').to_ascii_lowercase(), port)
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Name(name, only) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && only.is_none_or(|only| only == port)
            }
            Self::Network(network, bits) => match (network, unbracket(host).parse::<IpAddr>()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(host))) => same_start(&network.octets(), &host.octets(), *bits),
                (IpAddr::V6(network), Ok(IpAddr::V6(host))) => same_start(&network.octets(), &host.octets(), *bits),
                _ => false,
            },
        }
    }
}

fn unbracket(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether the first `bits` bits are the same.
fn same_start(a: &[u8], b: &[u8], bits: u8) -> bool {
    a.iter().zip(b).enumerate().all(|(index, (a, b))| {
        let counted = usize::from(bits).saturating_sub(index * 8).min(8);
        (a ^ b).leading_zeros() as usize >= counted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(vars: &[(&str, &str)]) -> Result<ProxyRules, InvalidProxy> {
        ProxyRules::from_vars(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy_for(rules: &ProxyRules, url: &str) -> Option<String> {
        let url = Url::parse(url).unwrap();
        let proxy = rules.find(url.scheme(), url.host_str().unwrap(), url.port_or_known_default().unwrap());
        proxy.map(|proxy| format!("{}:{}", proxy.host, proxy.port))
    }

    #[test]
    fn without_variables_there_is_no_proxy() {
        assert_eq!(rules(&[]), Ok(ProxyRules::default()));
        assert_eq!(rules(&[("HTTP_PROXY", ""), ("ALL_PROXY", " ")]), Ok(ProxyRules::default()));
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_proxy_fills_the_gaps() {
        let rules = rules(&[("HTTP_PROXY", "http://a:1"), ("ALL_PROXY", "c")]).unwrap();
        assert_eq!(proxy_for(&rules, "http://x/").as_deref(), Some("a:1"));
        assert_eq!(proxy_for(&rules, "https://x/").as_deref(), Some("c:80"));
    }

    #[test]
    fn lower_case_wins() {
        let rules = rules(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")]).unwrap();
        assert_eq!(proxy_for(&rules, "https://x/").as_deref(), Some("b:2"));
        assert_eq!(proxy_for(&rules, "http://x/"), None);
    }

    #[test]
    fn no_proxy_exempts_names_networks_and_ports() {
        let no_proxy = "localhost,.corp.example, *.internal;,192.168.0.0/16 ::1,fe80::/10,10.1.2.3,only.example:8080";
        let rules = rules(&[("ALL_PROXY", "p:1"), ("no_proxy", no_proxy)]).unwrap();
        for direct in [
            "http://localhost:18789/",
            "https://LOCALHOST/",
            "http://corp.example/",
            "http://a.b.corp.example./",
            "http://192.168.77.1/",
            "http://[::1]:80/",
            "http://[fe80::1]/",
            "http://10.1.2.3/",
            "http://only.example:8080/",
        ] {
            assert_eq!(proxy_for(&rules, direct), None, "{direct}");
        }
        for proxied in [
            "http://notlocalhost/",
            "http://evilcorp.example/",
            "http://192.169.0.1/",
            "http://127.0.0.1/",
            "http://10.1.2.30/",
            "http://[::2]/",
            "http://only.example/",
        ] {
            assert_eq!(proxy_for(&rules, proxied).as_deref(), Some("p:1"), "{proxied}");
        }
    }

    #[test]
    fn a_star_exempts_everything() {
        let rules = rules(&[("ALL_PROXY", "p:1"), ("NO_PROXY", "*")]).unwrap();
        assert_eq!(proxy_for(&rules, "http://x/"), None);
    }

    #[test]
    fn credentials_are_read_and_never_shown() {
        let rules = ProxyRules::all("http://us%40er:p%3Aw@proxy.example:3128").unwrap();
        let authorization = rules.https.as_ref().and_then(|proxy| proxy.authorization.as_ref()).unwrap();
        assert_eq!(authorization.expose(), format!("Basic {}", STANDARD.encode("us@er:p:w")));
        let shown = format!("{rules:?}");
        assert!(shown.contains("proxy.example") && !shown.contains("us@er") && !shown.contains("Basic"), "{shown}");
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_repeating_it() {
        assert_eq!(
            rules(&[("ALL_PROXY", "socks5://user:pw@h:1")]).unwrap_err().to_string(),
            "ALL_PROXY: `socks5` proxies are not supported, only http://"
        );
        let error = rules(&[("https_proxy", "http://user:s3cr3t@:bad")]).unwrap_err().to_string();
        assert_eq!(error, "https_proxy: not a proxy's URL, such as http://proxy.example:3128");
        assert!(ProxyRules::all("").is_err());
    }
}
