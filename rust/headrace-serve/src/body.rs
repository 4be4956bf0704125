//! The body of a request: all of it, in time, unpacked, and never more than is allowed.

use std::io::Read;
use std::time::Duration;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderValue};

use crate::budget::Lease;
use crate::error::Refusal;

/// Bytes that are unpacked at once.
const PIECE: usize = 64 * 1024;
/// Bytes that are set aside before they are there.
const AHEAD: usize = 1024 * 1024;
/// Bytes that are still read of a body that was refused.
const DRAINED: usize = 64 * 1024 * 1024;
/// How long they are waited for.
const DRAINING: Duration = Duration::from_secs(5);

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls deflate.
    Deflate,
}

impl Packing {
    /// What a Content-Encoding header says; `None` is not at all.
    pub fn of(header: Option<&HeaderValue>) -> Result<Option<Self>, Refusal> {
        let Some(header) = header else { return Ok(None) };
        let word = header.to_str().unwrap_or_default().trim();
        if word.eq_ignore_ascii_case("identity") || (word.is_empty() && header.is_empty()) {
            Ok(None)
        } else if word.eq_ignore_ascii_case("gzip") || word.eq_ignore_ascii_case("x-gzip") {
            Ok(Some(Self::Gzip))
        } else if word.eq_ignore_ascii_case("deflate") {
            Ok(Some(Self::Deflate))
        } else {
            let found = String::from_utf8_lossy(header.as_bytes()).escape_debug().to_string();
            let what = format!("the content encoding '{found}' is not understood; send gzip, deflate, or it plain");
            Err(Refusal::MediaType(what))
        }
    }

    /// What was packed, if it has no more than `most` bytes: no more are ever unpacked.
    fn unpack(self, packed: &[u8], most: usize, lease: &mut Lease) -> Result<Vec<u8>, Refusal> {
        let mut reader: Box<dyn Read + '_> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Deflate => Box::new(ZlibDecoder::new(packed)),
        };
        let mut piece = vec![0; PIECE];
        let mut out = Vec::new();
        loop {
            let read = reader.read(&mut piece);
            let read =
                read.map_err(|error| Refusal::Bad(format!("the body is not the {self:?} that it says: {error}")))?;
            let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(out) };
            if bytes.len() > most.saturating_sub(out.len()) {
                return Err(large(most));
            }
            lease.grow(bytes.len())?;
            out.extend_from_slice(bytes);
        }
    }
}

fn large(most: usize) -> Refusal {
    Refusal::TooLarge(format!("the body is larger than {most} bytes, which is the most that is read"))
}

/// A body, counted as long as it is there.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) lease: Lease,
}

impl Body {
    /// What is packed in a part of it, if it has no more than `most` bytes. Beside the event loop: a small body can take
    /// long.
    pub(crate) async fn unpacked(self, packing: Packing, skip: usize, most: usize) -> Result<Self, Refusal> {
        let Self { bytes, mut lease } = self;
        let unpacked = tokio::task::spawn_blocking(move || {
            let bytes = Bytes::from(packing.unpack(bytes.get(skip..).unwrap_or_default(), most, &mut lease)?);
            Ok(Self { bytes, lease })
        });
        unpacked.await.map_err(|_| Refusal::Bad("the body cannot be unpacked".to_owned()))?
    }
}

/// The whole body, if it has no more than `most` bytes, packed and unpacked, and arrives in time.
pub(crate) async fn whole(
    headers: &HeaderMap,
    body: &mut Incoming,
    most: usize,
    arrival: Duration,
    lease: Lease,
) -> Result<Body, Refusal> {
    let packing = Packing::of(headers.get(CONTENT_ENCODING))?;
    if body.size_hint().lower() > most as u64 {
        return Err(large(most));
    }
    let read = tokio::time::timeout(arrival, read(body, most, lease)).await;
    let body = read.map_err(|_| Refusal::Slow)??;
    match packing {
        Some(packing) => body.unpacked(packing, 0, most).await,
        None => Ok(body),
    }
}

/// What arrives, counted as it does: a length that is only said counts for nothing.
async fn read(body: &mut Incoming, most: usize, mut lease: Lease) -> Result<Body, Refusal> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Bad(format!("the body cannot be read: {error}")))?;
        // Trailers say nothing that is wanted.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > most - length {
            return Err(large(most));
        }
        lease.grow(data.len())?;
        if length == 0 {
            first = data.clone();
        } else {
            if all.is_empty() {
                let more = usize::try_from(body.size_hint().lower()).unwrap_or(AHEAD).min(AHEAD);
                all.reserve(length + data.len() + more);
                all.extend_from_slice(&first);
            }
            // Copied, so that many small pieces take no more than what is in them.
            all.extend_from_slice(&data);
        }
        length += data.len();
    }
    Ok(Body { bytes: if all.is_empty() { first } else { Bytes::from(all) }, lease })
}

/// Reads what a client still sends after it was refused, within bounds, so that it gets to reading the answer.
pub(crate) async fn drain(mut body: Incoming) {
    let all = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(1, |data| data.len().max(1)));
            if left == 0 {
                return;
            }
        }
    };
    // A client that takes longer finds the connection closed.
    let _ = tokio::time::timeout(DRAINING, all).await;
}
