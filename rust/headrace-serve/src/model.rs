//! A model as clients see it: columns in, columns out.

mod checks;
mod classes;
mod measure;
mod shapes;
mod table;
mod widths;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use headrace_core::plan::{Plan, Scratch};
use hyper::header::HeaderValue;
use tokio::sync::oneshot;

use self::checks::{check_axes, check_graph};
use self::classes::{greatest, pick};
use self::measure::measure;
use self::widths::Width;
use crate::catalogue;
use crate::columns::WIDEST;
use crate::engine::{Engine, Port};
use crate::error::{Refusal, StartError};
use crate::golden::Golden;
use crate::independence::rows_are_independent;
use crate::inputs::{Inputs, RawRows};
use crate::metrics::Metrics;
use crate::probe::probes;
use crate::scheduler::{Answer, Limits, Scheduler};
use crate::seat::Seat;
use crate::shares::Shares;
use crate::subject::{References, Subject};
use crate::tensor::{Data, Kind, Tensor};

/// A column that a client gives or gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// As the Open Inference Protocol calls its type.
    pub datatype: String,
    /// Lengths of its axes, -1 for any.
    pub shape: Vec<i64>,
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: Arc<str>,
    /// A row for each row of the request.
    pub tensor: Tensor,
}

/// What makes a graph a package: raw columns in, labels out.
#[derive(Debug)]
pub struct Package {
    /// Raw row to features.
    pub plan: Plan,
    /// The columns that the plan reads, in order.
    pub inputs: Vec<Column>,
    /// The classes, in the order of the model's probabilities; `None` for regression.
    pub classes: Option<Data>,
    /// The classes as text.
    pub class_names: Vec<String>,
    /// What the model gave when the package was made.
    pub golden: Golden,
    /// What it was made on, if it says so.
    pub references: Option<References>,
}

/// What a client's rows become.
#[derive(Debug)]
enum Work {
    Graph(Vec<Port>),
    Package(Box<Raw>),
}

#[derive(Debug)]
struct Raw {
    plan: Arc<Plan>,
    /// `"name":` of each input, as JSON.
    keys: Vec<String>,
    position: HashMap<String, usize>,
    classes: Option<Data>,
    scratch: Mutex<Vec<Scratch>>,
}

/// Where a model is served: what its requests may be, and whom it shares the workers with.
#[derive(Debug, Clone)]
pub struct Place {
    /// What may wait, and what is computed together.
    pub limits: Limits,
    /// Rows of a request, at most.
    pub request_rows: usize,
    /// The models of the server.
    pub shares: Arc<Shares>,
}

/// One version of a model.
#[derive(Debug)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it takes.
    pub inputs: Vec<Column>,
    /// What it gives.
    pub outputs: Vec<Column>,
    /// Whether requests are computed together.
    pub batched: bool,
    /// What computes.
    pub engine: &'static str,
    /// Rows of a request, at most.
    pub request_rows: usize,
    /// What waits for an engine.
    pub scheduler: Arc<Scheduler>,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// It, for whoever watches.
    pub subject: Arc<Subject>,
    /// Whether raw rows are kept for whoever watches.
    pub watched: AtomicBool,
    /// `name@version`, as answers name it.
    pub label: Option<HeaderValue>,
    /// Versions that are tried on what it is asked.
    shadows: RwLock<Arc<[Arc<Model>]>>,
    shaded: AtomicBool,
    names: Vec<Arc<str>>,
    work: Arc<Work>,
    /// Of an input that may have any number of columns from a least one on.
    width: Option<Width>,
    /// Whether clients can send shapes that nobody knows the graph to take.
    open: bool,
}

