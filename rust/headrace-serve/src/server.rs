//! Start and end: the socket, the workers, and who gets which connection.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::engine::Engine;
use crate::engine::onnx::Runtime;
use crate::error::StartError;
use crate::http::{Bounds, Service};
use crate::model::{Model, Package};
use crate::scheduler::Limits;

/// How long a connection may take to send a request's head, and how long an idle one is kept.
const HEAD: Duration = Duration::from_secs(30);
/// How long a connection is still read after the server was asked to stop: what was sent before may not have been seen.
const GRACE: Duration = Duration::from_millis(20);
/// Headers of a request.
const HEADERS: usize = 100;
/// Bytes of a request's head, and of what is read at once.
const BUFFER: usize = 64 * 1024;
/// How long to wait when the system gives no more connections: descriptors are used up.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Where to listen, and what may come.
#[derive(Debug, Clone)]
pub struct Options {
    /// A name or an address of the loopback.
    pub host: String,
    /// 0: any that is free.
    pub port: u16,
    /// Threads, each with a session of its own.
    pub workers: NonZeroUsize,
    /// What waits, and what is computed together.
    pub limits: Limits,
    /// What requests may be.
    pub bounds: Bounds,
    /// Rows of a request.
    pub request_rows: usize,
    /// Open connections.
    pub connections: NonZeroUsize,
}

/// What is to be served.
pub struct Source<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The graph.
    pub onnx: &'a [u8],
    /// ONNX Runtime's shared library.
    pub library: &'a Path,
    /// What makes it take raw columns.
    pub package: Option<Package>,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Source")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What the workers are told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Serving,
    /// Answer what was asked, within so long.
    Draining(Duration),
}

/// A server that answers, until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    service: Arc<Service>,
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
}

type Incoming = (TcpStream, OwnedSemaphorePermit);

impl Server {
    /// Loads, checks, listens.
    pub fn start(source: Source<'_>, options: &Options) -> Result<Self, StartError> {
        let listener = listen(&options.host, options.port)?;
        let address = listener.local_addr().map_err(|error| bind_error(&options.host, options.port, &error))?;
        let runtime = Runtime::load(source.library)?;
        let mut engines: Vec<Box<dyn Engine>> = Vec::with_capacity(options.workers.get());
        for _ in 0..options.workers.get() {
            engines.push(Box::new(runtime.session(source.onnx)?));
        }
        let Source { name, version, package, .. } = source;
        let model = Model::new(name, version, &mut engines, package, options.limits, options.request_rows)?;
        Self::with_engines(listener, address, model, engines, options)
    }

    /// Answers on `listener` with engines that are there already.
    pub fn with_engines(
        listener: TcpListener,
        address: SocketAddr,
        model: Model,
        engines: Vec<Box<dyn Engine>>,
        options: &Options,
    ) -> Result<Self, StartError> {
        let failed = |error: std::io::Error| StartError::Threads { reason: error.to_string() };
        let service = Arc::new(Service {
            model: Arc::new(model),
            draining: AtomicBool::new(false),
            bounds: options.bounds,
            version: env!("CARGO_PKG_VERSION"),
        });
        listener.set_nonblocking(true).map_err(failed)?;
        let (phase, told) = watch::channel(Phase::Serving);
        let answering = Arc::new(watch::Sender::new(()));
        let (senders, receivers): (Vec<_>, Vec<_>) = engines.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let mut door =
            Some(Door { listener, workers: senders, open: Arc::new(Semaphore::new(options.connections.get())) });
        let mut server = Self { address, service, phase, threads: Vec::new() };
        for (number, (engine, incoming)) in engines.into_iter().zip(receivers).enumerate() {
            let worker = Worker {
                number,
                service: Arc::clone(&server.service),
                phase: told.clone(),
                answers: answering.subscribe(),
                answering: Arc::clone(&answering),
            };
            let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let door = door.take();
            let thread = std::thread::Builder::new().name(format!("headrace-{number}")).spawn(move || {
                runtime.block_on(LocalSet::new().run_until(worker.run(engine, incoming, door)));
            });
            server.threads.push(thread.map_err(failed)?);
        }
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.service.model
    }

