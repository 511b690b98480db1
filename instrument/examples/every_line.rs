//! Puts a probe on every line of every `.pyc` under a directory, on one thread, and prints how
//! many nanoseconds that took. `make bench` divides it by the compile time.
//!
//! Files are read before the clock starts: what is measured is bytes in, bytes out.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program around the crate: it reads files and has a clock, the crate does not"
)]

use std::error::Error;
use std::path::Path;
use std::time::Instant;
use std::{env, fs, hint};

use instrument::{Wanted, instrument, pyc};

fn collect(directory: &Path, files: &mut Vec<Vec<u8>>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "pyc") {
            files.push(fs::read(&path)?);
        }
    }
    Ok(())
}

/// Processor time of this process in nanoseconds, where the system tells it.
fn processor_time() -> Option<u128> {
    let text = fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).ok_or("usage: every_line DIRECTORY")?;
    let mut files = Vec::new();
    collect(Path::new(&directory), &mut files)?;
    if files.is_empty() {
        return Err("no .pyc file in that directory".into());
    }
    let (wall, processor) = (Instant::now(), processor_time());
    for bytes in &files {
        let (header, marshalled) = pyc::read(bytes)?;
        hint::black_box(instrument(header.version, marshalled, Wanted::EveryLine)?);
    }
    let taken = match (processor, processor_time()) {
        (Some(start), Some(end)) => end - start,
        _ => wall.elapsed().as_nanos(),
    };
    println!("{taken}");
    Ok(())
}