impl Model {
    /// Checks the graph, replays the golden rows, and finds out whether requests may be computed together.
    pub fn new(
        name: &str,
        version: &str,
        engines: &mut [Box<dyn Engine>],
        package: Option<Package>,
        place: &Place,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let workers = engines.len();
        let Some(first) = engines.first_mut() else {
            return Err(StartError::Model { reason: "the server has no engine".to_owned() });
        };
        let engine = first.name();
        let (mut inputs, outputs) = (first.inputs().to_vec(), first.outputs().to_vec());
        check_axes(&inputs)?;
        let found = if package.is_none() { widths::find(first.as_mut(), &inputs) } else { None };
        let mut width = found;
        if let Some(only) = found.filter(|found| found.only) {
            inputs = only.filled(&inputs);
            width = None;
        }
        let open = width.is_none() && inputs.iter().any(widths::is_open);
        let mut references = None;
        let (work, inputs_seen, outputs_seen, probes) = match package {
            None => {
                let (seen, given) = (columns(&inputs), columns(&outputs));
                let probes = probes(&width.map_or_else(|| inputs.clone(), |width| width.filled(&inputs)));
                (Work::Graph(inputs.clone()), seen, given, probes)
            }
            Some(mut package) => {
                check_graph(&package, &inputs, &outputs)?;
                package.golden.replay(first.as_mut())?;
                let known = std::iter::once(vec![package.golden.input()]);
                let probes = known.chain(probes(&inputs)).collect();
                let seen = package.inputs.clone();
                let given = labelled(&package);
                references = package.references.take();
                (Work::Package(Box::new(Raw::new(package))), seen, given, probes)
            }
        };
        let any_rows = inputs.iter().chain(&outputs).all(|port| port.shape.first().is_some_and(Option::is_none));
        let batched = place.limits.batch_rows > 1 && any_rows && rows_are_independent(first.as_mut(), &probes);
        let limits = if batched { place.limits } else { Limits { batch_rows: 1, ..place.limits } };
        let scheduler = Arc::new(Scheduler::new(workers, limits, Arc::clone(&metrics), &place.shares));
        if let Some(rows) = probes.first() {
            measure(engines, rows, limits.batch_rows, &scheduler);
        }
        let plan = match &work {
            Work::Graph(_) => None,
            Work::Package(raw) => Some((Arc::clone(&raw.plan), raw.plan.schema())),
        };
        let subject = Subject {
            model: name.to_owned(),
            version: version.to_owned(),
            inputs: inputs_seen.iter().map(|column| column.name.clone()).collect(),
            plan,
            references,
        };
        Ok(Self {
            subject: Arc::new(subject),
            name: name.to_owned(),
            version: version.to_owned(),
            names: outputs_seen.iter().map(|column| Arc::from(column.name.as_str())).collect(),
            inputs: inputs_seen,
            outputs: outputs_seen,
            batched,
            engine,
            request_rows: place.request_rows,
            scheduler,
            metrics,
            watched: AtomicBool::new(false),
            shadows: RwLock::new(Arc::from([])),
            shaded: AtomicBool::new(false),
            label: catalogue::label(name, version),
            work: Arc::new(work),
            width,
            open,
        })
    }

    /// An engine of [`Model::new`], ready to compute for it.
    #[must_use]
    pub fn seat(&self, engine: Box<dyn Engine>) -> Seat {
        Seat::new(Arc::clone(&self.scheduler), engine, Arc::clone(&self.work) as _)
    }

    /// Whether it takes rows of raw columns, and not tensors.
    #[must_use]
    pub fn takes_rows(&self) -> bool {
        matches!(*self.work, Work::Package(_))
    }

