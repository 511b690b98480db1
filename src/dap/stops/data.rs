//! `dataBreakpointInfo` and `setDataBreakpoints`: stops where a variable or an attribute is written.
//!
//! Owns which variables the client may ask for by which id, and the conditions. What can be looked
//! at and what it costs is told in the description; what cannot be is refused with the reason.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use instrument::expr::HitRule;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::changes::{self, Subject, Watch};
use crate::compile;
use crate::condition;
use crate::dap::frame_eval;
use crate::dap::parked::{Why, park};
use crate::dap::protocol::{Answer, Request};
use crate::dap::scene::{Held, Scene, Scope};
use crate::dap::session::{self, Session, lock};
use crate::dap::view::failed;
use crate::evaluator::Evaluator;
use crate::ffi::name::name;
use crate::registry;

/// What the client may look at, and what it does.
#[derive(Default)]
pub(in crate::dap) struct DataPoints {
    /// What `dataBreakpointInfo` has offered, by its id.
    offered: HashMap<String, Arc<Watch>>,
    /// The conditions of those that are set, by the number of the watch.
    terms: HashMap<u64, Terms>,
}

/// When a stop of this kind is one.
#[derive(Clone, Default)]
pub(super) struct Terms {
    condition: Option<String>,
    rule: Option<HitRule>,
    hits: Arc<Mutex<u64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoArguments {
    name: String,
    variables_reference: Option<i64>,
    frame_id: Option<i64>,
}

#[derive(Deserialize)]
struct SetArguments {
    #[serde(default)]
    breakpoints: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    data_id: String,
    access_type: Option<String>,
    condition: Option<String>,
    hit_condition: Option<String>,
}

/// Something that can be looked at, with its value and what it costs; or why it cannot be.
type Found<'py> = Result<(Subject, Option<Bound<'py, PyAny>>, &'static str), String>;

const LOCALLY: &str = "stops behind a line of this call that assigned it";
const EVERYWHERE: &str = "stops behind a line that assigned it; every line of the program is \
                          looked at until then, which is slow";

/// `dataBreakpointInfo`
pub(in crate::dap) fn info(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: InfoArguments = request.arguments()?;
    let found = match (wanted.variables_reference, wanted.frame_id) {
        (Some(reference), _) if reference > 0 => match scene.held(reference)? {
            Held::Scope(index, Scope::Globals, _) => of_globals(scene, *index, &wanted.name),
            Held::Scope(index, Scope::Locals | Scope::Cells, _) => {
                of_frame(scene, *index, &wanted.name)
            }
            Held::Scope(..) => Ok(Err("what a step shows is not written to".to_owned())),
            Held::Lazy { .. } => Ok(Err("a property is computed, not stored".to_owned())),
            Held::Value { value, .. } => of_object(value, &wanted.name),
        },
        (_, Some(frame)) => {
            let index = scene.frame_of(frame)?;
            of_expression(scene, index, &wanted.name)
        }
        _ => Ok(Err(
            "it takes a container or a frame to name a variable".to_owned()
        )),
    };
    let (subject, value, how) = match found.map_err(|error| failed(&error))? {
        Ok(found) => found,
        Err(reason) => return Ok(json!({"dataId": null, "description": reason})),
    };
    let watch = Watch::new(registry::new_id(), subject, value.as_ref());
    let id = format!("{}:{}", watch.id, wanted.name);
    let description = format!("{}: {how}", wanted.name);
    let mut points = lock(&scene.session().points);
    points.data.offered.retain(|_, watch| !watch.is_over());
    points.data.offered.insert(id.clone(), watch);
    Ok(json!({
        "dataId": id,
        "description": description,
        "accessTypes": ["write"],
        "canPersist": false,
    }))
}

fn of_frame<'py>(scene: &Scene<'py>, index: usize, name: &str) -> PyResult<Found<'py>> {
    let frame = &scene.frame(index).frame;
    let globals = frame.getattr(name!("f_globals"))?;
    if frame.getattr(name!("f_locals"))?.is(&globals) {
        return of_globals(scene, index, name);
    }
    if !is_identifier(frame.py(), name)? {
        return Ok(Err(format!("{name} is no variable")));
    }
    let value = changes::local(frame, name)?;
    Ok(Ok((changes::subject_of_local(frame, name), value, LOCALLY)))
}

fn is_identifier(py: Python<'_>, name: &str) -> PyResult<bool> {
    name.into_pyobject(py)?
        .call_method0(name!("isidentifier"))?
        .extract()
}

fn of_globals<'py>(scene: &Scene<'py>, index: usize, name: &str) -> PyResult<Found<'py>> {
    let py = scene.py();
    let globals = scene.frame(index).frame.getattr(name!("f_globals"))?;
    let modules = py.import("sys")?.getattr(name!("modules"))?;
    for module in modules.cast_into::<PyDict>()?.values() {
        if let Ok(module) = module.cast_into::<PyModule>()
            && module.dict().is(&globals)
        {
            return of_object(module.as_any(), name);
        }
    }
    Ok(Err(
        "the module of this variable is not in sys.modules: nothing tells when it is gone"
            .to_owned(),
    ))
}

fn of_object<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<Found<'py>> {
    let py = object.py();
    let class = object.get_type().qualname()?;
    if !is_identifier(py, name)? {
        return Ok(Err(format!(
            "items of a {class} cannot be looked at: only variables and attributes can"
        )));
    }
    let value = changes::stored(object, name)?;
    if value.is_none() {
        return Ok(Err(format!(
            "{name} is not stored in this {class}: it comes from its class, or is computed"
        )));
    }
    let weak = py.import("weakref")?.call_method1(name!("ref"), (object,));
    Ok(match weak {
        Ok(weak) => {
            let subject = Subject::Attribute {
                object: weak.unbind(),
                name: name.to_owned(),
            };
            Ok((subject, value, EVERYWHERE))
        }
        Err(_) => Err(format!(
            "a {class} takes no weak references (__slots__ without __weakref__): looking at it \
             would keep it alive"
        )),
    })
}

