//! A connection: HTTP/1.1, or HTTP/2 where the client begins with it, which is how gRPC comes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use crate::activity::Activity;
use crate::http::Service;
use crate::patient::Patient;
use crate::server::Phase;
use crate::vigil::Vigil;

/// How often a quiet connection of HTTP/2 is asked whether somebody is there.
const ASK: Duration = Duration::from_secs(30);
/// How long a connection is still read after the server was asked to stop: what was sent before may not have been seen.
const GRACE: Duration = Duration::from_millis(20);
/// Headers of a request.
const HEADERS: usize = 100;
/// Bytes of a request's head, and of what is read at once.
const BUFFER: usize = 64 * 1024;
/// How HTTP/2 begins, as far as no method of HTTP/1 does.
const PREFACE: &[u8] = b"PRI";
/// How often, and how long each time, more is waited for of a beginning that is shorter: HTTP/2 sends it in one piece.
const SHORT: (usize, Duration) = (50, Duration::from_millis(1));
/// Requests of one HTTP/2 connection that are answered at once.
const STREAMS: u32 = 256;
/// Bytes that one of them may send ahead.
const WINDOW: u32 = 256 * 1024;
/// How long one that is told to end may take to.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a client may take to say that it is still there.
const ALIVE: Duration = Duration::from_secs(10);

/// Answers a connection until it ends, or the server does.
pub(crate) async fn connection(
    service: Arc<Service>,
    worker: usize,
    stream: std::net::TcpStream,
    permit: OwnedSemaphorePermit,
    vigil: Vigil,
    mut phase: watch::Receiver<Phase>,
) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let second = tokio::select! {
        begun = timeout(service.bounds.head, begins_with_preface(&stream)) => begun,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => timeout(GRACE, begins_with_preface(&stream)).await,
    };
    let patience = service.bounds.answer;
    match second {
        Ok(Ok(true)) => over_http2(service, worker, Patient::new(stream, patience, vigil), phase).await,
        Ok(Ok(false)) => over_http1(&service, worker, Patient::new(stream, patience, vigil), phase).await,
        // A client that has nothing to say, or has left.
        Ok(Err(_)) | Err(_) => {}
    }
    drop(permit);
}

/// Looks at the first bytes, and leaves them where they are.
async fn begins_with_preface(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    for _ in 0..SHORT.0 {
        let found = stream.peek(&mut first).await?;
        if found == 0 || !PREFACE.starts_with(&first[..found]) {
            return Ok(false);
        }
        if found == PREFACE.len() {
            return Ok(true);
        }
        tokio::time::sleep(SHORT.1).await;
    }
    Ok(false)
}

async fn over_http1(service: &Arc<Service>, worker: usize, stream: Patient, phase: watch::Receiver<Phase>) {
    let answer = service_fn(|request| service.answer(worker, request, None));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(service.bounds.head).max_headers(HEADERS).max_buf_size(BUFFER);
    let mut serving = pin!(http.serve_connection(stream, answer));
    if told(serving.as_mut(), phase).await {
        serving.as_mut().graceful_shutdown();
        let _ = serving.await;
    }
}

async fn over_http2(service: Arc<Service>, worker: usize, stream: Patient, phase: watch::Receiver<Phase>) {
    let activity = Activity::new();
    let bounds = service.bounds;
    let asked = Rc::clone(&activity);
    let answer = service_fn(move |request| {
        let (service, activity, running) = (Arc::clone(&service), Rc::clone(&asked), asked.request());
        async move {
            let answer = service.call(worker, request, &activity).await;
            drop(running);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http2::Builder::new(Here);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(ASK)
        .keep_alive_timeout(ALIVE);
    let mut serving = pin!(http.serve_connection(stream, answer));
    tokio::select! {
        stopping = told(serving.as_mut(), phase) => if stopping {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        },
        () = activity.ended(bounds.head, bounds.answer) => {
            serving.as_mut().graceful_shutdown();
            // Streams that a client holds open end with the connection.
            let _ = timeout(FAREWELL, serving).await;
        }
    }
}

/// Waits for the end of a connection, or of the server: then true, once what was sent before has been seen.
async fn told(mut serving: impl Future + Unpin, mut phase: watch::Receiver<Phase>) -> bool {
    let told = tokio::select! {
        // A client that breaks the protocol or leaves has heard of it.
        _ = &mut serving => false,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => true,
    };
    told && timeout(GRACE, serving).await.is_err()
}

/// Runs the requests of an HTTP/2 connection on the connection's own thread.
#[derive(Debug, Clone, Copy)]
struct Here;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