    /// What the graph takes, if that is what clients give.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        match &*self.work {
            Work::Graph(ports) => ports,
            Work::Package(_) => &[],
        }
    }

    /// Position of an input.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        match &*self.work {
            Work::Graph(ports) => ports.iter().position(|port| port.name == name),
            Work::Package(raw) => raw.position.get(name).copied(),
        }
    }

    /// The refusal of an input that the model does not have, or that is not there.
    #[must_use]
    pub fn unknown(&self, name: &str) -> Refusal {
        Refusal::Bad(format!("the model has no input '{}'; it takes {}", name.escape_debug(), self.takes()))
    }

    /// The refusal where an input is missing.
    #[must_use]
    pub fn missing(&self, position: usize) -> Refusal {
        let name = self.inputs.get(position).map_or("", |column| column.name.as_str());
        Refusal::Bad(format!("the input '{}' is missing; the model takes {}", name.escape_debug(), self.takes()))
    }

    fn takes(&self) -> String {
        let mut names: Vec<String> =
            self.inputs.iter().take(20).map(|column| format!("'{}'", column.name.escape_debug())).collect();
        if self.inputs.len() > names.len() {
            names.push(format!("and {} more", self.inputs.len() - names.len()));
        }
        names.join(", ")
    }

    /// `rows` rows within what a request may have.
    pub fn check_rows(&self, rows: usize) -> Result<(), Refusal> {
        if rows == 0 {
            return Err(Refusal::Bad("the request has no rows".to_owned()));
        }
        if rows > self.request_rows {
            let most = self.request_rows;
            return Err(Refusal::TooLarge(format!("the request has {rows} rows, at most {most} are answered at once")));
        }
        Ok(())
    }

    /// Tensors, one for each input, in order, as what is computed; checks rows and shapes.
    pub fn tensors(&self, tensors: Vec<Tensor>) -> Result<Inputs, Refusal> {
        self.check_rows(tensors.first().map_or(0, Tensor::rows))?;
        self.check_shapes(&tensors)?;
        Ok(tensors.into())
    }

    /// Rows, each a JSON object of raw columns, as what is computed.
    pub fn features<'a>(&self, rows: impl ExactSizeIterator<Item = Cow<'a, [u8]>>) -> Result<Inputs, Refusal> {
        let Work::Package(raw) = &*self.work else {
            return Err(Refusal::Bad("the model takes tensors, not rows of columns".to_owned()));
        };
        let count = rows.len();
        self.check_rows(count)?;
        let width = raw.plan.outputs().len();
        let mut scratch = raw.kept().pop().unwrap_or_else(|| raw.plan.scratch());
        let mut features = Vec::with_capacity(count.saturating_mul(width));
        let mut seen = (self.watched.load(Ordering::Relaxed) || self.is_shaded()).then(RawRows::default);
        let mut failure = None;
        for (number, row) in rows.enumerate() {
            if let Err(error) = raw.plan.row(&row, &mut scratch, &mut features) {
                failure = Some(in_row(&error, number));
                break;
            }
            if let Some(seen) = &mut seen {
                seen.push(&row);
            }
        }
        raw.kept().push(scratch);
        if let Some(refusal) = failure {
            return Err(refusal);
        }
        let tensors = vec![Tensor { shape: vec![count, width], data: Data::F32(features) }];
        Ok(Inputs { tensors, raw: seen, table: None })
    }

    /// `"name":` of an input, as a JSON object has it.
    #[must_use]
    pub fn key(&self, position: usize) -> &str {
        match &*self.work {
            Work::Package(raw) => raw.keys.get(position).map_or("", String::as_str),
            Work::Graph(_) => "",
        }
    }

    /// Whether somebody looks at what it predicts.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// The tensors that a watcher keeps: those of a graph, if they are narrow.
    #[must_use]
    pub fn kept(&self, tensors: &[Tensor]) -> Vec<Tensor> {
        let narrow = |tensor: &Tensor| tensor.shape.len() <= 2 && tensor.width() <= WIDEST;
        match &*self.work {
            Work::Graph(_) if tensors.iter().all(narrow) => tensors.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Versions that are tried on what it is asked.
    #[must_use]
    pub fn shadows(&self) -> Arc<[Arc<Self>]> {
        Arc::clone(&self.shadows.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_shaded(&self) -> bool {
        self.shaded.load(Ordering::Relaxed)
    }

    /// From now on these are tried on what it is asked.
    pub fn shade(&self, shadows: &[Arc<Self>]) {
        self.shaded.store(!shadows.is_empty(), Ordering::Relaxed);
        let before =
            std::mem::replace(&mut *self.shadows.write().unwrap_or_else(PoisonError::into_inner), Arc::from(shadows));
        // It may be the last to hold a version, and is let go of when nobody waits for the lock any more.
        drop(before);
    }

    /// Computes what [`Model::tensors`] or [`Model::features`] gave, or refuses; counts it.
    pub async fn predict(&self, worker: usize, inputs: Vec<Tensor>, limit: Duration) -> Result<Vec<Output>, Refusal> {
        let rows = inputs.first().map_or(0, Tensor::rows);
        let outputs = self.compute(worker, inputs, limit).await?;
        self.metrics.answered(rows);
        Ok(outputs)
    }

    /// The same, not counted: of a part of a request, or for nobody.
    pub(crate) async fn compute(
        &self,
        worker: usize,
        inputs: Vec<Tensor>,
        limit: Duration,
    ) -> Result<Vec<Output>, Refusal> {
        let shapes = self.open_shapes(&inputs);
        let receiver = self.scheduler.submit(worker, inputs, limit)?;
        self.answered(receiver, &shapes, limit).await
    }

    /// The same of a part of a request of which other parts are computed already.
    pub(crate) async fn compute_part(
        &self,
        worker: usize,
        inputs: Vec<Tensor>,
        limit: Duration,
    ) -> Result<Vec<Output>, Refusal> {
        let shapes = self.open_shapes(&inputs);
        let receiver = self.scheduler.submit_part(worker, inputs, limit)?;
        self.answered(receiver, &shapes, limit).await
    }

    /// What the engine gives, as clients see it; `shapes` are those that it was given, where the graph leaves them open.
    async fn answered(
        &self,
        receiver: oneshot::Receiver<Answer>,
        shapes: &str,
        limit: Duration,
    ) -> Result<Vec<Output>, Refusal> {
        let answer = match tokio::time::timeout(limit, receiver).await {
            Err(_) => return Err(Refusal::Expired(limit)),
            Ok(Err(_)) => return Err(Refusal::Draining),
            // The graph says of its inputs less than it expects, so it is for the client to know.
            Ok(Ok(Err(Refusal::Failed(reason)))) if self.open => {
                return Err(Refusal::Bad(format!("{reason}; it was given {shapes}, and does not say what it expects")));
            }
            Ok(Ok(answer)) => answer?,
        };
        let outputs = match &*self.work {
            Work::Graph(_) => answer,
            Work::Package(raw) => raw.labelled(answer)?,
        };
        Ok(self.names.iter().zip(outputs).map(|(name, tensor)| Output { name: Arc::clone(name), tensor }).collect())
    }
}

impl Drop for Model {
    /// Nobody can ask it any more: its engines end when what waits is computed.
    fn drop(&mut self) {
        self.scheduler.close();
    }
}

impl Raw {
    fn new(package: Package) -> Self {
        let keys = package.inputs.iter().map(|column| format!("{}:", serde_json::Value::from(column.name.as_str())));
        let keys = keys.collect();
        let position = package.inputs.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
        Self { plan: Arc::new(package.plan), keys, position, classes: package.classes, scratch: Mutex::default() }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        // There is nothing half done in it: each is taken out and put back whole.
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The prediction, and the probability of each class, out of the model's scores.
    fn labelled(&self, answer: Vec<Tensor>) -> Result<Vec<Tensor>, Refusal> {
        let Some(Tensor { shape, data: Data::F32(scores) }) = answer.into_iter().next() else {
            return Err(Refusal::Failed("the model gave no float32 scores".to_owned()));
        };
        let rows = shape.first().copied().unwrap_or_default();
        let column = |data: Data| Tensor { shape: vec![rows], data };
        let Some(classes) = &self.classes else {
            return Ok(vec![column(Data::F64(scores.into_iter().map(f64::from).collect()))]);
        };
        let width = classes.len();
        if scores.len() != rows * width {
            return Err(Refusal::Failed("the model gave another number of scores than it has classes".to_owned()));
        }
        let best: Vec<usize> = scores.chunks_exact(width).map(greatest).collect();
        let mut outputs = vec![column(pick(classes, &best))];
        for class in 0..width {
            let values = scores.iter().skip(class).step_by(width).map(|score| f64::from(*score)).collect();
            outputs.push(column(Data::F64(values)));
        }
        Ok(outputs)
    }
}

/// What the plan says of a row, with the number that the row has in the request.
fn in_row(error: &headrace_core::Error, number: usize) -> Refusal {
    let place = error.place().map(|place| place.trim_end_matches(", row 0").to_owned());
    let place = place.map_or_else(|| format!("row {number}"), |place| format!("{place}, row {number}"));
    let hint = error.hint().map(|hint| format!(" {hint}")).unwrap_or_default();
    Refusal::Bad(format!("{place}: {error}.{hint}"))
}

fn shown(shape: &[Option<usize>]) -> Vec<i64> {
    shape.iter().map(|length| length.and_then(|length| i64::try_from(length).ok()).unwrap_or(-1)).collect()
}

fn columns(ports: &[Port]) -> Vec<Column> {
    ports
        .iter()
        .map(|port| Column {
            name: port.name.clone(),
            datatype: port.kind.datatype().to_owned(),
            shape: shown(&port.shape),
        })
        .collect()
}

fn labelled(package: &Package) -> Vec<Column> {
    let kind = package.classes.as_ref().map_or(Kind::F64, Data::kind);
    let column = |name: String, kind: Kind| Column { name, datatype: kind.datatype().to_owned(), shape: vec![-1] };
    let probabilities = package.class_names.iter().map(|name| column(format!("probability_{name}"), Kind::F64));
    std::iter::once(column("prediction".to_owned(), kind)).chain(probabilities).collect()
}
