//! Which breakpoints exist, and which files want probes because of them.
//!
//! The one map from files to breakpoints in the process. A file is named by its absolute path
//! with links resolved; the question that every import asks ([`wanted`]) looks at the last part of
//! the path first and touches the file system only when that part is known.
//! The lock is never held while Python code runs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::breakpoint::{Breakpoint, Kind, Request};
use crate::request::Place;

/// The reason of a breakpoint whose file was not met yet.
pub(crate) const NOT_LOADED: &str = "no module was loaded from this file";

/// The reason of a breakpoint whose module was not met yet.
pub(crate) const NOT_IMPORTED: &str = "no module of this name was imported";

#[derive(Default)]
struct Registry {
    last_id: u64,
    breakpoints: BTreeMap<u64, Arc<Breakpoint>>,
    /// The same, by the file they name.
    by_file: HashMap<Arc<str>, Vec<Arc<Breakpoint>>>,
    /// Those that mean functions, by the module that they name.
    by_module: HashMap<Arc<str>, Vec<Arc<Breakpoint>>>,
    /// The breakpoints that a pattern of `every_line` stands for, made when a file is met.
    lines: HashMap<(Arc<str>, u32), Arc<Breakpoint>>,
    every_line: GlobSet,
    /// The last parts of the paths that any breakpoint names.
    names: HashSet<String>,
}

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a file wants.
#[derive(Clone, Debug)]
pub(crate) struct WantedFile {
    /// The file, as breakpoints name it.
    pub(crate) file: Arc<str>,
    /// Whether a pattern asks for a probe on every line.
    pub(crate) every_line: bool,
    /// The breakpoints that name the file.
    pub(crate) breakpoints: Vec<Arc<Breakpoint>>,
}

impl PartialEq for WantedFile {
    /// Whether both want the same.
    fn eq(&self, other: &Self) -> bool {
        (&self.file, self.every_line) == (&other.file, other.every_line)
            && self.ids().eq(other.ids())
    }
}

impl WantedFile {
    fn ids(&self) -> impl Iterator<Item = u64> {
        self.breakpoints.iter().map(|breakpoint| breakpoint.id)
    }

    /// The requested lines, in the order of the breakpoints.
    pub(crate) fn lines(&self) -> Vec<u32> {
        self.breakpoints
            .iter()
            .filter(|breakpoint| breakpoint.request.function.is_none())
            .map(|breakpoint| breakpoint.request.line)
            .collect()
    }

    /// Whether any breakpoint means certain code objects: where they are, only the code says.
    pub(crate) fn picks_code(&self) -> bool {
        let mut breakpoints = self.breakpoints.iter();
        breakpoints.any(|breakpoint| breakpoint.request.picks_code())
    }

    /// Records why no probe of this file could be placed.
    pub(crate) fn refuse(&self, reason: &str) {
        self.breakpoints
            .iter()
            .for_each(|breakpoint| breakpoint.refuse(reason));
    }

    /// Records why the probes that were placed are not in the program after all.
    pub(crate) fn lose(&self, reason: &str) {
        self.breakpoints
            .iter()
            .for_each(|breakpoint| breakpoint.lose(reason));
    }
}

/// The name by which breakpoints know the file at `path`.
pub(crate) fn file_name(path: &str) -> Arc<str> {
    if is_pseudo(path) {
        return Arc::from(path);
    }
    let path = Path::new(path);
    let found = path.canonicalize().or_else(|_| std::path::absolute(path));
    found.map_or_else(
        |_| Arc::from(path.to_string_lossy()),
        |found| Arc::from(found.to_string_lossy()),
    )
}

/// Whether this names code that is in no file, such as `<string>` or `<stdin>`.
pub(crate) fn is_pseudo(path: &str) -> bool {
    path.starts_with('<') && path.ends_with('>')
}

fn last_part(path: &str) -> &str {
    path.rsplit(['/', std::path::MAIN_SEPARATOR])
        .next()
        .unwrap_or(path)
}

/// What the file at `path` wants, if it wants anything.
pub(crate) fn wanted(path: &str) -> Option<WantedFile> {
    let known = {
        let registry = lock();
        if registry.every_line.is_empty() && !registry.names.contains(last_part(path)) {
            return None;
        }
        // Names of files have their links resolved: one that is known needs no second look.
        registry
            .by_file
            .get_key_value(path)
            .map(|(file, _)| Arc::clone(file))
    };
    let file = known.unwrap_or_else(|| file_name(path));
    let registry = lock();
    let every_line =
        !registry.every_line.is_empty() && registry.every_line.is_match(Path::new(&*file));
    let breakpoints = registry.by_file.get(&file).cloned().unwrap_or_default();
    (every_line || !breakpoints.is_empty()).then_some(WantedFile {
        file,
        every_line,
        breakpoints,
    })
}

/// A place with its file as breakpoints know it.
pub(crate) fn known_place(place: &Place) -> Place {
    match place {
        Place::Line { file, line, column } => Place::Line {
            file: file_name(file).to_string(),
            line: *line,
            column: *column,
        },
        Place::Function(_) => place.clone(),
    }
}

/// A number that no breakpoint has or will have.
pub(crate) fn new_id() -> u64 {
    let mut registry = lock();
    registry.last_id += 1;
    registry.last_id
}