    /// Takes no more connections, answers what was asked, and ends; after `patience` whatever is left is dropped.
    pub fn stop(&mut self, patience: Duration) {
        self.service.draining.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Draining(patience));
        for thread in self.threads.drain(..) {
            // A worker that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// Takes connections, and hands them out in turn.
struct Door {
    listener: TcpListener,
    workers: Vec<mpsc::UnboundedSender<Incoming>>,
    open: Arc<Semaphore>,
}

impl Door {
    async fn run(self, mut phase: watch::Receiver<Phase>) {
        let Ok(listener) = tokio::net::TcpListener::from_std(self.listener) else { return };
        let take = async {
            for worker in self.workers.iter().cycle() {
                let Ok(permit) = Arc::clone(&self.open).acquire_owned().await else { return };
                let stream = loop {
                    match listener.accept().await {
                        Ok((stream, _)) => break stream,
                        Err(_) => tokio::time::sleep(EXHAUSTED).await,
                    }
                };
                let Ok(stream) = stream.into_std() else { continue };
                if !hand_over(worker, stream, permit) {
                    return;
                }
            }
        };
        tokio::select! {
            () = take => return,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
        }
        // Whom the system let in already may have asked, and would be cut off if the listener were closed now.
        let Ok(listener) = listener.into_std() else { return };
        for worker in self.workers.iter().cycle() {
            let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() else { return };
            match listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                    if !hand_over(worker, stream, permit) {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => return,
            }
        }
    }
}

/// Gives a connection to a worker; whether the worker is still there.
fn hand_over(worker: &mpsc::UnboundedSender<Incoming>, stream: TcpStream, permit: OwnedSemaphorePermit) -> bool {
    // Without it an answer may be later, and is the same.
    let _ = stream.set_nodelay(true);
    worker.send((stream, permit)).is_ok()
}

struct Worker {
    number: usize,
    service: Arc<Service>,
    phase: watch::Receiver<Phase>,
    /// Held until this worker's connections have ended.
    answers: watch::Receiver<()>,
    /// Closed once no worker answers. Workers of a server that could not start all of them are not waited for.
    answering: Arc<watch::Sender<()>>,
}

impl Worker {
    async fn run(self, engine: Box<dyn Engine>, mut incoming: mpsc::UnboundedReceiver<Incoming>, door: Option<Door>) {
        let (number, service) = (self.number, Arc::clone(&self.service));
        let computing = tokio::task::spawn_local(async move { service.model.scheduler.work(number, engine).await });
        if let Some(door) = door {
            tokio::task::spawn_local(door.run(self.phase.clone()));
        }
        let mut connections = JoinSet::new();
        let mut phase = self.phase.clone();
        loop {
            tokio::select! {
                stream = incoming.recv() => {
                    let Some((stream, permit)) = stream else { break };
                    let (service, phase) = (Arc::clone(&self.service), self.phase.clone());
                    connections.spawn_local(connection(service, number, stream, permit, phase));
                }
                Some(_) = connections.join_next() => {}
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
            }
        }
        let patience = match *self.phase.borrow() {
            Phase::Draining(patience) => patience,
            Phase::Serving => Duration::ZERO,
        };
        // What was accepted before, and not looked at yet, has asked; after the last of it the door is gone.
        while let Some((stream, permit)) = incoming.recv().await {
            let (service, phase) = (Arc::clone(&self.service), self.phase.clone());
            connections.spawn_local(connection(service, number, stream, permit, phase));
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(patience, ended).await;
        connections.shutdown().await;
        // Another worker's request may be in this one's hands, so nobody stops computing before all are done.
        drop(self.answers);
        self.answering.closed().await;
        self.service.model.scheduler.close();
        let _ = computing.await;
    }
}

async fn connection(
    service: Arc<Service>,
    worker: usize,
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    mut phase: watch::Receiver<Phase>,
) {
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let answer = service_fn(|request| service.answer(worker, request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(HEADERS).max_buf_size(BUFFER);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), answer));
    let told = tokio::select! {
        // A client that breaks the protocol or leaves has heard of it.
        _ = serving.as_mut() => false,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => true,
    };
    if told && tokio::time::timeout(GRACE, serving.as_mut()).await.is_err() {
        serving.as_mut().graceful_shutdown();
        let _ = serving.await;
    }
    drop(permit);
}

fn listen(host: &str, port: u16) -> Result<TcpListener, StartError> {
    let address = match host.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) if host.eq_ignore_ascii_case("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Err(_) => {
            return Err(StartError::Option {
                option: "host",
                found: format!("'{}'", host.escape_debug()),
                expected: "an IP address, or localhost",
            });
        }
    };
    if !address.is_loopback() {
        return Err(StartError::Exposed { host: host.to_owned() });
    }
    TcpListener::bind((address, port)).map_err(|error| bind_error(host, port, &error))
}

fn bind_error(host: &str, port: u16, error: &std::io::Error) -> StartError {
    let in_use = error.kind() == ErrorKind::AddrInUse;
    let reason = if in_use { "somebody else listens there".to_owned() } else { error.to_string() };
    StartError::Bind { address: format!("{host}:{port}"), reason, in_use }
}
