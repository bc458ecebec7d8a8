//! A small HTTP/1.1 client over TLS: what curl would do.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Admin, EdgeKeys, Lab};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Put => "put",
            Method::Post => "post",
            Method::Delete => "delete",
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

pub struct Http {
    port: u16,
    connector: TlsConnector,
    name: String,
    token: String,
}

impl Http {
    pub fn new(lab: &Lab, token: &str) -> Self {
        Self::to(lab, &lab.admin, "controller.hawser", None, token)
    }

    /// Trusting that fleet's CA, asking for `name`, with an edge's certificate if there is one.
    pub fn to(lab: &Lab, ca: &Admin, name: &str, keys: Option<&EdgeKeys>, token: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for der in CertificateDer::pem_slice_iter(ca.ca_pem.as_bytes()) {
            roots.add(der.expect("a certificate")).expect("a root");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match keys {
            None => config.with_no_client_auth(),
            Some(keys) => {
                let chain = keys.chain.iter().map(|der| der.clone().into()).collect();
                let key = PrivatePkcs8KeyDer::from(keys.key.serialize_der()).into();
                config.with_client_auth_cert(chain, key).expect("an identity")
            }
        };
        let connector = TlsConnector::from(Arc::new(config));
        let (name, token) = (name.to_owned(), token.to_owned());
        Self { port: lab.port(), connector, name, token }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> TlsStream<TcpStream> {
        self.try_send(method, path, headers, body).await.expect("a handshake")
    }

    async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let name = ServerName::try_from(self.name.clone()).expect("a name");
        let mut stream = self.connector.connect(name, stream).await?;
        let method = method.name().to_uppercase();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: controller\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !self.token.is_empty() {
            head.push_str(&format!("authorization: Bearer {}\r\n", self.token));
        }
        for (key, value) in headers {
            head.push_str(&format!("{key}: {value}\r\n"));
        }
        head.push_str("\r\n");
        // A server that refuses early need not read it all.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body).await;
        Ok(stream)
    }

    /// The connection is refused, before or after its handshake seems to be done (TLS 1.3).
    pub async fn is_refused(&self, method: Method, path: &str) -> bool {
        let Ok(mut stream) = self.try_send(method, path, &[], b"").await else { return true };
        let mut octet = [0; 1];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut octet)).await;
        !matches!(read.expect("an end in time"), Ok(1..))
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let stream = self.send(method, path, headers, body.as_bytes()).await;
        tokio::time::timeout(PATIENCE, answer(stream)).await.expect("an answer in time")
    }

    /// Asks, and is gone so much later, answer or none.
    pub async fn leave(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        after: Duration,
    ) {
        let stream = self.send(method, path, headers, body.as_bytes()).await;
        tokio::time::sleep(after).await;
        drop(stream);
    }

    /// Lines of a stream, as they come.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Lines {
        let stream = self.send(Method::Get, path, headers, b"").await;
        Lines { stream, text: String::new() }
    }
}

pub struct Lines {
    stream: TlsStream<TcpStream>,
    text: String,
}

impl Lines {
    /// Everything up to and with this text.
    pub async fn until(&mut self, wanted: &str) -> String {
        let read = async {
            while !self.text.contains(wanted) {
                let mut buffer = [0; 4_096];
                let count = self.stream.read(&mut buffer).await.expect("octets");
                assert!(count > 0, "the stream ended: {}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("it comes in time");
        self.text.clone()
    }
}

impl Lines {
    /// Waits until the other side ends it.
    pub async fn end(&mut self) {
        let ended = async {
            let mut buffer = [0; 4_096];
            while self.stream.read(&mut buffer).await.unwrap_or(0) > 0 {}
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends in time");
    }
}

/// The head, then the body as its length or its chunks say; of an event stream only what is there at once.
async fn answer(mut stream: TlsStream<TcpStream>) -> Answer {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 16_384];
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            assert!(count > 0, "no answer");
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status =
            lines.next().and_then(|l| l.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
        let streams = answer.header("content-type").starts_with("text/event-stream");
        if count > 0 && !streams {
            continue;
        }
        if answer.header("transfer-encoding") == "chunked" && !streams {
            answer.body = dechunked(&answer.body);
        }
        return answer;
    }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    body
}
