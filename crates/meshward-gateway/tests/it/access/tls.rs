//! The same by TLS.

use meshward_gateway::rest::Http;
use meshward_gateway::rest::listen::tls::TlsFiles;

use super::kit::{Kit, Wanted};

#[tokio::test]
async fn tls_is_spoken_with_the_certificate_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let files = TlsFiles { certificate: folder.path().join("a.pem"), key: folder.path().join("a.key") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let usual = Wanted::default();
    let mut kit = Kit::start_with(Wanted { http: Http { tls: Some(files), ..usual.http }, ..usual }).await;
    assert!(kit.url.starts_with("https://127.0.0.1:"), "{}", kit.url);
    assert!(kit.request("GET", "/healthz").send().await.is_err(), "nobody has vouched for the certificate");
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    kit.client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    kit.user("anna", "viewer").await;
    let begun = kit.login("anna", super::kit::PASSWORD).await;
    let set = begun.headers()["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("__Host-meshward_session=") && set.ends_with("; Secure"), "{set}");
    let plain = kit.client.get(format!("http://{}/healthz", kit.address)).send().await;
    assert!(plain.is_err(), "{plain:?}");
    kit.stop().await;
}
