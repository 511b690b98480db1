//! The worker protocol against real interpreters: order, errors, death and silence.

use std::io::Write;

use super::process::WORKER;
use super::*;

const PYTHON: &str = "python3";

/// Compiles `sources` with two workers; results in the order of the sources.
fn compiled(
    python: &str,
    limit: Duration,
    sources: &[&[u8]],
) -> Vec<Result<Vec<u8>, CompileError>> {
    let options = Options {
        python: PathBuf::from(python),
        optimize: 0,
        jobs: 2,
        limit: Some(limit),
    };
    let task = |index: usize| Task {
        index,
        path: PathBuf::from(format!("/nowhere/{index}\n.py")),
        size: sources[index].len() as u64,
    };
    let results = Mutex::new(vec![None; sources.len()]);
    compile_all(
        &options,
        (0..sources.len()).map(task).collect(),
        &|task| Some(sources[task.index].to_vec()),
        &|task, result| results.lock().expect("lock")[task.index] = Some(result),
    );
    results
        .into_inner()
        .expect("lock")
        .into_iter()
        .map(|result| result.expect("told"))
        .collect()
}

fn exception(result: &Result<Vec<u8>, CompileError>) -> (&str, Option<u32>) {
    match result {
        Err(CompileError::Refused {
            exception, line, ..
        }) => (exception, *line),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn every_source_is_answered_and_a_bad_one_names_its_line() {
    let sources: [&[u8]; 5] = [
        b"x = 1\n",
        b"x = 1\nx = = 2\n",
        b"",
        b"x = '\xff'\n",
        b"y = 2\0\n",
    ];
    let results = compiled(PYTHON, Duration::from_secs(30), &sources);
    assert!(results[0].as_ref().expect("compiles").len() > 50);
    assert_eq!(exception(&results[1]), ("SyntaxError", Some(2)));
    assert!(results[2].is_ok());
    assert_eq!(exception(&results[3]).0, "SyntaxError");
    assert!(["SyntaxError", "ValueError"].contains(&exception(&results[4]).0));
}

/// A shell script in the place of the interpreter, which becomes a real worker that dies (or
/// sleeps) at sources that say so.
fn python_that(at_poison: &str) -> tempfile::TempPath {
    shell_that("exec", at_poison)
}

/// The same, started by the shell with `how` before it.
fn shell_that(how: &str, at_poison: &str) -> tempfile::TempPath {
    use std::os::unix::fs::PermissionsExt;
    let body = WORKER.replace(
        "    try:\n        code",
        &format!("    if b'POISON' in source:\n        {at_poison}\n    try:\n        code"),
    );
    assert_ne!(body, WORKER);
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    writeln!(
        file,
        "#!/bin/sh\n{how} {PYTHON} -I -S -B -c \"$(cat <<'WORKER'\n{body}\nWORKER\n)\" 0"
    )
    .expect("writes");
    let mode = std::fs::Permissions::from_mode(0o755);
    file.as_file().set_permissions(mode).expect("executable");
    file.into_temp_path()
}

const WITH_POISON: [&[u8]; 4] = [b"a = 1\n", b"POISON\n", b"b = 2\n", b"c = 3\n"];

#[test]
fn a_poison_file_costs_only_itself() {
    let python = python_that("sys.stderr.write('ouch'); sys.stderr.flush(); os._exit(3)");
    let python = python.to_str().expect("UTF-8");
    let results = compiled(python, Duration::from_secs(30), &WITH_POISON);
    assert!(results[0].is_ok() && results[2].is_ok() && results[3].is_ok());
    let message = results[1].as_ref().expect_err("died").to_string();
    assert!(
        message.contains("exit status: 3") && message.ends_with("ouch"),
        "{message}"
    );
}

#[test]
fn a_file_that_takes_too_long_costs_only_itself() {
    let python = python_that("import time; time.sleep(60)");
    let python = python.to_str().expect("UTF-8");
    let limit = Duration::from_millis(400);
    let results = compiled(python, limit, &WITH_POISON);
    assert!(results[0].is_ok() && results[2].is_ok() && results[3].is_ok());
    assert_eq!(results[1], Err(CompileError::TimedOut(limit)));
}

#[test]
fn the_limit_holds_for_a_worker_behind_a_shell() {
    // The shell is what is killed; the interpreter has the pipe open for longer.
    let python = shell_that("env", "import time; time.sleep(20)");
    let python = python.to_str().expect("UTF-8");
    let limit = Duration::from_millis(400);
    let started = std::time::Instant::now();
    let results = compiled(python, limit, &WITH_POISON);
    assert_eq!(results[1], Err(CompileError::TimedOut(limit)));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn every_answer_goes_to_its_own_source_whatever_dies_on_the_way() {
    let source = |index: usize| {
        let poison = if index % 23 == 7 { "# POISON\n" } else { "" };
        let filler = "x = 'what makes a batch of a few'\n".repeat(2000);
        format!("{poison}name_{index:03} = 1\n{filler}").into_bytes()
    };
    let sources: Vec<Vec<u8>> = (0..60).map(source).collect();
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let python = python_that("os._exit(3)");
    let python = python.to_str().expect("UTF-8");
    let results = compiled(python, Duration::from_secs(30), &sources);
    for (index, result) in results.iter().enumerate() {
        let name = format!("name_{index:03}");
        match result {
            Ok(code) => assert!(
                code.windows(name.len())
                    .any(|found| found == name.as_bytes())
            ),
            Err(error) => assert!(
                index % 23 == 7 && matches!(error, CompileError::Crashed { .. }),
                "{index}: {error}"
            ),
        }
        assert_eq!(result.is_err(), index % 23 == 7);
    }
}

#[test]
fn a_worker_that_cannot_start_fails_every_file_with_the_cause() {
    for (python, cause) in [
        ("/nonexistent/python", "No such file"),
        ("false", "exit status: 1"),
    ] {
        for result in compiled(python, Duration::from_secs(5), &WITH_POISON) {
            let message = result.expect_err("no worker").to_string();
            assert!(message.contains(cause), "{message}");
        }
    }
}

#[test]
fn batches_hold_whole_files_in_order() {
    let task = |index, size| Task {
        index,
        path: PathBuf::new(),
        size,
    };
    let queue = batches(
        vec![task(0, 300), task(1, 60), task(2, 50), task(3, 1)],
        100,
    );
    let indices: Vec<Vec<usize>> = queue
        .iter()
        .map(|batch| batch.iter().map(|task| task.index).collect())
        .collect();
    assert_eq!(indices, [vec![0], vec![1, 2], vec![3]]);
}
