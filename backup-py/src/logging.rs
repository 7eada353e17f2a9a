//! Lines for an operator, on their way to Python's `logging`: the logger `backup_py`.
//!
//! The engine's threads only put them into a queue; a thread of its own enters the interpreter with them. So a handler that is slow, or waits
//! for the interpreter's lock, holds up no run. Where lines come faster than they are taken, the newest are dropped.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use backup_core::{LogLevel, Logger};
use pyo3::intern;
use pyo3::prelude::*;

use crate::gate::enter;

/// Lines that wait at most.
const LINES_MAX: usize = 10_000;

type Line = (LogLevel, String);

pub(crate) struct Queue(SyncSender<Line>);

impl Queue {
    /// A queue, and the thread that empties it for as long as there is an interpreter.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        std::thread::Builder::new().name("backup-log".to_owned()).spawn(move || attend(&receiver))?;
        Ok(Self(sender))
    }
}

impl Logger for Queue {
    fn log(&self, level: LogLevel, line: &str) {
        let _ = self.0.try_send((level, line.to_owned()));
    }
}

fn attend(lines: &Receiver<Line>) {
    while let Ok((level, line)) = lines.recv() {
        // An exception of a handler has nowhere to go but where Python puts those of threads.
        let entered = enter(|py| {
            if let Err(error) = write(py, level, &line) {
                error.write_unraisable(py, None);
            }
        });
        if entered.is_none() {
            return;
        }
    }
}

fn write(py: Python<'_>, level: LogLevel, line: &str) -> PyResult<()> {
    let number = match level {
        LogLevel::Error => 40,
        LogLevel::Warning => 30,
        LogLevel::Info => 20,
        _ => 10,
    };
    let logger = py.import(intern!(py, "logging"))?.call_method1(intern!(py, "getLogger"), ("backup_py",))?;
    // The line is no format: it may have a percent sign.
    logger.call_method1(intern!(py, "log"), (number, "%s", line)).map(drop)
}
