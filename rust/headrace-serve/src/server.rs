//! Start and end: the socket, the workers, and who gets which connection.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::alias::Alias;
use crate::budget::Budget;
use crate::catalogue::{Catalogue, Control, Endpoint};
use crate::connection::connection;
use crate::engine::choice::{self, Wanted};
use crate::engine::onnx::Runtime;
use crate::error::StartError;
use crate::feedback::Desk;
use crate::gate::Gate;
use crate::http::{Bounds, Service};
use crate::identity::Identities;
use crate::model::{Model, Package, Place};
use crate::scheduler::Limits;
use crate::seat::Seat;
use crate::shadow::{Job, Shadows};
use crate::shares::Shares;
use crate::tap::{Tap, WatchOptions, Watcher};
use crate::tokens::Tokens;
use crate::vigil::{Vigil, Watch};

/// How long to wait when the system gives no more connections: descriptors are used up.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Where to listen, and what may come.
#[derive(Debug, Clone)]
pub struct Options {
    /// An address of this machine, or `localhost`.
    pub host: String,
    /// 0: any that is free.
    pub port: u16,
    /// Threads, each with a session of its own.
    pub workers: NonZeroUsize,
    /// What waits, and what is computed together.
    pub limits: Limits,
    /// What requests may be.
    pub bounds: Bounds,
    /// Where the tokens stand; none: only the loopback can be listened on, and whoever reaches it is let in.
    pub tokens: Option<PathBuf>,
    /// Paths that a platform named.
    pub aliases: Vec<Alias>,
    /// Bytes of bodies and answers that are held at once.
    pub held_bytes: usize,
    /// Rows of a request.
    pub request_rows: usize,
    /// What computes.
    pub engine: Wanted,
    /// Open connections.
    pub connections: NonZeroUsize,
    /// What becomes of what was predicted; none: nobody looks.
    pub watch: Option<WatchOptions>,
}

/// What is to be served.
pub struct Source<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The graph.
    pub onnx: &'a [u8],
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
pub(crate) enum Phase {
    Serving,
    /// Answer what was asked, within so long.
    Draining(Duration),
}

/// A server that answers, until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    runtime: Runtime,
    place: Place,
    engine: Wanted,
    service: Arc<Service>,
    phase: watch::Sender<Phase>,
    workers: Vec<mpsc::UnboundedSender<Order>>,
    /// `None` once clients are let in.
    door: Mutex<Option<Door>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    watcher: Option<Watcher>,
}

type Incoming = (TcpStream, OwnedSemaphorePermit);

/// What a worker is asked to do beside its connections.
#[derive(Debug)]
enum Order {
    /// Compute for a version, and say when it is ready to.
    Attach(Seat, oneshot::Sender<()>),
    /// Let clients in.
    Open(Door),
}

