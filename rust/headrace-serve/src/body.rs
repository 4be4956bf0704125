//! The body of a request: all of it, in time, unpacked, and never more than is allowed.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderValue};

use crate::error::Refusal;

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
    pub fn unpack(self, packed: &[u8], most: usize) -> Result<Vec<u8>, Refusal> {
        let limit = most as u64 + 1;
        let mut out = Vec::new();
        let read = match self {
            Self::Gzip => MultiGzDecoder::new(packed).take(limit).read_to_end(&mut out),
            Self::Deflate => ZlibDecoder::new(packed).take(limit).read_to_end(&mut out),
        };
        if out.len() > most {
            return Err(large(most));
        }
        match read {
            Ok(_) => Ok(out),
            Err(error) => Err(Refusal::Bad(format!("the body is not the {self:?} that it says: {error}"))),
        }
    }
}

fn large(most: usize) -> Refusal {
    Refusal::TooLarge(format!("the body is larger than {most} bytes, which is the most that is read"))
}

/// The whole body, if it has no more than `most` bytes, packed and unpacked, and arrives in time.
pub async fn whole(request: Request<Incoming>, most: usize, arrival: Duration) -> Result<Bytes, Refusal> {
    let packing = Packing::of(request.headers().get(CONTENT_ENCODING))?;
    if request.body().size_hint().lower() > most as u64 {
        return Err(large(most));
    }
    let read = Limited::new(request.into_body(), most).collect();
    let body = match tokio::time::timeout(arrival, read).await {
        Err(_) => return Err(Refusal::Slow),
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(large(most)),
        Ok(Err(error)) => return Err(Refusal::Bad(format!("the body cannot be read: {error}"))),
    };
    let Some(packing) = packing else { return Ok(body) };
    // Beside the event loop: a small body can take long.
    let unpacked = tokio::task::spawn_blocking(move || packing.unpack(&body, most)).await;
    unpacked.map_err(|_| Refusal::Bad("the body cannot be unpacked".to_owned()))?.map(Bytes::from)
}
