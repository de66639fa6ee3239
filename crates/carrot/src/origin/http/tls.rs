//! Whom an HTTPS origin trusts: the certificates of the system, and those of a file beside them.
//!
//! rustls with ring, given by name: a second provider in the tree would make a process default a panic. TLS 1.2 and
//! 1.3; what is checked of a certificate is rustls' and not ours to loosen.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::origin::error::OpenError;

/// The longest file of certificates. The system's own are a quarter of this.
const FILE_MAX: u64 = 1024 * 1024;

/// What a handshake goes by. Blocks while files are read.
///
/// # Errors
/// When nobody is trusted, or the file does not hold certificates.
pub fn trust(ca: Option<&Path>) -> Result<Arc<ClientConfig>, OpenError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    // Certificates in a form that rustls does not know trust nobody; the others are as good as before.
    roots.add_parsable_certificates(system.certs);
    if let Some(file) = ca {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| unreadable(file, &error))?;
        }
    }
    if roots.is_empty() {
        return Err(OpenError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(OpenError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Servers that would rather speak HTTP/2 are told at once.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let text = read(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = read.map_err(|error| unreadable(file, &error))?;
    if certificates.is_empty() {
        return Err(unreadable(file, &"it holds no BEGIN CERTIFICATE"));
    }
    Ok(certificates)
}

fn read(file: &Path) -> Result<Vec<u8>, OpenError> {
    let stat = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => OpenError::Missing(file.to_owned()),
        _ => OpenError::Stat { file: file.to_owned(), source },
    };
    // A pipe would hang whoever opens it.
    if !std::fs::metadata(file).map_err(stat)?.is_file() {
        return Err(OpenError::NotAFile(file.to_owned()));
    }
    let mut text = Vec::new();
    File::open(file).map_err(stat)?.take(FILE_MAX + 1).read_to_end(&mut text).map_err(stat)?;
    if text.len() as u64 > FILE_MAX {
        return Err(unreadable(file, &"it is longer than 1 MiB"));
    }
    Ok(text)
}

fn unreadable(file: &Path, why: &dyn std::fmt::Display) -> OpenError {
    OpenError::Certificates { file: file.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_trusts_nobody_is_refused_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let refusal = |text: &[u8]| {
            std::fs::write(&file, text).unwrap();
            trust(Some(&file)).unwrap_err().to_string()
        };
        let line = |why: &str| format!("no certificates can be read from {}: {why}", file.display());
        assert_eq!(refusal(b""), line("it holds no BEGIN CERTIFICATE"));
        assert_eq!(refusal(b"\0\xff\n"), line("it holds no BEGIN CERTIFICATE"));
        assert!(refusal(b"-----BEGIN CERTIFICATE-----\n").starts_with(&line("")));
        let odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(refusal(odd).starts_with(&line("")));
        let long = vec![b'\n'; usize::try_from(FILE_MAX + 1).unwrap()];
        assert_eq!(refusal(&long), line("it is longer than 1 MiB"));

        std::fs::remove_file(&file).unwrap();
        assert!(matches!(trust(Some(&file)), Err(OpenError::Missing(_))));
        assert!(matches!(trust(Some(directory.path())), Err(OpenError::NotAFile(_))));
    }
}
