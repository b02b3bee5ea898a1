//! TLS: certificates from files, or one of our own for a try.

use headwater_engine::files::{private_file, private_folder};
use headwater_protocol::{Error, ErrorCode};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// The protocols offered to clients, by their registered names
/// ([RFC 7301](https://www.rfc-editor.org/rfc/rfc7301#section-6)): HTTP/2 before HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [HTTP_2, b"http/1.1"];

/// The name of HTTP/2.
pub(super) const HTTP_2: &[u8] = b"h2";

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// From files in the PEM form: the certificate with those between it and a root, and its key.
    Files {
        /// The certificates.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// One that nobody has signed. It is made once and kept in a folder, so that a browser which was told to trust it
    /// does so after a restart.
    SelfSigned {
        /// The folder, which belongs to the server's user alone.
        folder: PathBuf,
        /// The names that it is for.
        names: Vec<String>,
    },
}

impl Tls {
    /// Reads or makes the certificate.
    ///
    /// # Errors
    /// `invalid_request`: a file cannot be read or has no certificate or key in it, or they do not belong together.
    pub fn acceptor(&self) -> Result<TlsAcceptor, Error> {
        let (certificates, key) = match self {
            Self::Files { certificate, key } => (read_certificates(certificate)?, read_key(key)?),
            Self::SelfSigned { folder, names } => self_signed(folder, names)?,
        };
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config
                    .with_no_client_auth()
                    .with_single_cert(certificates, key)
            });
        let mut config = config.map_err(|why| {
            wrong(format!(
                "The TLS certificate and its key cannot be used: {why}. Do they belong together?"
            ))
        })?;
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(file, "certificate")?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(wrong(format!(
            "The file {} has no TLS certificate in it. It must be in the PEM form, which begins with “-----BEGIN \
             CERTIFICATE-----”.",
            file.display()
        ))),
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let pem = read(file, "key")?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        wrong(format!(
            "The file {} has no TLS key in it. It must be in the PEM form and without a password.",
            file.display()
        ))
    })
}

fn read(file: &Path, what: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|why| {
        wrong(format!(
            "The TLS {what} {} cannot be read: {why}.",
            file.display()
        ))
    })
}

/// The certificate of an earlier start, if it is for the same names, or a new one.
fn self_signed(folder: &Path, names: &[String]) -> Result<Pair, Error> {
    let kept = |name: &str| folder.join(name);
    let (certificate, key, list) = (kept("certificate.pem"), kept("key.pem"), kept("names"));
    let wanted = names.join("\n");
    let same = std::fs::read_to_string(&list).is_ok_and(|names| names == wanted);
    if same && let (Ok(certificates), Ok(key)) = (read_certificates(&certificate), read_key(&key)) {
        return Ok((certificates, key));
    }
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|why| wrong(format!("A certificate of its own cannot be made: {why}.")))?;
    let keep = || -> io::Result<()> {
        private_folder(folder)?;
        let write = |file: &Path, text: &str| {
            let mut out = private_file(file)?;
            out.set_len(0)?;
            out.write_all(text.as_bytes())
        };
        // The names come last: a pair without them is made anew.
        let _ = std::fs::remove_file(&list);
        write(&key, &made.signing_key.serialize_pem())?;
        write(&certificate, &made.cert.pem())?;
        write(&list, &wanted)
    };
    keep().map_err(|why| {
        wrong(format!(
            "The certificate cannot be kept in {}: {why}.",
            folder.display()
        ))
    })?;
    Ok((read_certificates(&certificate)?, read_key(&key)?))
}

fn wrong(sentence: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, sentence)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    fn own(folder: &Path, names: &[&str]) -> Tls {
        Tls::SelfSigned {
            folder: folder.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_certificate_of_its_own_is_kept_for_the_same_names_and_readable_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let tls = own(folder.path(), &["localhost", "127.0.0.1"]);
        tls.acceptor().unwrap();
        let pem = || std::fs::read_to_string(folder.path().join("certificate.pem")).unwrap();
        let first = pem();
        tls.acceptor().unwrap();
        assert_eq!(pem(), first);
        own(folder.path(), &["localhost", "chat.example.org"])
            .acceptor()
            .unwrap();
        assert_ne!(pem(), first);
        #[cfg(unix)]
        for file in ["key.pem", "certificate.pem"] {
            let metadata = std::fs::metadata(folder.path().join(file)).unwrap();
            assert!(
                !headwater_engine::files::open_to_others(&metadata),
                "{file}"
            );
        }
        // What an interrupted start left is made anew.
        std::fs::write(folder.path().join("key.pem"), "half").unwrap();
        own(folder.path(), &["localhost", "chat.example.org"])
            .acceptor()
            .unwrap();
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        own(folder.path(), &["localhost"]).acceptor().unwrap();
        let file = |name: &str| folder.path().join(name);
        let other = tempfile::tempdir().unwrap();
        own(other.path(), &["localhost"]).acceptor().unwrap();
        std::fs::write(file("empty"), "").unwrap();
        for (certificate, key, word) in [
            (file("nowhere"), file("key.pem"), "nowhere"),
            (file("empty"), file("key.pem"), "empty"),
            (file("certificate.pem"), file("missing"), "missing"),
            (file("certificate.pem"), file("certificate.pem"), "key"),
            (
                file("certificate.pem"),
                other.path().join("key.pem"),
                "belong together",
            ),
        ] {
            let why = Tls::Files { certificate, key }
                .acceptor()
                .map(|_| ())
                .unwrap_err();
            assert!(why.message.contains(word), "{why}");
        }
    }
}
