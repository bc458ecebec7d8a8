//! A door into the lab: connections that come in where the listening socket was made go out at this node.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One browser opens a handful.
const MAX_CONNECTIONS: usize = 128;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Standard input is a listening socket; it stays in the network that it was made in.
pub(super) fn run(to: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    let open = Arc::new(AtomicUsize::new(0));
    for client in listener.incoming() {
        let client = client?;
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            eprintln!("a connection was refused: {MAX_CONNECTIONS} are open");
            continue;
        }
        let open = Arc::clone(&open);
        std::thread::spawn(move || {
            if let Err(error) = join(client, to) {
                eprintln!("{to}: {error}");
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    Ok(())
}

fn join(client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&to, CONNECT_WITHIN)?;
    let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
    let back = std::thread::spawn(move || pour(&from_server, &client));
    pour(&from_client, &server);
    let _ = back.join();
    Ok(())
}

/// The end of one direction ends the other side's reading; an error ends both.
fn pour(mut from: &TcpStream, mut to: &TcpStream) {
    let ended = io::copy(&mut from, &mut to);
    let how = if ended.is_ok() { Shutdown::Write } else { Shutdown::Both };
    let _ = to.shutdown(how);
}
