//! From the arguments of `launch` to the process that they ask for.
//!
//! The program is started as a user would start it: `python [options] program arguments`; what
//! connects it to this adapter is in its environment. Whatever is wrong is the answer to the
//! request, in words for the dialog that shows it; what is merely odd is told in the console.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::check::{self, Source};
use super::frame_eval;
use super::given::{Given, wrong};
use super::{Environment, env_file};
use crate::dap::protocol::Refusal;

/// Where the program's streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Console {
    /// In the client's console, as events.
    Internal,
    /// In a terminal of the client's own.
    Integrated,
    /// In a terminal beside it.
    External,
}

/// What was asked for, checked.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an answer of its own"
)]
pub(super) struct Plan {
    /// The interpreter and its options.
    pub(super) python: Vec<String>,
    /// The program and its arguments.
    pub(super) target: Vec<String>,
    /// Arguments that a shell has to take apart.
    pub(super) shell_arguments: Option<String>,
    pub(super) cwd: Option<PathBuf>,
    /// Variables to set, or to remove.
    pub(super) env: BTreeMap<String, Option<String>>,
    pub(super) console: Console,
    /// The title of a terminal.
    pub(super) title: String,
    /// By which the process is known to the user.
    pub(super) name: String,
    /// Whether this very process runs it.
    pub(super) in_process: bool,
    /// Whether there is a debugger at all.
    pub(super) debugs: bool,
    /// Whether the processes that the program starts are debugged, too.
    pub(super) sub_process: bool,
    /// Whether `terminate` is as the interrupt from a keyboard.
    pub(super) interrupts: bool,
    /// How long one evaluation of a condition may take.
    pub(super) condition_budget: Option<f64>,
    /// Whether the interpreter starts dapper by itself.
    pub(super) starts_itself: bool,
    /// What the server in the process is told.
    pub(super) arguments: Value,
    /// What the user should know.
    pub(super) remarks: Vec<String>,
}

impl Plan {
    /// Reads and checks the arguments.
    pub(super) fn of(arguments: &Value, environment: &Environment) -> Result<Self, Refusal> {
        let given = Given::of(arguments)?;
        let mut remarks = oddities(&given)?;
        if given.flag("sudo", false)? || given.option("Sudo") {
            return Err(Refusal::shown(
                "\"sudo\" is not supported: start the editor's adapter with the rights that the \
                 program needs, or run the program under sudo with dapper.listen() and attach",
            ));
        }
        let env = env(&given, &mut remarks)?;
        let in_process = given.flag("inProcess", false)?;
        let console = match console(&given)? {
            asked if in_process => here(&given, asked, &env, &mut remarks),
            asked => asked,
        };
        let python = python(&given, &env, environment)?;
        let options = given.list("pythonArgs", "a list of strings")?;
        let options = options.unwrap_or_default();
        let debugs = !given.flag("noDebug", false)?;
        if debugs {
            reachable(&options, &env)?;
        }
        let cwd = cwd(&given)?;
        let (mut target, source, cwd) = target(&given, cwd)?;
        let name = source.name.clone();
        let own = check::executable(&environment.executable, None);
        let is_own = own.is_some() && Path::new(&python[0]) == Path::new(&environment.executable);
        if in_process {
            require_own(&python, &options, environment)?;
            check::compiles(&source)?;
        } else if is_own && python.len() == 1 {
            check::compiles(&source)?;
        } else {
            check::interpreter(&python, &source)?;
        }
        let shell_arguments = match given.get("args") {
            Some(Value::String(text)) if console != Console::Internal => Some(text.clone()),
            Some(Value::String(text)) => {
                target.extend(words(text)?);
                None
            }
            _ => {
                target.extend(given.texts("args")?.unwrap_or_default());
                None
            }
        };
        let captures = console == Console::Internal;
        let arguments = given.with(captures.then_some(("redirectOutput", json!(false))));
        Ok(Self {
            python: [python, options].concat(),
            target,
            shell_arguments,
            cwd,
            env,
            console,
            title: given
                .text("consoleTitle")?
                .unwrap_or_else(|| "Python Debug Console".to_owned()),
            name,
            in_process,
            debugs,
            sub_process: given.flag("subProcess", true)?,
            interrupts: given.text("onTerminate")?.as_deref() == Some("KeyboardInterrupt"),
            condition_budget: frame_eval::check(&given)?,
            starts_itself: is_own && environment.starts_itself,
            arguments,
            remarks,
        })
    }

    /// Has the streams of the program be those of the client's console after all.
    pub(super) fn take_streams(&mut self) -> Result<(), Refusal> {
        self.console = Console::Internal;
        if let Some(text) = self.shell_arguments.take() {
            self.target.extend(words(&text)?);
        }
        Ok(())
    }

