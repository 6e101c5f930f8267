//! Servers with certificates of our own making.

use std::ops::Range;

pub(super) use crate::certificates::VALID;

use super::{FaultServer, Reply, Roots};
use crate::certificates::Authority;

pub(super) struct Origin {
    pub(super) server: FaultServer,
    pub(super) roots: Roots,
    /// The authority's certificate as a PEM file.
    pub(super) authority: String,
}

impl Origin {
    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.address().port())
    }
}

/// A server whose certificate is for `names` and valid in these years, from an authority of its own.
pub(super) async fn start(
    script: impl IntoIterator<Item = Reply>,
    names: &[&str],
    years: Range<i32>,
    alpn: &[&str],
) -> Origin {
    let authority = Authority::new(&format!("the authority of {names:?} in {years:?}"));
    let acceptor = authority.acceptor(names, years, alpn);
    let server = FaultServer::start_wrapped(script, move |stream| acceptor.accept(stream)).await;
    Origin { server, roots: Roots::only([authority.certificate()]), authority: authority.pem() }
}
