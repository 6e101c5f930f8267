//! Certificates of our own making: good ones, expired ones, and for other names, each from an authority of its own.

#![allow(dead_code, unreachable_pub, reason = "no test uses all of it, and some include it deep inside a crate")]
#![allow(clippy::allow_attributes, reason = "whether these lints fire depends on the test that includes this file")]

use std::{ops::Range, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio_rustls::TlsAcceptor;

/// The years in which a good certificate is valid.
pub const VALID: Range<i32> = 2000..2090;

/// An authority with its key.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one, that nobody trusts yet.
    pub fn new(name: &str) -> Self {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(authority, key).expect("a certificate"))
    }

    /// Its certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// The same as a PEM file.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(self.0.der());
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    /// What a server accepts connections with whose certificate is for `names` and valid in these years.
    pub fn acceptor(&self, names: &[&str], years: Range<i32>, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut certificate = CertificateParams::new(names).expect("names");
        certificate.not_before = date_time_ymd(years.start, 1, 1);
        certificate.not_after = date_time_ymd(years.end, 1, 1);
        let certificate = certificate.signed_by(&key, &self.0).expect("a certificate");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("a key that fits");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
