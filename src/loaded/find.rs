//! Who holds code of a file: its function objects, and the frames that run it now.
//!
//! Functions and suspended generators come out of one search of the collector's heap, running
//! frames from the threads, and those of greenlets from the greenlets. Objects that `gc.freeze`
//! has hidden from the search are reached from the loaded modules instead. Runs no bytecode of
//! the program, so that nothing changes between the search and what is done with its result.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyModule, PyType};

use crate::ffi::heap;
use crate::registry;

/// More objects than an interpreter hides by itself while it starts (3.12 does), and fewer than any
/// program has that calls `gc.freeze`.
const FROZEN_AT_START: usize = 1000;

/// A frame that is running, or a generator that is suspended, and the code object that it runs.
pub(super) struct Live<'py> {
    pub(super) frame: Bound<'py, PyAny>,
    pub(super) code: Bound<'py, PyAny>,
}

/// What holds code of one file.
#[derive(Default)]
pub(super) struct Holders<'py> {
    pub(super) functions: Vec<Bound<'py, PyAny>>,
    pub(super) frames: Vec<Live<'py>>,
    /// Code that is about to be executed.
    pub(super) codes: Vec<Bound<'py, PyAny>>,
    /// Whether there may be others: nothing was searched.
    pub(super) partial: bool,
}

impl Holders<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.frames.is_empty() && self.codes.is_empty()
    }
}

/// Finds the holders of the code of each of `files`.
pub(super) fn find<'py>(
    py: Python<'py>,
    files: &HashSet<Arc<str>>,
) -> PyResult<HashMap<Arc<str>, Holders<'py>>> {
    let mut search = Search {
        files,
        names: HashMap::new(),
        frames_seen: HashSet::new(),
        found: HashMap::new(),
    };
    let types = Types::new(py)?;
    let objects = heap::instances(py, &types.all)?;
    for object in &objects {
        search.look_at(object, &types)?;
    }
    if py
        .import("gc")?
        .call_method0("get_freeze_count")?
        .extract::<usize>()?
        > FROZEN_AT_START
    {
        search.look_from_modules(py, &types)?;
    }
    let threads = py
        .import("sys")?
        .call_method0("_current_frames")?
        .cast_into::<PyDict>()?;
    for frame in threads.values() {
        search.walk_stack(frame)?;
    }
    Ok(search.found)
}

/// Whether a module in `sys.modules` comes from `file`.
pub(super) fn is_module(py: Python<'_>, file: &str) -> PyResult<bool> {
    let modules = py
        .import("sys")?
        .getattr("modules")?
        .cast_into::<PyDict>()?;
    let name = Path::new(file).file_name();
    for module in modules.values() {
        // A namespace that is no module may answer to everything: only modules are asked.
        let Ok(module) = module.cast_into::<PyModule>() else {
            continue;
        };
        let Some(path) = module.dict().get_item("__file__")? else {
            continue;
        };
        let path = path.extract::<&str>().map(Path::new);
        if path.is_ok_and(|path| {
            path.file_name() == name && *registry::file_name(&path.to_string_lossy()) == *file
        }) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The types of the objects that are looked for.
struct Types<'py> {
    function: Bound<'py, PyType>,
    all: Vec<Bound<'py, PyType>>,
    greenlet: Option<Bound<'py, PyType>>,
}

impl<'py> Types<'py> {
    fn new(py: Python<'py>) -> PyResult<Self> {
        let types = py.import("types")?;
        let get = |name: &str| -> PyResult<Bound<'py, PyType>> {
            Ok(types.getattr(name)?.cast_into::<PyType>()?)
        };
        let function = get("FunctionType")?;
        let mut all = vec![function.clone()];
        for name in ["GeneratorType", "CoroutineType", "AsyncGeneratorType"] {
            all.push(get(name)?);
        }
        let modules = py
            .import("sys")?
            .getattr("modules")?
            .cast_into::<PyDict>()?;
        let greenlet = match modules.get_item("greenlet")? {
            Some(module) => module
                .getattr("greenlet")
                .ok()
                .and_then(|kind| kind.cast_into::<PyType>().ok()),
            None => None,
        };
        all.extend(greenlet.clone());
        Ok(Self {
            function,
            all,
            greenlet,
        })
    }
}

