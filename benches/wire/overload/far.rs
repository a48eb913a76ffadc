//! A registry that is far away: what is sent to it arrives later, however much is on its way.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::scene::Scene;

pub const AWAY: Duration = Duration::from_millis(200);
const PIECE: usize = 16 << 10;

/// Where the scene's registry is as far as that. Goes on until the scene's runtime ends.
pub fn away(scene: &Scene) -> anyhow::Result<SocketAddr> {
    let registry = SocketAddr::from(([127, 0, 0, 1], scene.registry.port()));
    let listener = scene.runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    scene.runtime.spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(registry).await else { return };
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                tokio::join!(carry(from_near, to_far, AWAY), carry(from_far, to_near, Duration::ZERO));
            });
        }
    });
    Ok(address)
}

/// Each piece so much after it came. Ends when one side does.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, after: Duration) {
    let (sender, mut pieces) = mpsc::unbounded_channel();
    let reads = async move {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            match from.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(_) if sender.send((Instant::now() + after, piece)).is_err() => return,
                Ok(_) => {}
            }
        }
    };
    let writes = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reads, writes);
}
