//! Bodies that nobody reads: a request that is refused by its head has one under way. A connection whose request was not
//! read to its end is closed without a word, and a client that uses it again loses that request. So short bodies are
//! read to their end for nothing.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;

/// What is more than that, or takes longer, is not worth a connection.
const READ_MAX_BYTES: usize = 256 << 10;
const READ_WITHIN: Duration = Duration::from_secs(1);

/// Goes around every handler.
pub async fn read_to_the_end(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Watched(body)))).await
}

/// A body that is read on when it is dropped too early.
struct Watched(Body);

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let rest = mem::take(&mut self.0);
        if rest.is_end_stream() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(READ_WITHIN, discard(rest)));
        }
    }
}

async fn discard(mut body: Body) {
    let mut left = READ_MAX_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(len) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::routing::post;
    use axum::{Router, middleware};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn answer(socket: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("the connection stays"));
        }
        String::from_utf8(head).expect("text")
    }

    /// The head is refused before the body is there; then the same connection is used again.
    #[tokio::test]
    async fn a_connection_outlives_a_request_that_was_refused_by_its_head() {
        let refused = || std::future::ready(StatusCode::UNAUTHORIZED);
        let app =
            Router::new().route("/", post(refused)).layer(middleware::from_fn(read_to_the_end));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        for _ in 0..3 {
            let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
            socket.write_all(head).await.expect("the connection stays");
            assert!(answer(&mut socket).await.starts_with("HTTP/1.1 401"));
            socket.write_all(b"hello").await.expect("the connection stays");
        }
        server.abort();
    }
}
