//! Whom an HTTPS origin believes to be its server.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::server::{Server, answer_all, response};
use super::*;

/// An authority of the test's own, and a directory with its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// What a server shows whose certificate this authority has signed.
    fn acceptor(&self, params: &CertificateParams) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

async fn serve(tls: TlsAcceptor) -> Server {
    Server::secure(tls, |talk| answer_all(talk, |_| response("200 OK", "over TLS"))).await
}

fn open_secure(host: &str, port: u16, ca: Option<&Path>) -> Result<Http, OpenError> {
    let mut settings = HttpSettings::new(&format!("https://{host}:{port}/{{key}}")).unwrap();
    settings.ca = ca.map(Path::to_owned);
    Http::open_with(
        settings,
        bounds(),
        Resolver::new(|_| Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) })),
    )
}

/// What becomes of a load from `https://api.example`, whose server shows this.
async fn shown(
    params: &CertificateParams,
    signed: &Authority,
    trusted: &Authority,
) -> Result<String, String> {
    let server = serve(signed.acceptor(params)).await;
    let http = open_secure("api.example", server.address.port(), Some(&trusted.file())).unwrap();
    let loaded = load(&http, "a").await.map_err(|error| carrotcache::with_causes(&error));
    if loaded.is_err() {
        assert_eq!(server.asked(), Vec::<String>::new(), "a server that is not trusted is told nothing");
    }
    loaded.map(|loaded| String::from_utf8(loaded.unwrap().value.to_vec()).unwrap())
}

#[tokio::test]
async fn a_server_is_believed_whose_certificate_the_file_vouches_for() {
    let authority = Authority::new("ours");
    assert_eq!(shown(&named("api.example"), &authority, &authority).await.unwrap(), "over TLS");
}

#[tokio::test]
async fn a_server_of_another_authority_name_or_time_is_refused_and_told_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let begin = "the TLS handshake with https://api.example:";
    let refused = |line: Result<String, String>, why: &str| {
        let line = line.unwrap_err();
        assert!(line.starts_with(begin) && line.contains(why), "{line}");
    };
    let hint = " failed; to trust its certificate, name that of the issuer in the origin's ca: ";
    let unknown = shown(&named("api.example"), &theirs, &ours).await;
    assert!(unknown.as_ref().is_err_and(|line| line.contains(hint)), "{unknown:?}");
    refused(unknown, "UnknownIssuer");
    let misnamed = shown(&named("other.example"), &ours, &ours).await;
    assert!(misnamed.as_ref().is_err_and(|line| line.contains(" failed: ")), "{misnamed:?}");
    refused(misnamed, "not valid for name");
    let mut expired = named("api.example");
    (expired.not_before, expired.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    refused(shown(&expired, &ours, &ours).await, "expired");
    let mut early = named("api.example");
    (early.not_before, early.not_after) = (date_time_ymd(2998, 1, 1), date_time_ymd(2999, 1, 1));
    refused(shown(&early, &ours, &ours).await, "not valid yet");
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself_is_believed_only_from_the_file() {
    let key = KeyPair::generate().unwrap();
    let certificate = named("api.example").self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let server = serve(TlsAcceptor::from(Arc::new(config))).await;
    let port = server.address.port();

    let other = Authority::new("other");
    let http = open_secure("api.example", port, Some(&other.file())).unwrap();
    assert!(matches!(load(&http, "a").await, Err(OriginError::Handshake { .. })));

    let file = other.directory.path().join("server.pem");
    std::fs::write(&file, certificate.pem()).unwrap();
    let http = open_secure("api.example", port, Some(&file)).unwrap();
    assert_eq!(text(&http, "a").await.as_deref(), Some("over TLS"));
}

#[tokio::test]
async fn the_system_alone_does_not_vouch_for_a_server_of_ours() {
    let authority = Authority::new("ours");
    let server = serve(authority.acceptor(&named("api.example"))).await;
    match open_secure("api.example", server.address.port(), None) {
        Ok(http) => assert!(matches!(load(&http, "a").await, Err(OriginError::Handshake { .. }))),
        // A machine without any certificates trusts nobody, and says so.
        Err(error) => assert!(matches!(error, OpenError::NoRoots), "{error}"),
    }
}

#[tokio::test]
async fn a_server_may_be_named_by_its_address_if_its_certificate_does() {
    let authority = Authority::new("ours");
    let server = serve(authority.acceptor(&named("127.0.0.1"))).await;
    let http = open_secure("127.0.0.1", server.address.port(), Some(&authority.file())).unwrap();
    assert_eq!(text(&http, "a").await.as_deref(), Some("over TLS"));
    http.probe().await.unwrap();
    for _ in 0..10 {
        assert_eq!(text(&http, "a").await.as_deref(), Some("over TLS"));
    }
    assert_eq!(server.accepted(), 2, "the first load's and the probe's");
}

#[tokio::test]
async fn a_server_that_hangs_in_the_handshake_runs_into_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let authority = Authority::new("ours");
    let mut settings = HttpSettings::new(&format!("https://127.0.0.1:{port}/{{key}}")).unwrap();
    (settings.ca, settings.connect_timeout) = (Some(authority.file()), SHORT);
    let http = Http::open(settings, bounds()).unwrap();
    let line = format!("no connection to https://127.0.0.1:{port} within 50ms, the connect timeout");
    assert_eq!(failure(&http, "a").await, line);
    assert!(matches!(http.probe().await, Err(OriginError::ConnectTimeout { .. })));
}

#[tokio::test]
async fn a_server_without_tls_is_no_https_origin() {
    let server = Server::following(|mut talk| async move {
        talk.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let authority = Authority::new("ours");
    let http = open_secure("127.0.0.1", server.address.port(), Some(&authority.file())).unwrap();
    assert!(matches!(load(&http, "a").await, Err(OriginError::Handshake { .. })));
}
