//! Instruments: small programs at a node that answer questions while they run.
//!
//! On standard output an instrument says one JSON line when it is ready, one for each line it is asked on standard
//! input, and a last one, its report, when that input ends or a signal tells it to stop.

use crate::cli::wait;
use crate::lab::start::binary;
use crate::lab::{Lab, LabError, Process, Sink, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

const READY: &str = "{\"ready\":true}";

/// The client's end.
pub(crate) struct Instrument {
    command: String,
    process: Process,
    pipes: Mutex<Pipes>,
}

struct Pipes {
    questions: Option<File>,
    answers: BufReader<File>,
}

impl Instrument {
    /// Starts `hawser-lab tool ARGS...` at a node, and returns once it is ready.
    pub(crate) fn start(lab: &Lab, node: &str, args: &[String]) -> Result<Self, LabError> {
        let task = Task::new(binary()?).arg("tool").args(args);
        let task = task.stdin(Sink::Pipe).stdout(Sink::Pipe).stderr(Sink::Inherit);
        let mut process = lab.spawn(node, &task)?;
        let (questions, answers) = (process.take_stdin(), process.take_stdout());
        let command = format!("{} at {node}", args.join(" "));
        let answers = answers.ok_or_else(|| fault(&command, "it has no output"))?;
        let mut pipes = Pipes { questions, answers: BufReader::new(answers) };
        let ready: serde_json::Value = pipes.answer(&command)?;
        if ready["ready"] != true {
            return Err(fault(&command, &format!("it said {ready}")));
        }
        Ok(Self { command, process, pipes: Mutex::new(pipes) })
    }

    pub(crate) fn ask<A: DeserializeOwned>(
        &self,
        question: &impl Serialize,
    ) -> Result<A, LabError> {
        let mut pipes =
            self.pipes.lock().map_err(|_| fault(&self.command, "it was left broken"))?;
        let mut line =
            serde_json::to_vec(question).map_err(|e| fault(&self.command, &e.to_string()))?;
        line.push(b'\n');
        if let Some(questions) = &mut pipes.questions {
            questions.write_all(&line).map_err(|e| fault(&self.command, &e.to_string()))?;
        }
        pipes.answer(&self.command)
    }

    /// Ends the instrument and returns its report.
    pub(crate) fn stop<A: DeserializeOwned>(self) -> Result<A, LabError> {
        let mut pipes =
            self.pipes.into_inner().map_err(|_| fault(&self.command, "it was left broken"))?;
        drop(pipes.questions.take());
        let report = pipes.answer(&self.command);
        self.process.wait_within(Duration::from_secs(2));
        report
    }
}

impl Pipes {
    fn answer<A: DeserializeOwned>(&mut self, command: &str) -> Result<A, LabError> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|e| fault(command, &e.to_string()))?;
        if line.is_empty() {
            return Err(fault(command, "it ended; see its messages"));
        }
        serde_json::from_str(&line).map_err(|e| fault(command, &format!("{e} in {line}")))
    }
}

fn fault(command: &str, message: &str) -> LabError {
    LabError::Instrument { command: command.to_owned(), message: message.to_owned() }
}

/// When an instrument ends by itself.
pub(crate) struct Until<'a> {
    /// Whether standard input is ignored, its end too.
    pub unattended: bool,
    pub finished: &'a dyn Fn() -> bool,
}

/// The instrument's end, with [`wait::block_signals`] before any thread: says that it is ready, and answers lines until input, work, or the user's patience ends.
pub(crate) fn serve(
    until: &Until<'_>,
    mut answer: impl FnMut(&str) -> serde_json::Value,
) -> io::Result<()> {
    println!("{READY}");
    let (sender, lines) = sync_channel(16);
    // When nobody attends, no line ever comes, and the lines never end.
    let _kept = if until.unattended {
        Some(sender)
    } else {
        std::thread::spawn(move || read_lines(sender));
        None
    };
    while !wait::signal_within_ms(0) && !(until.finished)() {
        match lines.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => {
                let mut stdout = io::stdout().lock();
                serde_json::to_writer(&mut stdout, &answer(&line))?;
                stdout.write_all(b"\n")?;
                stdout.flush()?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
    Ok(())
}

/// Passes lines of standard input on, until its end drops the sender.
fn read_lines(sender: SyncSender<String>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if sender.send(line).is_err() {
            return;
        }
    }
}

/// Prints an instrument's last line. Whoever dropped the instrument does not read it.
pub(crate) fn report(report: &impl Serialize) -> io::Result<()> {
    match writeln!(io::stdout(), "{}", serde_json::to_string(report)?) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
