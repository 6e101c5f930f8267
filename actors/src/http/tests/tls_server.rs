//! Servers with certificates of our own making.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio_rustls::TlsAcceptor;

use super::{Arc, FaultServer, Reply, Roots};

/// The years in which a good certificate is valid.
pub(super) const VALID: Range<i32> = 2000..2090;

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
    let (acceptor, authority) = acceptor(names, years, alpn);
    let server = FaultServer::start_wrapped(script, move |stream| acceptor.accept(stream)).await;
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&authority));
    Origin { server, roots: Roots::only([authority]), authority: pem }
}

/// What such a server accepts connections with, and the authority behind it.
pub(super) fn acceptor(names: &[&str], years: Range<i32>, alpn: &[&str]) -> (TlsAcceptor, CertificateDer<'static>) {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, format!("the authority of {names:?} in {years:?}"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();

    let key = KeyPair::generate().unwrap();
    let mut certificate =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    certificate.not_before = date_time_ymd(years.start, 1, 1);
    certificate.not_after = date_time_ymd(years.end, 1, 1);
    let certificate = certificate.signed_by(&key, &authority).unwrap();

    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), authority.der().clone())
}
