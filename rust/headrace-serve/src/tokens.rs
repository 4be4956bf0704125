//! Who may ask what: tokens, known by their hashes, with scopes and an end.
//!
//! The file is written by somebody else (`headrace tokens`), and read again while the server runs: at most once a second,
//! when a request needs it, so that a server that nobody asks does nothing. What cannot be read lets nobody in.

use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::error::{Refusal, StartError};
use crate::routes::Permission;

/// Milliseconds between two looks at the file.
const EVERY: u64 = 1000;
/// Bytes of the file.
const LARGEST: u64 = 1024 * 1024;
/// How long what was read last counts while the system cannot read the file: when descriptors are used up, those who may
/// ask are not shut out at once, and a token that was revoked meanwhile does not live for ever.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Bytes of a token that a client sends.
const LONGEST: usize = 256;
/// The layout of the file.
const FORMAT: u64 = 1;

/// What a token lets somebody do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Ask for predictions.
    Predict,
    /// Look at what an operator looks at.
    Observe,
    /// Whatever there is.
    Admin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    digest: [u8; 32],
    scopes: Vec<Scope>,
    /// Seconds since 1970-01-01 UTC.
    expires: u64,
}

#[derive(Deserialize)]
struct Document {
    format_version: u64,
    tokens: Vec<Entry>,
}

/// A token as the file has it; what else stands there is for people.
#[derive(Deserialize)]
struct Entry {
    sha256: String,
    scopes: Vec<Scope>,
    expires: u64,
    revoked: Option<u64>,
}

#[derive(Debug)]
struct Known {
    tokens: Vec<Token>,
    read: Instant,
    /// The file as it was read; what has not changed is not parsed.
    bytes: Vec<u8>,
    readable: bool,
}

/// The tokens of a server.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    known: RwLock<Known>,
    began: Instant,
    /// Milliseconds since then at which the file was looked at last.
    looked: AtomicU64,
}

/// Why a file cannot be used: whether the system failed, which may pass, and what a person is told.
struct Trouble {
    passing: bool,
    reason: String,
}

impl Trouble {
    fn wrong(reason: impl Into<String>) -> Self {
        Self { passing: false, reason: reason.into() }
    }
}

impl Tokens {
    /// Reads the file, which has at least one token that is valid now.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let failed = |reason: String| StartError::Tokens { file: path.display().to_string(), reason };
        let bytes = read(path).map_err(|trouble| failed(trouble.reason))?;
        let tokens = parse(&bytes).map_err(|trouble| failed(trouble.reason))?;
        let now = now();
        if !tokens.iter().any(|token| token.expires > now) {
            return Err(failed("it has no token that is valid now, so nobody could ask".to_owned()));
        }
        let began = Instant::now();
        let known = RwLock::new(Known { tokens, read: began, bytes, readable: true });
        Ok(Self { path: path.to_owned(), known, began, looked: AtomicU64::new(0) })
    }

    /// Whether the headers of a request have a token for what it asks.
    pub fn check(&self, permission: Permission, headers: &HeaderMap) -> Result<(), Refusal> {
        let wanted = match permission {
            Permission::Open => return Ok(()),
            Permission::Predict => Scope::Predict,
            Permission::Observe => Scope::Observe,
        };
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let Some(header) = given.next() else { return Err(Refusal::Unauthenticated { given: false }) };
        let wrong = Refusal::Unauthenticated { given: true };
        let token = if given.next().is_none() { bearer(header.as_bytes()) } else { None };
        let digest: [u8; 32] = Sha256::digest(token.ok_or_else(|| wrong.clone())?).into();
        self.look();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // All of them are compared, each to its end, whatever is found.
        let mut found: Option<&Token> = None;
        for token in &known.tokens {
            if equal(&token.digest, &digest) {
                found = Some(token);
            }
        }
        let token = found.filter(|token| token.expires > now()).ok_or(wrong)?;
        if token.scopes.contains(&wanted) || token.scopes.contains(&Scope::Admin) {
            Ok(())
        } else {
            Err(Refusal::Forbidden(permission))
        }
    }

    /// Reads the file again if that was not done for a while.
    fn look(&self) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = self.looked.load(Ordering::Relaxed);
        let due = at.saturating_sub(before) >= EVERY;
        if !due {
            return;
        }
        // First the lock: who comes meanwhile waits for what the file says now, and is not let in by what it said before.
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if self.looked.compare_exchange(before, at, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let found = read(&self.path);
        let parsed = match found {
            Ok(bytes) if known.readable && bytes == known.bytes => {
                known.read = Instant::now();
                return;
            }
            Ok(bytes) => parse(&bytes).map(|tokens| (bytes, tokens)),
            Err(trouble) => Err(trouble),
        };
        match parsed {
            Ok((bytes, tokens)) => *known = Known { tokens, read: Instant::now(), bytes, readable: true },
            Err(trouble) => {
                known.readable = false;
                if !trouble.passing || known.read.elapsed() > REMEMBERED {
                    known.tokens.clear();
                }
            }
        }
    }

    /// For Prometheus.
    pub(crate) fn write(&self, out: &mut String) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let valid = known.tokens.iter().filter(|token| token.expires > now).count();
        for (name, help, value) in [
            ("headrace_tokens_valid", "Tokens that let somebody in now.", valid),
            ("headrace_tokens_readable", "Whether the file of tokens can be read.", usize::from(known.readable)),
        ] {
            // Writing to memory cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
    }
}

/// The bytes of a file, if it is one that only its owner can change.
fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    let failed = |error: std::io::Error| Trouble {
        passing: error.kind() != std::io::ErrorKind::NotFound,
        reason: format!("cannot be read: {error}"),
    };
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        return Err(Trouble::wrong("is not a file"));
    }
    if about.permissions().mode() & 0o022 != 0 {
        return Err(Trouble::wrong("others than its owner may write it, and so let themselves in"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Trouble::wrong(format!("is larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

/// The tokens that were not revoked.
fn parse(bytes: &[u8]) -> Result<Vec<Token>, Trouble> {
    // What serde says may show what stands there.
    let wrong = |error: serde_json::Error| {
        Trouble::wrong(format!("is no file of tokens (line {}, column {})", error.line(), error.column()))
    };
    let document: Document = serde_json::from_slice(bytes).map_err(wrong)?;
    if document.format_version != FORMAT {
        let found = document.format_version;
        return Err(Trouble::wrong(format!("has the format {found}, this version knows {FORMAT}")));
    }
    let mut tokens = Vec::with_capacity(document.tokens.len());
    for (number, entry) in document.tokens.into_iter().enumerate() {
        let digest = digest(&entry.sha256)
            .ok_or_else(|| Trouble::wrong(format!("the sha256 of token {number} is not 64 hexadecimal digits")))?;
        if entry.revoked.is_none() {
            tokens.push(Token { digest, scopes: entry.scopes, expires: entry.expires });
        }
    }
    Ok(tokens)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let bytes = text.as_bytes();
    if bytes.len() != 64 || !bytes.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// The token of `Bearer TOKEN`.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(6)?;
    let token = rest.trim_ascii();
    let fits = scheme.eq_ignore_ascii_case(b"bearer") && rest.first() == Some(&b' ');
    (fits && (1..=LONGEST).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic)).then_some(token)
}

/// Whether they are the same, in a time that says nothing about where they differ.
fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | black_box(a ^ b));
    black_box(difference) == 0
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}
