//! TLS of our own, for a server without a proxy before it: a certificate and its key in files. They
//! are read at the start and when somebody says that they are others now; connections that are open
//! go on with what they began with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use builder_exec::Timestamp;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::site;

/// Bytes of a file of certificates, or of a key: a long chain has some 20 KB.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// What it takes to speak TLS. All clones speak with the certificate that was read last.
#[derive(Clone)]
pub struct Tls(Arc<Files>);

struct Files {
    certificates: PathBuf,
    key: PathBuf,
    current: RwLock<Current>,
}

/// What was read last.
struct Current {
    acceptor: TlsAcceptor,
    end: Result<Timestamp, String>,
}

// A key is nothing to print.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and the key of that one, both PEM.
    pub fn read(certificates: PathBuf, key: PathBuf) -> Result<Tls, String> {
        let current = RwLock::new(read(&certificates, &key)?);
        Ok(Tls(Arc::new(Files {
            certificates,
            key,
            current,
        })))
    }

    /// Reads both files again. When they cannot be used, it goes on with what it has.
    pub fn read_again(&self) -> Result<(), String> {
        let read = read(&self.0.certificates, &self.0.key)?;
        let current = self.0.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Until when the server's own certificate is valid. None is known where it is written in a way
    /// that our reader does not understand, which need not keep clients from it.
    pub fn end(&self) -> Result<Timestamp, String> {
        self.current().end.clone()
    }

    /// The file of the certificates.
    pub fn file(&self) -> &Path {
        &self.0.certificates
    }

    fn current(&self) -> RwLockReadGuard<'_, Current> {
        let current = self.0.current.read();
        current.unwrap_or_else(PoisonError::into_inner)
    }

    /// Agrees with a client on how to encrypt.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = self.current().acceptor.clone();
        acceptor.accept(stream).await
    }
}

fn read(certificates: &Path, key: &Path) -> Result<Current, String> {
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
        format!("cannot read {} as PEM: {error}", path.display())
    };
    let chain = CertificateDer::pem_slice_iter(&site::read(certificates, PEM_BYTES_MAX)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(certificates, &error))?;
    let Some(own) = chain.first() else {
        return Err(format!("{} holds no certificate", certificates.display()));
    };
    let end = end(own);
    let secret = PrivateKeyDer::from_pem_slice(&site::read(key, PEM_BYTES_MAX)?)
        .map_err(|error| unreadable(key, &error))?;
    let wrong = |error: tokio_rustls::rustls::Error| {
        format!(
            "{} and {} cannot be used: {error}",
            certificates.display(),
            key.display()
        )
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(wrong)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Current {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        end,
    })
}

fn end(certificate: &CertificateDer<'_>) -> Result<Timestamp, String> {
    let certificate = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let end = certificate.tbs_certificate().validity().not_after;
    let seconds = i64::try_from(end.to_unix_duration().as_secs()).ok();
    let end = seconds.and_then(|seconds| Timestamp::from_unix(seconds, 0));
    end.ok_or_else(|| "the year is out of range".to_owned())
}
