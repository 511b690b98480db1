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

use crate::ffi::function::{self, Holder};
use crate::ffi::heap;
use crate::ffi::layout::Layout;
use crate::ffi::name::name;
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
    /// Whether there may be others, which are left as they are.
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
    layout: Option<&'static Layout>,
) -> PyResult<HashMap<Arc<str>, Holders<'py>>> {
    let mut search = Search {
        files,
        inodes: Inodes::of(files),
        layout,
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
        .call_method0(name!("get_freeze_count"))?
        .extract::<usize>()?
        > FROZEN_AT_START
    {
        search.look_from_modules(py, &types)?;
    }
    let threads = py
        .import("sys")?
        .call_method0(name!("_current_frames"))?
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
        .getattr(name!("modules"))?
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
    /// That of greenlets, and what is derived from it.
    greenlets: Vec<Bound<'py, PyType>>,
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
            .getattr(name!("modules"))?
            .cast_into::<PyDict>()?;
        let mut greenlets = Vec::new();
        if let Some(module) = modules.get_item("greenlet")?
            && let Ok(kind) = module.getattr(name!("greenlet"))
            && let Ok(kind) = kind.cast_into::<PyType>()
        {
            with_subclasses(kind, &mut greenlets)?;
        }
        all.extend(greenlets.iter().cloned());
        Ok(Self {
            function,
            all,
            greenlets,
        })
    }
}

fn with_subclasses<'py>(
    kind: Bound<'py, PyType>,
    found: &mut Vec<Bound<'py, PyType>>,
) -> PyResult<()> {
    if found.iter().any(|known| known.is(&kind)) {
        return Ok(());
    }
    let py = kind.py();
    // As an attribute of `type`: a class may have a method of that name.
    let subclasses = py
        .get_type::<PyType>()
        .call_method1(name!("__subclasses__"), (&kind,))?
        .cast_into::<PyList>()?;
    found.push(kind);
    for subclass in subclasses {
        with_subclasses(subclass.cast_into::<PyType>()?, found)?;
    }
    Ok(())
}

/// A name in a code object, kept so that its address stays its own, and the file that it stands
/// for.
struct Named<'py> {
    _name: Bound<'py, PyAny>,
    file: Option<Arc<str>>,
}

/// What tells by one look that a path leads to none of some files: a process has thousands of
/// paths, and resolving the links of one takes a look at each of its folders.
struct Inodes(Option<HashSet<(u64, u64)>>);

impl Inodes {
    fn of(files: &HashSet<Arc<str>>) -> Self {
        let real = files.iter().filter(|file| !registry::is_pseudo(file));
        Self(real.map(|file| inode(file)).collect())
    }

    /// False where that is not known.
    fn rule_out(&self, path: &str) -> bool {
        if registry::is_pseudo(path) {
            return false;
        }
        let known = self.0.as_ref().zip(inode(path));
        known.is_some_and(|(inodes, inode)| !inodes.contains(&inode))
    }
}

#[cfg(unix)]
fn inode(path: &str) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn inode(_: &str) -> Option<(u64, u64)> {
    None
}

struct Search<'a, 'py> {
    files: &'a HashSet<Arc<str>>,
    inodes: Inodes,
    layout: Option<&'static Layout>,
    /// What the name in a code object stands for, if it is one of the files, by its address.
    names: HashMap<usize, Named<'py>>,
    frames_seen: HashSet<usize>,
    found: HashMap<Arc<str>, Holders<'py>>,
}

impl<'py> Search<'_, 'py> {
    fn look_at(&mut self, object: &Bound<'py, PyAny>, types: &Types<'py>) -> PyResult<()> {
        let kind = object.get_type();
        let is_greenlet = types.greenlets.iter().any(|greenlet| kind.is(greenlet));
        let holder = if kind.is(&types.function) {
            Holder::Function
        } else {
            Holder::Generator
        };
        if let Some(layout) = self.layout
            && !is_greenlet
        {
            let name = function::file_name_address(object, holder, layout);
            let known = name.and_then(|name| self.names.get(&name));
            if known.is_some_and(|known| known.file.is_none()) {
                return Ok(());
            }
        }
        if holder == Holder::Function {
            let code = object.getattr(name!("__code__"))?;
            if let Some(file) = self.file_of(&code)? {
                let holders = self.found.entry(file).or_default();
                holders.functions.push(object.clone());
            }
            return Ok(());
        }
        if is_greenlet {
            return self.walk_stack(object.getattr(name!("gr_frame"))?);
        }
        let names = [
            (name!("gi_code"), name!("gi_frame")),
            (name!("cr_code"), name!("cr_frame")),
            (name!("ag_code"), name!("ag_frame")),
        ];
        for (code, frame) in names {
            if let Ok(code) = object.getattr(code) {
                if let Some(file) = self.file_of(&code)? {
                    let frame = object.getattr(frame)?;
                    if !frame.is_none() && self.frames_seen.insert(frame.as_ptr() as usize) {
                        let code = frame.getattr(name!("f_code"))?;
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
            frame = frame.getattr(name!("f_back"))?;
        }
        Ok(())
    }

    /// False when the frame was seen before, and so were its callers.
    fn see_frame(&mut self, frame: &Bound<'py, PyAny>) -> PyResult<bool> {
        if !self.frames_seen.insert(frame.as_ptr() as usize) {
            // A suspended generator has no callers; one that runs was met alone.
            return Ok(!frame.getattr(name!("f_back"))?.is_none());
        }
        let code = frame.getattr(name!("f_code"))?;
        if let Some(file) = self.file_of(&code)? {
            let holders = self.found.entry(file).or_default();
            let frame = frame.clone();
            holders.frames.push(Live { frame, code });
        }
        Ok(true)
    }

    fn file_of(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Option<Arc<str>>> {
        let name = code.getattr(name!("co_filename"))?;
        let address = name.as_ptr() as usize;
        if let Some(known) = self.names.get(&address) {
            return Ok(known.file.clone());
        }
        let path = name.extract::<&str>().ok();
        let path = path.filter(|path| !self.inodes.rule_out(path));
        let file = path.map(registry::file_name);
        let file = file.filter(|file| self.files.contains(file));
        let named = Named {
            _name: name,
            file: file.clone(),
        };
        self.names.insert(address, named);
        Ok(file)
    }

    /// Looks at everything that the loaded modules refer to.
    fn look_from_modules(&mut self, py: Python<'py>, types: &Types<'py>) -> PyResult<()> {
        let get_referents = py.import("gc")?.getattr(name!("get_referents"))?;
        let mut known: HashSet<usize> = HashSet::new();
        let functions = self.found.values().flat_map(|holders| &holders.functions);
        let found: HashSet<usize> = functions.map(|f| f.as_ptr() as usize).collect();
        let mut waiting = vec![py.import("sys")?.getattr(name!("modules"))?];
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