impl Server {
    /// Takes the address, and starts the workers, which have nothing to do yet: see [`Server::load`], [`Server::offer`]
    /// and [`Server::open`].
    pub fn start(library: &Path, options: &Options) -> Result<Self, StartError> {
        let tokens = options.tokens.as_deref().map(Tokens::open).transpose()?;
        let listener = listen(&options.host, options.port, tokens.is_some())?;
        let address = listener.local_addr().map_err(|error| bind_error(&options.host, options.port, &error))?;
        let runtime = Runtime::load(library)?;
        let failed = |error: std::io::Error| StartError::Threads { reason: error.to_string() };
        let (shadows, jobs) = Shadows::new(options.workers.get());
        let identities = Identities::default();
        let watch = options.watch.clone().map(|watch| Watcher::start(watch, &identities.instance()));
        let watcher = watch.transpose()?;
        let service = Arc::new(Service {
            catalogue: Catalogue::default(),
            shadows,
            draining: AtomicBool::new(false),
            tokens,
            aliases: options.aliases.clone(),
            bounds: options.bounds,
            budget: Budget::new(options.held_bytes),
            tap: watcher.as_ref().map(|watcher| Arc::clone(&watcher.tap)),
            desk: Arc::default(),
            most_labels: options.request_rows,
            identities,
            gates: (0..options.workers.get()).map(|_| Gate::default()).collect(),
            version: env!("CARGO_PKG_VERSION"),
        });
        listener.set_nonblocking(true).map_err(failed)?;
        let (phase, told) = watch::channel(Phase::Serving);
        let answering = Arc::new(watch::Sender::new(()));
        let count = options.workers.get();
        let (streams, incoming): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let (workers, orders): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let door = Door { listener, workers: streams, open: Arc::new(Semaphore::new(options.connections.get())) };
        let mut threads = Vec::new();
        let watch = Watch::new(available_parallelism().map_or(1, NonZeroUsize::get));
        let server = Self {
            address,
            runtime,
            place: Place {
                limits: options.limits,
                request_rows: options.request_rows,
                shares: Shares::new(options.workers.get()),
            },
            engine: options.engine,
            service,
            phase,
            workers,
            door: Mutex::new(Some(door)),
            threads: Mutex::default(),
            watcher,
        };
        for (number, ((incoming, orders), jobs)) in incoming.into_iter().zip(orders).zip(jobs).enumerate() {
            let worker = Worker {
                number,
                service: Arc::clone(&server.service),
                phase: told.clone(),
                answers: answering.subscribe(),
                answering: Arc::clone(&answering),
                watch: Arc::clone(&watch),
            };
            let started = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
                std::thread::Builder::new().name(format!("headrace-{number}")).spawn(move || {
                    runtime.block_on(LocalSet::new().run_until(worker.run(orders, incoming, jobs)));
                })
            });
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    *held(&server.threads) = threads;
                    // Dropping it ends those that there are.
                    return Err(failed(error));
                }
            }
        }
        *held(&server.threads) = threads;
        Ok(server)
    }

    /// Loads and checks a version, and has it ready to compute on every worker. It is not offered yet.
    pub fn load(&self, source: Source<'_>) -> Result<Arc<Model>, StartError> {
        let mut engines = choice::engines(&self.runtime, source.onnx, self.workers.len(), self.engine)?;
        let Source { name, version, package, .. } = source;
        let metrics = self.service.catalogue.metrics(name, version);
        let model = Model::new(name, version, &mut engines, package, &self.place, metrics)?;
        let watched = self.tap().is_some_and(|tap| tap.watches(&model.subject));
        model.watched.store(watched, Ordering::Relaxed);
        self.service.catalogue.count(&model);
        let ready: Vec<_> = self
            .workers
            .iter()
            .zip(engines)
            .map(|(worker, engine)| {
                let (tell, told) = oneshot::channel();
                // A worker that is not there does not tell, either.
                let _ = worker.send(Order::Attach(model.seat(engine), tell));
                told
            })
            .collect();
        for told in ready {
            told.blocking_recv().map_err(|_| StartError::Stopped)?;
        }
        Ok(Arc::new(model))
    }

    /// Offers an endpoint, instead of the one of the same name if there is one.
    pub fn offer(&self, endpoint: Endpoint) -> Result<(), StartError> {
        if self.service.catalogue.offer(endpoint) { Ok(()) } else { Err(StartError::Stopped) }
    }

    /// What became of attempts to change what is served.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.service.catalogue.control
    }

    /// Lets clients in. A second time does nothing.
    pub fn open(&self) {
        if let (Some(worker), Some(door)) = (self.workers.first(), held(&self.door).take()) {
            // A worker that has ended lets nobody in.
            let _ = worker.send(Order::Open(door));
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests answered, rows predicted, requests refused.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        self.service.catalogue.totals()
    }

    /// Who looks at what was predicted; it may be asked after the end as well.
    #[must_use]
    pub fn tap(&self) -> Option<&Arc<Tap>> {
        self.service.tap.as_ref()
    }

    /// Where labels wait for whoever keeps them.
    #[must_use]
    pub fn desk(&self) -> &Arc<Desk> {
        &self.service.desk
    }

    /// What this server is called among others: a new name at each start.
    #[must_use]
    pub fn instance(&self) -> String {
        self.service.identities.instance()
    }

    /// Takes no more connections, answers what was asked, and ends; after `patience` whatever is left is dropped.
    pub fn stop(&self, patience: Duration) {
        self.service.draining.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Draining(patience));
        drop(held(&self.door).take());
        for thread in held(&self.threads).drain(..) {
            // A worker that panicked has ended as well.
            let _ = thread.join();
        }
        self.service.desk.close();
        if let Some(watcher) = &self.watcher {
            watcher.stop();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in them is taken out and put in whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes connections, and hands them out in turn.
#[derive(Debug)]
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
    watch: Arc<Watch>,
}

impl Worker {
    async fn run(
        self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut incoming: mpsc::UnboundedReceiver<Incoming>,
        jobs: mpsc::Receiver<Job>,
    ) {
        let number = self.number;
        let service = Arc::clone(&self.service);
        let shadowing = tokio::task::spawn_local(async move {
            service.shadows.work(&service.catalogue, number, jobs, service.bounds.deadline).await;
        });
        let mut computing = JoinSet::new();
        let mut connections = JoinSet::new();
        let mut phase = self.phase.clone();
        let company = Rc::new(());
        let answer = |stream, permit| {
            let vigil = Vigil::new(Arc::clone(&self.watch), Rc::clone(&company));
            connection(Arc::clone(&self.service), number, stream, permit, vigil, self.phase.clone())
        };
        loop {
            tokio::select! {
                stream = incoming.recv() => {
                    let Some((stream, permit)) = stream else { break };
                    connections.spawn_local(answer(stream, permit));
                }
                order = orders.recv() => match order {
                    Some(Order::Attach(seat, tell)) => {
                        computing.spawn_local(seat.work(number));
                        // Who asked for it may have given up.
                        let _ = tell.send(());
                    }
                    Some(Order::Open(door)) => {
                        tokio::task::spawn_local(door.run(self.phase.clone()));
                    }
                    None => break,
                },
                Some(_) = connections.join_next() => {}
                Some(_) = computing.join_next() => {}
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
            }
        }
        // Nothing more is loaded; but if clients were to be let in, some may be there.
        orders.close();
        while let Ok(order) = orders.try_recv() {
            if let Order::Open(door) = order {
                tokio::task::spawn_local(door.run(self.phase.clone()));
            }
        }
        // Whoever is only tried has no part in the end.
        shadowing.abort();
        let patience = match *self.phase.borrow() {
            Phase::Draining(patience) => patience,
            Phase::Serving => Duration::ZERO,
        };
        // What was accepted before, and not looked at yet, has asked; after the last of it the door is gone.
        while let Some((stream, permit)) = incoming.recv().await {
            connections.spawn_local(answer(stream, permit));
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(patience, ended).await;
        connections.shutdown().await;
        // Another worker's request may be in this one's hands, so nobody stops computing before all are done.
        drop(self.answers);
        self.answering.closed().await;
        self.service.catalogue.close();
        while computing.join_next().await.is_some() {}
    }
}

fn listen(host: &str, port: u16, authenticated: bool) -> Result<TcpListener, StartError> {
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
    if !address.is_loopback() && !authenticated {
        return Err(StartError::Exposed { host: host.to_owned() });
    }
    TcpListener::bind((address, port)).map_err(|error| bind_error(host, port, &error))
}

fn bind_error(host: &str, port: u16, error: &std::io::Error) -> StartError {
    let in_use = error.kind() == ErrorKind::AddrInUse;
    let reason = if in_use { "somebody else listens there".to_owned() } else { error.to_string() };
    StartError::Bind { address: format!("{host}:{port}"), reason, in_use }
}
