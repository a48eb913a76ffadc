//! HTTP/2 by hand, frame by frame (RFC 9113, section 4.1): servers that no library would let one write.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::wire::{Custom, Transport};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What happens when a request has come.
#[derive(Clone, Copy, Debug)]
pub enum Misdeed {
    /// None: 200 with the digest header.
    None,
    /// The stream is reset, without an answer.
    Reset,
    /// The connection is over, and the request was not looked at.
    GoAway,
    /// An answer whose header block never ends (CVE-2024-27316 and its kind).
    Continuations,
    /// Pings and nothing else (CVE-2019-9512).
    Pings,
    /// SETTINGS and nothing else (CVE-2019-9515).
    Settings,
    /// An answer, then data on a stream that was never opened.
    StrayData,
    /// Bytes that are no frames.
    Garbage,
}

/// Speaks HTTP/2 as far as the first request of a connection, then does this. `digest` is what an answer says.
pub fn server(misdeed: Misdeed, digest: &str) -> Custom {
    let digest: Arc<str> = digest.into();
    Arc::new(move |stream| {
        let digest = Arc::clone(&digest);
        Box::pin(async move {
            // An error is the other side's going away.
            let _ = serve(stream, misdeed, &digest).await;
        })
    })
}

async fn serve(mut stream: Box<dyn Transport>, misdeed: Misdeed, digest: &str) -> std::io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let (kind, flags, id) = read_frame(&mut stream).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &[0; 8])).await?,
            HEADERS => act(&mut stream, misdeed, digest, id).await?,
            _ => {}
        }
        stream.flush().await?;
    }
}

async fn act(stream: &mut Box<dyn Transport>, misdeed: Misdeed, digest: &str, id: u32) -> std::io::Result<()> {
    let block = header_block(digest);
    let answer = frame(HEADERS, END_HEADERS | END_STREAM, id, &block);
    match misdeed {
        Misdeed::None => stream.write_all(&answer).await,
        Misdeed::Reset => stream.write_all(&frame(RST_STREAM, 0, id, &REFUSED_STREAM.to_be_bytes())).await,
        Misdeed::GoAway => {
            let payload = [0_u32.to_be_bytes(), ENHANCE_YOUR_CALM.to_be_bytes()].concat();
            stream.write_all(&frame(GOAWAY, 0, 0, &payload)).await?;
            stream.shutdown().await
        }
        Misdeed::Continuations => {
            stream.write_all(&frame(HEADERS, END_STREAM, id, &block)).await?;
            let more = frame(CONTINUATION, 0, id, &literal("x-more", &"x".repeat(8000))[..]);
            forever(stream, &more).await
        }
        Misdeed::Pings => forever(stream, &frame(PING, 0, 0, &[7; 8]).repeat(100)).await,
        Misdeed::Settings => forever(stream, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(100)).await,
        Misdeed::StrayData => {
            stream.write_all(&frame(DATA, 0, id + 100, b"stray")).await?;
            stream.write_all(&answer).await
        }
        Misdeed::Garbage => stream.write_all(&[0xff; 4096]).await,
    }
}

/// Writes until nobody takes it, and reads nothing meanwhile: what the other side answers piles up at its end.
async fn forever(stream: &mut Box<dyn Transport>, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes).await?;
    }
}

/// Kind, flags and stream of the next frame.
async fn read_frame(stream: &mut Box<dyn Transport>) -> std::io::Result<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok((head[3], head[4], u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]])))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// `:status: 200` by its index (RFC 7541, appendix A: 8), then literals.
fn header_block(digest: &str) -> Vec<u8> {
    let mut block = vec![0x80 | 8];
    block.extend(literal("docker-content-digest", digest));
    block.extend(literal("content-type", super::content::IMAGE));
    block
}

/// A header field without indexing and without Huffman (RFC 7541, sections 5.1 and 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        let mut rest = text.len();
        if rest < 127 {
            bytes.push(u8::try_from(rest).unwrap());
        } else {
            bytes.push(127);
            rest -= 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}
