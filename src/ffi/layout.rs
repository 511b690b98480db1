//! Offsets of the private structs of `CPython` 3.11 to 3.15 (GIL builds, 64-bit, little-endian).
//!
//! One [`Layout`] a minor version; no offset changed between the patch releases of a minor version.
//! The numbers come from `offsetof` in the interpreters' own headers, and nothing may rely on
//! them before the self-check in `prove` has proved them in the running process.
//! Thread-state offsets differ on Windows, where the thread ids are 32 bits wide.

/// How the word that names a frame's code (and function) is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A plain strong pointer.
    Strong,
    /// A stack reference: the low two bits are a tag, and bit 0 says that no count is owned.
    Tagged,
}

/// `_PyInterpreterFrame`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLayout {
    /// The code object that the frame runs.
    pub(crate) code: usize,
    /// The function that the frame runs.
    pub(crate) function: usize,
    /// Borrowed globals.
    pub(crate) globals: usize,
    /// Strong locals mapping, or null.
    pub(crate) locals: usize,
    /// The instruction pointer.
    pub(crate) instruction: usize,
    /// Which kind of memory holds the frame (`i8`; 0 is the thread's data stack).
    pub(crate) owner: usize,
    /// The first local variable; also the size of the fixed part.
    pub(crate) localsplus: usize,
    /// How many code units before its first instruction a fresh frame points at.
    pub(crate) fresh_lead: usize,
    /// How `code` and `function` are stored.
    pub(crate) reference: Reference,
}

/// `PyCodeObject`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeLayout {
    /// Number of code units (`ob_size`).
    pub(crate) units: usize,
    /// `co_filename`.
    pub(crate) file_name: usize,
    /// `co_stacksize`.
    pub(crate) stack_size: usize,
    /// `co_nlocalsplus`.
    pub(crate) n_localsplus: usize,
    /// `co_framesize`, absent in 3.11.
    pub(crate) frame_size: Option<usize>,
    /// The code extra slots.
    pub(crate) extra: usize,
    /// The first code unit.
    pub(crate) adaptive: usize,
}

/// `PyThreadState`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadLayout {
    /// First free word of the data stack.
    pub(crate) stack_top: usize,
    /// End of the current chunk of the data stack.
    pub(crate) stack_limit: usize,
    /// How deep calls may nest (`py_recursion_limit`, `recursion_limit` in 3.11); right before it
    /// is how much of that is left.
    pub(crate) recursion_limit: usize,
    /// The C function that traces the thread (`c_tracefunc`).
    pub(crate) trace_function: usize,
    /// What `threading.get_ident` says (`thread_id`).
    pub(crate) ident: usize,
}

/// `PyFunctionObject`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FunctionLayout {
    /// `func_code`.
    pub(crate) code: usize,
}

/// `PyGenObject`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GeneratorLayout {
    /// The code object.
    pub(crate) code: usize,
    /// The embedded frame.
    pub(crate) frame: usize,
    /// The execution state (`i8`).
    pub(crate) state: usize,
    /// The state of a generator that was made and not started.
    pub(crate) created: i8,
}

/// Everything that the extension reads or writes inside the interpreter, for one minor version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Frames.
    pub(crate) frame: FrameLayout,
    /// Code objects.
    pub(crate) code: CodeLayout,
    /// Thread states.
    pub(crate) thread: ThreadLayout,
    /// Functions.
    pub(crate) function: FunctionLayout,
    /// Generators, coroutines and asynchronous generators.
    pub(crate) generator: GeneratorLayout,
    /// The first item of a tuple.
    pub(crate) tuple_items: usize,
    /// Whether a specialised call of a class enters `__init__` without asking the eval-frame hook.
    pub(crate) init_enters_unhooked: bool,
}

const CODE_312: CodeLayout = CodeLayout {
    units: 16,
    file_name: 112,
    stack_size: 64,
    n_localsplus: 72,
    frame_size: Some(76),
    extra: 184,
    adaptive: 192,
};