    /// The command that starts it, but for what connects it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.python[0]);
        command.args(&self.python[1..]).args(&self.target);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if self.console == Console::Internal {
            // What is printed is seen at once, and read as what it is.
            for (name, value) in [("PYTHONUNBUFFERED", "1"), ("PYTHONIOENCODING", "utf-8")] {
                if !self.env.contains_key(name) && std::env::var_os(name).is_none() {
                    command.env(name, value);
                }
            }
        }
        command
    }
}

/// A command line in pieces.
fn words(text: &str) -> Result<Vec<String>, Refusal> {
    shlex::split(text)
        .ok_or_else(|| Refusal::shown(format!("\"args\" has a quotation mark too many: {text}")))
}

/// Keys that nobody knows, and those that ask for what there is not.
fn oddities(given: &Given) -> Result<Vec<String>, Refusal> {
    let mut remarks = Vec::from_iter(given.remark());
    for key in ["django", "jinja", "pyramid", "flask"] {
        let flag = match key {
            "django" => "Django",
            "jinja" => "Jinja",
            "pyramid" => "Pyramid",
            _ => "Flask",
        };
        if given.flag(key, false)? || given.option(flag) {
            remarks.push(format!(
                "\"{key}\": the debugging of templates is off; Python code is debugged as always"
            ));
        }
    }
    if given.flag("gevent", false)? {
        remarks.push("\"gevent\" is not needed: greenlets are debugged as they are".to_owned());
    }
    for key in [
        "stopOnEntry",
        "justMyCode",
        "showReturnValue",
        "redirectOutput",
        "breakOnSystemExitZero",
        "stopAllThreads",
        "inProcess",
        "useIpc",
        "frameEval",
        "useFrameEval",
    ] {
        given.flag(key, false)?;
    }
    if let Some(on) = given.text("onTerminate")?
        && on != "KeyboardInterrupt"
        && on != "kill"
    {
        let message = format!("\"onTerminate\" has to be \"KeyboardInterrupt\", and is {on:?}");
        return Err(Refusal::shown(message));
    }
    Ok(remarks)
}

fn console(given: &Given) -> Result<Console, Refusal> {
    match given.text("console")?.as_deref() {
        None if given.option("ExternalTerminal") => Ok(Console::External),
        None | Some("internalConsole") => Ok(Console::Internal),
        Some("integratedTerminal") => Ok(Console::Integrated),
        Some("externalTerminal") => Ok(Console::External),
        Some(other) => Err(Refusal::shown(format!(
            "\"console\" has to be \"internalConsole\", \"integratedTerminal\" or \
             \"externalTerminal\", and is {other:?}"
        ))),
    }
}

/// Where the streams of a program in this process are, and what else does not count there.
fn here(
    given: &Given,
    asked: Console,
    env: &BTreeMap<String, Option<String>>,
    remarks: &mut Vec<String>,
) -> Console {
    if asked != Console::Internal && given.get("console").is_some() {
        remarks.push(
            "\"console\" does not count with \"inProcess\": what the program prints is shown here, \
             and it reads nothing"
                .to_owned(),
        );
    }
    let late: Vec<&str> = env
        .keys()
        .filter(|name| name.starts_with("PYTHON"))
        .map(String::as_str)
        .collect();
    if !late.is_empty() {
        remarks.push(format!(
            "\"env\": with \"inProcess\" the interpreter has started already; these count for the \
             processes alone that the program starts: {}",
            late.join(", ")
        ));
    }
    Console::Internal
}

/// Refuses another interpreter than the one that runs this process.
fn require_own(
    python: &[String],
    options: &[String],
    environment: &Environment,
) -> Result<(), Refusal> {
    if !options.is_empty() {
        return Err(Refusal::shown(
            "\"pythonArgs\" cannot count with \"inProcess\": the interpreter has started already; \
             leave one of them out",
        ));
    }
    let own = Path::new(&environment.executable);
    let [asked] = python else {
        return Err(Refusal::shown(
            "\"python\" cannot have options with \"inProcess\": the interpreter has started already",
        ));
    };
    let asked = Path::new(asked);
    let alike = |one: &Path, other: &Path| match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    // An environment is known by its folder: all lead to the interpreter that made them.
    if asked == own || (asked.parent() == own.parent() && alike(asked, own)) {
        return Ok(());
    }
    Err(Refusal::shown(format!(
        "\"python\" cannot be {} with \"inProcess\": the program runs in the adapter's own \
         interpreter, {}",
        asked.display(),
        own.display()
    )))
}

