//! The certificate: read from PEM files, and read again when they change or at SIGHUP.
//!
//! New files that make no sense change nothing: what was served before is served on, and the log says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those above it, in PEM.
    pub certificate: PathBuf,
    /// Its secret key in PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// It cannot be read, or is no PEM.
    #[error("cannot read {what} from {}", path.display())]
    Read {
        /// What was to be read.
        what: &'static str,
        /// From where.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// There is none.
    #[error("{} has no certificate in it", .0.display())]
    Empty(PathBuf),
    /// They do not fit together, or are of a kind that nobody takes any more.
    #[error("{} and {} cannot be used together", files.certificate.display(), files.key.display())]
    Unusable {
        /// Which.
        files: TlsFiles,
        /// Why not.
        source: rustls::Error,
    },
}

/// A certificate in use.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    config: RustlsConfig,
    stamps: [Option<Stamp>; 2],
}

/// By what a file that has changed is known.
type Stamp = (SystemTime, u64);

impl Certificate {
    pub(super) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let config = RustlsConfig::from_config(read(&files)?);
        Ok(Self { files, config, stamps })
    }

    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reads the files again whenever they have changed, without end.
    pub(super) async fn watch(&self) {
        let mut seen = self.stamps;
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                () = hung_up(&mut hangup) => true,
            };
            let found = stamps(&self.files);
            if asked || found != seen {
                seen = found;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        let path = self.files.certificate.display();
        match read(&self.files) {
            Ok(config) => {
                self.config.reload_from_config(config);
                tracing::info!(%path, "the certificate was read again");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%path, error, "the new certificate cannot be used: the old one stays");
            }
        }
    }
}

async fn hung_up(hangup: &mut Option<tokio::signal::unix::Signal>) {
    match hangup {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn stamps(files: &TlsFiles) -> [Option<Stamp>; 2] {
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    [stamp(&files.certificate), stamp(&files.key)]
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |what, path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Read { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable("a certificate", &files.certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(files.certificate.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable("a secret key", &files.key))?;
    let unusable = |source| TlsError::Unusable { files: files.clone(), source };
    // Ring by name: what else the program links must not decide.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, name: &str) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        TlsFiles { certificate, key }
    }

    #[test]
    fn a_bad_certificate_is_refused_by_its_files_name_and_never_replaces_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let (good, other) = (files(folder.path(), "good"), files(folder.path(), "other"));
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        let missing = folder.path().join("missing.pem");
        for (certificate, key, needle) in [
            (&missing, &good.key, "missing.pem"),
            (&empty, &good.key, "empty.pem has no certificate"),
            (&good.certificate, &missing, "a secret key from"),
            (&good.certificate, &good.certificate, "a secret key from"),
            (&good.certificate, &other.key, "cannot be used together"),
        ] {
            let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
            let error = Certificate::load(files).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
        let certificate = Certificate::load(good.clone()).unwrap();
        let first = certificate.config.get_inner();
        certificate.reload();
        let second = certificate.config.get_inner();
        assert!(!Arc::ptr_eq(&first, &second), "it was read again");
        std::fs::write(&good.certificate, "spoilt").unwrap();
        assert_ne!(stamps(&good), certificate.stamps);
        certificate.reload();
        assert!(Arc::ptr_eq(&second, &certificate.config.get_inner()), "the old one stays");
    }
}
