//! Whom we trust: the certificates of the system, and TLS built on them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};

use super::error::{HttpError, HttpErrorKind};

/// The certificate authorities to trust. Clones share what was loaded.
///
/// The system's are read once, at the first https request of any clone: a process that only talks to loopback never
/// pays for them. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others than the system's. Where nothing is found, as in a
/// minimal container, a built-in copy of Mozilla's list is used.
#[derive(Clone, Default)]
pub struct Roots(Arc<OnceLock<Arc<RootCertStore>>>);

impl Roots {
    /// Exactly these authorities, nothing of the system's. Those that make no sense are left out.
    #[must_use]
    pub fn only(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates);
        Self(Arc::new(OnceLock::from(Arc::new(store))))
    }

    /// A TLS configuration on these roots that prefers HTTP/2.
    pub(super) async fn config(&self) -> Result<ClientConfig, HttpError> {
        let roots = match self.0.get() {
            Some(roots) => roots.clone(),
            None => {
                let cell = self.clone();
                // Reads some hundred kilobytes of files.
                tokio::task::spawn_blocking(move || cell.0.get_or_init(|| Arc::new(load())).clone())
                    .await
                    .map_err(|_| HttpError::unsent(HttpErrorKind::Tls, "the system's certificates could not be read"))?
            }
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| HttpError::unsent(HttpErrorKind::Tls, format!("TLS is not available: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get() {
            Some(roots) => write!(f, "Roots({})", roots.len()),
            None => f.write_str("Roots(not loaded yet)"),
        }
    }
}

fn load() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::debug!("some of the system's certificates were skipped: {error}");
    }
    let mut store = RootCertStore::empty();
    let (added, skipped) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        log::warn!("no certificates of the system were found{reason}; trusting the built-in list of Mozilla's instead");
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        log::debug!("trusting {added} certificates of the system, {skipped} were not usable");
    }
    store
}