fn env(
    given: &Given,
    remarks: &mut Vec<String>,
) -> Result<BTreeMap<String, Option<String>>, Refusal> {
    let mut all = BTreeMap::new();
    if let Some(path) = given.text("envFile")?.filter(|path| !path.is_empty()) {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let set = |name: &str| std::env::var(name).ok();
                let found = env_file::parse(&text, set)
                    .map_err(|problem| Refusal::shown(format!("\"envFile\" {path}: {problem}")))?;
                all.extend(found.into_iter().map(|(name, value)| (name, Some(value))));
            }
            // Editors name one in the folder of the project, whether there is one or not.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if Path::new(&path).file_name() != Some(OsStr::new(".env")) {
                    remarks.push(format!("\"envFile\" does not exist: {path}"));
                }
            }
            Err(error) => {
                return Err(Refusal::shown(format!(
                    "\"envFile\" cannot be read: {path}: {error}"
                )));
            }
        }
    }
    for (name, value) in given.object("env")?.into_iter().flatten() {
        let value = match value {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            Value::Number(number) => Some(number.to_string()),
            other => {
                let key = format!("env.{name}");
                return Err(wrong(&key, "a string or null", other));
            }
        };
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("\"env\" has a name that no variable can have: {name:?}");
            return Err(Refusal::shown(message));
        }
        all.insert(name.clone(), value);
    }
    Ok(all)
}

fn python(
    given: &Given,
    env: &BTreeMap<String, Option<String>>,
    environment: &Environment,
) -> Result<Vec<String>, Refusal> {
    let (key, python) = match given.texts("python")? {
        Some(python) => ("python", Some(python)),
        None => ("pythonPath", given.texts("pythonPath")?),
    };
    let Some(mut python) = python.filter(|python| !python.is_empty()) else {
        return Ok(vec![environment.executable.clone()]);
    };
    let inherited = std::env::var("PATH").ok();
    let path = env.get("PATH").cloned().unwrap_or(inherited);
    let Some(found) = check::executable(&python[0], path.as_deref()) else {
        return Err(Refusal::shown(format!(
            "\"{key}\" is not an interpreter: {}; choose one that exists and can be run",
            python[0]
        )));
    };
    python[0] = found.display().to_string();
    Ok(python)
}

/// Refuses options under which an interpreter does not look for what the debugger told it.
fn reachable(options: &[String], env: &BTreeMap<String, Option<String>>) -> Result<(), Refusal> {
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let Some(letters) = option
            .strip_prefix('-')
            .filter(|rest| !rest.starts_with('-'))
        else {
            continue;
        };
        for (at, letter) in letters.char_indices() {
            match letter {
                'I' | 'E' | 'S' => {
                    return Err(Refusal::shown(format!(
                        "\"pythonArgs\": no debugger reaches a program that runs with -{letter}; \
                         leave it out, or run without debugging"
                    )));
                }
                // They take what follows, in the same word or the next.
                'W' | 'X' => {
                    if at + 1 == letters.len() {
                        options.next();
                    }
                    break;
                }
                _ => {}
            }
        }
    }
    if let Some(name) = env.keys().find(|name| name.starts_with("DAPPER_SESSION")) {
        return Err(Refusal::shown(format!(
            "\"env\": {name} is set by dapper itself"
        )));
    }
    Ok(())
}

fn cwd(given: &Given) -> Result<Option<PathBuf>, Refusal> {
    let Some(cwd) = given.text("cwd")?.filter(|cwd| !cwd.is_empty()) else {
        return Ok(None);
    };
    let path = std::path::absolute(&cwd).unwrap_or_else(|_| PathBuf::from(&cwd));
    if path.is_dir() {
        Ok(Some(path))
    } else {
        Err(Refusal::shown(format!(
            "\"cwd\" is not a folder: {cwd}; correct it in the launch configuration"
        )))
    }
}

/// The program with what a plain command line says of it, its source, and the folder it runs in.
fn target(
    given: &Given,
    cwd: Option<PathBuf>,
) -> Result<(Vec<String>, Source, Option<PathBuf>), Refusal> {
    let program = given.text("program")?;
    let module = given.text("module")?;
    let code = given.texts("code")?;
    match (program, module, code) {
        (Some(program), None, None) => {
            let (named, folder) = if let Some(cwd) = &cwd {
                (cwd.join(&program), None)
            } else {
                let named =
                    std::path::absolute(&program).unwrap_or_else(|_| PathBuf::from(&program));
                let folder = named.parent().map(Path::to_owned);
                let folder = folder.filter(|_| program.contains('/'));
                (named, folder)
            };
            let source = check::program(&named)?;
            // A name that is relative to another folder would not be found.
            let word = match folder {
                Some(_) => named.display().to_string(),
                None => program,
            };
            Ok((vec![word], source, cwd.or(folder)))
        }
        (None, Some(module), None) => {
            let source = Source {
                name: module.clone(),
                text: None,
            };
            Ok((vec!["-m".to_owned(), module], source, cwd))
        }
        (None, None, Some(lines)) => {
            let code = lines.join("\n");
            let source = Source {
                name: "<string>".to_owned(),
                text: Some(code.clone().into_bytes()),
            };
            Ok((vec!["-c".to_owned(), code], source, cwd))
        }
        (None, None, None) => Err(Refusal::shown(
            "nothing to run: give \"program\", \"module\" or \"code\" in the launch configuration",
        )),
        _ => Err(Refusal::shown(
            "\"program\", \"module\" and \"code\" exclude each other: give one of them",
        )),
    }
}