struct Search<'a, 'py> {
    files: &'a HashSet<Arc<str>>,
    /// What the name in a code object stands for, if it is one of the files.
    names: HashMap<String, Option<Arc<str>>>,
    frames_seen: HashSet<usize>,
    found: HashMap<Arc<str>, Holders<'py>>,
}

impl<'py> Search<'_, 'py> {
    fn look_at(&mut self, object: &Bound<'py, PyAny>, types: &Types<'py>) -> PyResult<()> {
        let py = object.py();
        let kind = object.get_type();
        if kind.is(&types.function) {
            let code = object.getattr(pyo3::intern!(py, "__code__"))?;
            if let Some(file) = self.file_of(&code)? {
                let holders = self.found.entry(file).or_default();
                holders.functions.push(object.clone());
            }
            return Ok(());
        }
        if types
            .greenlet
            .as_ref()
            .is_some_and(|greenlet| kind.is(greenlet))
        {
            return self.walk_stack(object.getattr(pyo3::intern!(py, "gr_frame"))?);
        }
        let names = [
            ("gi_code", "gi_frame"),
            ("cr_code", "cr_frame"),
            ("ag_code", "ag_frame"),
        ];
        for (code, frame) in names {
            if let Ok(code) = object.getattr(code) {
                if let Some(file) = self.file_of(&code)? {
                    let frame = object.getattr(frame)?;
                    if !frame.is_none() && self.frames_seen.insert(frame.as_ptr() as usize) {
                        let code = frame.getattr(pyo3::intern!(py, "f_code"))?;
                        let frame = object.clone();
                        let holders = self.found.entry(file).or_default();
                        holders.frames.push(Live { frame, code });
                    }
                }
                break;
            }
        }
        Ok(())
    }

    fn walk_stack(&mut self, innermost: Bound<'py, PyAny>) -> PyResult<()> {
        let mut frame = innermost;
        while !frame.is_none() && self.see_frame(&frame)? {
            frame = frame.getattr(pyo3::intern!(frame.py(), "f_back"))?;
        }
        Ok(())
    }

    /// False when the frame was seen before, and so were its callers.
    fn see_frame(&mut self, frame: &Bound<'py, PyAny>) -> PyResult<bool> {
        if !self.frames_seen.insert(frame.as_ptr() as usize) {
            // A suspended generator has no callers; one that runs was met alone.
            return Ok(!frame
                .getattr(pyo3::intern!(frame.py(), "f_back"))?
                .is_none());
        }
        let code = frame.getattr(pyo3::intern!(frame.py(), "f_code"))?;
        if let Some(file) = self.file_of(&code)? {
            let holders = self.found.entry(file).or_default();
            let frame = frame.clone();
            holders.frames.push(Live { frame, code });
        }
        Ok(true)
    }

    fn file_of(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Option<Arc<str>>> {
        let name = code.getattr(pyo3::intern!(code.py(), "co_filename"))?;
        let Ok(name) = name.extract::<&str>() else {
            return Ok(None);
        };
        if let Some(known) = self.names.get(name) {
            return Ok(known.clone());
        }
        let file = registry::file_name(name);
        let file = self.files.contains(&file).then_some(file);
        self.names.insert(name.to_owned(), file.clone());
        Ok(file)
    }

    /// Looks at everything that the loaded modules refer to.
    fn look_from_modules(&mut self, py: Python<'py>, types: &Types<'py>) -> PyResult<()> {
        let get_referents = py.import("gc")?.getattr("get_referents")?;
        let mut known: HashSet<usize> = HashSet::new();
        let functions = self.found.values().flat_map(|holders| &holders.functions);
        let found: HashSet<usize> = functions.map(|f| f.as_ptr() as usize).collect();
        let mut waiting = vec![py.import("sys")?.getattr("modules")?];
        while let Some(object) = waiting.pop() {
            // What a module's own memory refers to may be no object in use: only its names count.
            let object = match object.cast::<PyModule>() {
                Ok(module) => module.dict().into_any(),
                Err(_) => object,
            };
            for referent in get_referents.call1((&object,))?.cast_into::<PyList>()? {
                let address = referent.as_ptr() as usize;
                if !known.insert(address) {
                    continue;
                }
                let kind = referent.get_type();
                if types.all.iter().any(|wanted| kind.is(wanted)) && !found.contains(&address) {
                    self.look_at(&referent, types)?;
                }
                waiting.push(referent);
            }
        }
        Ok(())
    }
}