/// Adds a breakpoint; `place` is how the user named it.
pub(crate) fn add(place: &Place, request: Request) -> Arc<Breakpoint> {
    let mut registry = lock();
    registry.last_id += 1;
    let module: Option<Arc<str>> = request
        .function
        .as_ref()
        .and_then(|pattern| pattern.module())
        .map(Arc::from);
    let reason = module.as_ref().map_or(NOT_LOADED, |_| NOT_IMPORTED);
    let breakpoint = Arc::new(Breakpoint::new(registry.last_id, request, Some(reason)));
    registry
        .breakpoints
        .insert(breakpoint.id, Arc::clone(&breakpoint));
    if let Place::Line { file: path, .. } = place {
        let file = Arc::clone(&breakpoint.request.file);
        registry.put_in_file(path, file, &breakpoint);
    }
    if let Some(module) = module {
        let of_module = registry.by_module.entry(module).or_default();
        of_module.push(Arc::clone(&breakpoint));
    }
    breakpoint
}

/// Tells the breakpoints on functions of `module` that it is in the file at `path`; that file,
/// where there are any.
pub(crate) fn meet(module: &str, path: &str) -> Option<Arc<str>> {
    if !lock().by_module.contains_key(module) {
        return None;
    }
    let file = file_name(path);
    let mut registry = lock();
    for breakpoint in registry.by_module.get(module).cloned().unwrap_or_default() {
        if breakpoint.meet(&file) {
            registry.put_in_file(path, Arc::clone(&file), &breakpoint);
        }
    }
    Some(file)
}

impl Registry {
    fn put_in_file(&mut self, path: &str, file: Arc<str>, breakpoint: &Arc<Breakpoint>) {
        self.names.insert(last_part(path).to_owned());
        self.names.insert(last_part(&file).to_owned());
        let in_file = self.by_file.entry(file).or_default();
        in_file.push(Arc::clone(breakpoint));
    }
}

/// Takes a breakpoint out and disarms it; false when it was not there.
pub(crate) fn remove(id: u64) -> bool {
    let mut registry = lock();
    let Some(breakpoint) = registry.breakpoints.remove(&id) else {
        return false;
    };
    for file in breakpoint.files() {
        if let Some(beside) = registry.by_file.get_mut(&file) {
            beside.retain(|other| other.id != id);
            if beside.is_empty() {
                registry.by_file.remove(&file);
            }
        }
    }
    registry.by_module.retain(|_, of_module| {
        of_module.retain(|other| other.id != id);
        !of_module.is_empty()
    });
    breakpoint.disarm();
    true
}

/// Takes everything out and disarms it, but for what other debuggers own; what is left.
pub(crate) fn clear() -> HashSet<u64> {
    let mut registry = lock();
    let all = registry.breakpoints.values().chain(registry.lines.values());
    for breakpoint in all.filter(|breakpoint| !breakpoint.is_owned()) {
        breakpoint.disarm();
    }
    let Registry {
        last_id,
        mut breakpoints,
        mut by_file,
        names,
        ..
    } = std::mem::take(&mut *registry);
    breakpoints.retain(|_, breakpoint| breakpoint.is_owned());
    by_file.retain(|_, in_file| {
        in_file.retain(|breakpoint| breakpoint.is_owned());
        !in_file.is_empty()
    });
    *registry = Registry {
        last_id,
        breakpoints,
        by_file,
        names,
        ..Registry::default()
    };
    registry.breakpoints.keys().copied().collect()
}

/// Asks for a probe on every line of the files that match any of `patterns`.
///
/// A pattern that is not absolute and does not begin with `**` counts from the current folder.
pub(crate) fn set_every_line(patterns: &[String]) -> Result<(), String> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        globs.add(every_line_glob(pattern)?);
    }
    let globs = globs.build().map_err(|error| error.to_string())?;
    let mut registry = lock();
    // A frame that goes on with its variant hits nothing that is not asked for any more.
    registry.lines.retain(|(file, _), breakpoint| {
        let wanted = globs.is_match(Path::new(&**file));
        if !wanted {
            breakpoint.disarm();
        }
        wanted
    });
    registry.every_line = globs;
    Ok(())
}

/// Reads one pattern of `--every-line`.
pub(crate) fn every_line_glob(pattern: &str) -> Result<Glob, String> {
    let anchored = if pattern.starts_with("**") || Path::new(pattern).is_absolute() {
        pattern.to_owned()
    } else {
        let folder = file_name(".");
        format!("{}/{pattern}", globset::escape(&folder))
    };
    Glob::new(&anchored).map_err(|error| format!("bad pattern {pattern:?}: {}", error.kind()))
}

/// The breakpoint that stands for one line of a file whose every line is wanted.
pub(crate) fn line_breakpoint(file: &Arc<str>, line: u32) -> Arc<Breakpoint> {
    let mut registry = lock();
    let key = (Arc::clone(file), line);
    if let Some(found) = registry.lines.get(&key) {
        return Arc::clone(found);
    }
    registry.last_id += 1;
    let request = Request::plain(Arc::clone(file), line, Kind::Count);
    let breakpoint = Arc::new(Breakpoint::new(registry.last_id, request, None));
    registry.lines.insert(key, Arc::clone(&breakpoint));
    breakpoint
}

/// All breakpoints that were asked for one by one, oldest first, but for those that other
/// debuggers own.
pub(crate) fn all() -> Vec<Arc<Breakpoint>> {
    let registry = lock();
    let all = registry.breakpoints.values();
    all.filter(|breakpoint| !breakpoint.is_owned())
        .cloned()
        .collect()
}

/// The files of all breakpoints.
pub(crate) fn files() -> Vec<Arc<str>> {
    lock().by_file.keys().cloned().collect()
}

/// Whether any file may want probes.
pub(crate) fn is_empty() -> bool {
    let registry = lock();
    registry.breakpoints.is_empty() && registry.every_line.is_empty()
}