const FRAME_312: FrameLayout = FrameLayout {
    code: 0,
    function: 16,
    globals: 24,
    locals: 40,
    instruction: 56,
    owner: 70,
    localsplus: 72,
    fresh_lead: 1,
    reference: Reference::Strong,
};

const THREAD_312: ThreadLayout = ThreadLayout {
    stack_top: 240,
    stack_limit: 248,
    recursion_limit: 32,
    trace_function: 72,
    ident: 136,
};
const THREAD_313: ThreadLayout = ThreadLayout {
    recursion_limit: 48,
    trace_function: 88,
    ident: 152,
    ..THREAD_312
};
const FUNCTION: FunctionLayout = FunctionLayout { code: 48 };
const GENERATOR_312: GeneratorLayout = GeneratorLayout {
    code: 72,
    frame: 72,
    state: 67,
    created: -2,
};
const GENERATOR_313: GeneratorLayout = GeneratorLayout {
    created: -3,
    ..GENERATOR_312
};
const GENERATOR_315: GeneratorLayout = GeneratorLayout {
    created: 0,
    ..GENERATOR_312
};

const V311: Layout = Layout {
    frame: FrameLayout {
        code: 32,
        function: 0,
        globals: 8,
        locals: 24,
        instruction: 56,
        owner: 69,
        localsplus: 72,
        fresh_lead: 1,
        reference: Reference::Strong,
    },
    code: CodeLayout {
        units: 16,
        file_name: 112,
        stack_size: 68,
        n_localsplus: 76,
        frame_size: None,
        extra: 176,
        adaptive: 184,
    },
    thread: ThreadLayout {
        stack_top: 304,
        stack_limit: 312,
        recursion_limit: 36,
        trace_function: 72,
        ident: 152,
    },
    function: FUNCTION,
    generator: GeneratorLayout {
        code: 16,
        frame: 80,
        state: 75,
        created: -2,
    },
    tuple_items: 24,
    init_enters_unhooked: false,
};

const V312: Layout = Layout {
    frame: FRAME_312,
    code: CODE_312,
    thread: THREAD_312,
    function: FUNCTION,
    generator: GENERATOR_312,
    tuple_items: 24,
    init_enters_unhooked: false,
};

const V313: Layout = Layout {
    frame: FrameLayout {
        fresh_lead: 0,
        ..FRAME_312
    },
    code: CodeLayout {
        extra: 192,
        adaptive: 200,
        ..CODE_312
    },
    thread: THREAD_313,
    function: FUNCTION,
    generator: GENERATOR_313,
    tuple_items: 24,
    init_enters_unhooked: true,
};

const V314: Layout = Layout {
    frame: FrameLayout {
        owner: 74,
        localsplus: 80,
        fresh_lead: 0,
        reference: Reference::Tagged,
        ..FRAME_312
    },
    code: CodeLayout {
        extra: 200,
        adaptive: 208,
        ..CODE_312
    },
    thread: ThreadLayout {
        recursion_limit: 52,
        ..THREAD_313
    },
    function: FUNCTION,
    generator: GENERATOR_313,
    // Tuples keep their hash since this version.
    tuple_items: 32,
    init_enters_unhooked: false,
};

const V315: Layout = Layout {
    thread: ThreadLayout {
        stack_top: 264,
        stack_limit: 272,
        recursion_limit: 56,
        trace_function: 112,
        ident: 176,
    },
    generator: GENERATOR_315,
    ..V314
};

/// `PyFrameObject`: the frame itself (`f_frame`), in every version.
pub(crate) const FRAME_OF_OBJECT: usize = 24;

/// The layout of `CPython` 3.`minor`, if it is known.
pub(crate) fn of_minor(minor: u8) -> Option<&'static Layout> {
    match minor {
        11 => Some(&V311),
        12 => Some(&V312),
        13 => Some(&V313),
        14 => Some(&V314),
        15 => Some(&V315),
        _ => None,
    }
}
