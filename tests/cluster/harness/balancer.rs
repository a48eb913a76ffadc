//! A TCP load balancer in front of several servers, as a Service is with kube-proxy: new connections
//! go to a server that is ready, established ones stay where they are.

use super::http;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A server behind the balancer.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    pub webhook: SocketAddr,
    pub health: SocketAddr,
}

/// A listening balancer; stops accepting when dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Balancer {
    /// Starts on a free port; the first ready backend in the given order takes each connection.
    pub fn start(backends: Vec<Backend>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let backends = backends.clone();
                thread::spawn(move || forward(&client, &backends));
            }
        });
        Balancer { address, stopped }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; where that fails it has ended already.
        let _ = TcpStream::connect(self.address);
    }
}

fn forward(client: &TcpStream, backends: &[Backend]) {
    let ready =
        backends.iter().find(|backend| http::get(backend.health, "/readyz").is_some_and(|answer| answer.status == 200));
    let Some(server) = ready.and_then(|backend| TcpStream::connect(backend.webhook).ok()) else {
        return; // closing the connection is what a Service without endpoints looks like
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server));
        copy(&server, client);
    });
}

/// Copies until the sender closes, then passes the close on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    // A reset on either side ends the copy like a close does.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