/// A name of a frame, or an attribute of something that an expression gives.
fn of_expression<'py>(scene: &Scene<'py>, index: usize, text: &str) -> PyResult<Found<'py>> {
    let py = scene.py();
    let frame = &scene.frame(index).frame;
    if is_identifier(py, text)? {
        let names: Vec<String> = [
            name!("co_varnames"),
            name!("co_cellvars"),
            name!("co_freevars"),
        ]
        .into_iter()
        .map(|kind| frame.getattr(name!("f_code"))?.getattr(kind)?.extract())
        .collect::<PyResult<Vec<Vec<String>>>>()?
        .concat();
        if names.iter().any(|name| name == text) {
            return of_frame(scene, index, text);
        }
        return of_globals(scene, index, text);
    }
    let Some((object, name)) = text.rsplit_once('.') else {
        return Ok(Err(format!("{text} is no variable and no attribute")));
    };
    if let Err(error) = compile::expression(py, object, "data breakpoint") {
        return Ok(Err(error.value(py).to_string()));
    }
    let value = condition::undisturbed(py, || {
        Evaluator::new(object, "data breakpoint").value(frame)
    })?;
    match value {
        Ok(object) => of_object(&object, name),
        Err(error) => Ok(Err(condition::describe(py, &error))),
    }
}

/// `setDataBreakpoints`
pub(in crate::dap) fn set(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: SetArguments = request.arguments()?;
    let offered = lock(&session.points).data.offered.clone();
    let mut watches = Vec::new();
    let mut terms = HashMap::new();
    let mut told: Vec<Value> = Vec::new();
    for asked in wanted.breakpoints {
        let refusal = match offered.get(&asked.data_id) {
            Some(watch) if !watch.is_over() => match asked.terms(py) {
                Ok(given) => {
                    terms.insert(watch.id, given);
                    watches.push(Arc::clone(watch));
                    told.push(json!({"verified": true, "id": watch.id}));
                    continue;
                }
                Err(problem) => problem,
            },
            _ => "the call or the object that it meant is gone".to_owned(),
        };
        told.push(json!({"verified": false, "message": refusal, "reason": "failed"}));
    }
    lock(&session.points).data.terms = terms;
    let looked = changes::look_at(py, &watches).map_err(|error| failed(&error))?;
    if let Err(reason) = looked {
        for one in &mut told {
            *one = json!({"verified": false, "message": reason, "reason": "failed"});
        }
    }
    Ok(json!({"breakpoints": told}))
}

impl Asked {
    fn terms(&self, py: Python<'_>) -> Result<Terms, String> {
        if let Some(access) = &self.access_type
            && access != "write"
        {
            return Err(format!(
                "access {access:?} cannot be seen: only \"write\" can"
            ));
        }
        Terms::new(py, self.condition.as_ref(), self.hit_condition.as_ref())
    }
}

/// What is to be said of a condition, if anything.
type Said = Option<String>;

impl Terms {
    /// What was asked for, or what is wrong with it.
    pub(super) fn new(
        py: Python<'_>,
        condition: Option<&String>,
        hit_condition: Option<&String>,
    ) -> Result<Self, String> {
        let counts = frame_eval::evaluates_conditions();
        let given = |text: Option<&String>| {
            text.filter(|text| counts && !text.trim().is_empty())
                .cloned()
        };
        let condition = given(condition);
        if let Some(condition) = &condition {
            compile::expression(py, condition, "condition")
                .map_err(|error| format!("condition {}", error.value(py)))?;
        }
        let rule = match given(hit_condition) {
            Some(text) => Some(HitRule::parse(&text).map_err(|error| error.to_string())?),
            None => None,
        };
        Ok(Self {
            condition,
            rule,
            hits: Arc::default(),
        })
    }

    /// Whether a pass is a stop, and what is to be said of its condition.
    pub(super) fn let_through(&self, frame: &Bound<'_, PyAny>) -> PyResult<Option<Said>> {
        let py = frame.py();
        let mut text = None;
        if let Some(condition) = &self.condition {
            let held = condition::undisturbed(py, || {
                Evaluator::new(condition, "condition")
                    .value(frame)?
                    .is_truthy()
            })?;
            match held {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => {
                    let said = condition::describe(py, &error);
                    text = Some(format!("its condition failed: {said}"));
                }
            }
        }
        let hits = {
            let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
            *hits += 1;
            *hits
        };
        let lets = self
            .rule
            .as_ref()
            .is_none_or(|rule| rule.lets_through(hits));
        Ok(lets.then_some(text))
    }
}

/// A thread has found a change.
pub(in crate::dap) fn changed(frame: &Bound<'_, PyAny>, watch: &Arc<Watch>) -> PyResult<()> {
    let Some(session) = session::current() else {
        return Ok(());
    };
    let terms = lock(&session.points).data.terms.get(&watch.id).cloned();
    let Some(text) = terms.unwrap_or_default().let_through(frame)? else {
        return Ok(());
    };
    let name = watch.subject.name();
    let ends = if watch.is_over() {
        ", and its call ends"
    } else {
        ""
    };
    park(
        frame,
        Why {
            reason: "data breakpoint",
            description: Some(format!("{name} has got another value{ends}")),
            text,
            hit: vec![watch.id],
            ..Why::default()
        },
    )
}

/// Looks at nothing any more.
pub(super) fn clear(py: Python<'_>) -> PyResult<()> {
    // Taking events away cannot be refused.
    changes::look_at(py, &[]).map(drop)
}
