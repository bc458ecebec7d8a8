//! Why a command did not do what it was asked, and the exit code that says so.

use std::error::Error as _;
use std::fmt;

use hawser_proto::agent::v1::Fault;
use tonic::{Code, Status};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Failed,
    Usage,
    Refused,
    Unreachable,
    NotAuthorised,
    Interrupted,
    /// No failure: a plan has changes in it.
    Changes,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unreachable => 4,
            Exit::NotAuthorised => 5,
            Exit::Interrupted => 130,
            Exit::Changes => 2,
        }
    }
}

/// One failure. `faults` are those of a document, if it was one that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct CliError {
    pub exit: Exit,
    /// Stable, upper case.
    pub code: String,
    pub message: String,
    /// What to do; may be empty.
    pub mend: String,
    pub faults: Vec<Fault>,
}

impl CliError {
    pub fn new(exit: Exit, code: &str, message: impl Into<String>, mend: &str) -> Self {
        let (code, mend) = (code.to_owned(), mend.to_owned());
        Self { exit, code, message: message.into(), mend, faults: Vec::new() }
    }

    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "INTERRUPTED", "interrupted", "")
    }

    /// A document that can't be applied.
    pub fn faulty(faults: Vec<Fault>) -> Self {
        let message = match faults.len() {
            1 => "the document has 1 fault; nothing was applied".to_owned(),
            count => format!("the document has {count} faults; nothing was applied"),
        };
        Self { faults, ..Self::new(Exit::Refused, "DOCUMENT_FAULTY", message, "") }
    }

    /// What the controller, or the way to it, says.
    pub fn from_status(status: &Status, controller: &str) -> Self {
        let exit = match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Exit::Unreachable,
            Code::Unauthenticated | Code::PermissionDenied => Exit::NotAuthorised,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::ResourceExhausted => Exit::Refused,
            Code::Cancelled => Exit::Interrupted,
            _ => Exit::Failed,
        };
        if let Some((code, message, mend)) = in_parts(status.message()) {
            return Self::new(exit, code, message, mend);
        }
        match exit {
            Exit::Unreachable => unreachable(status, controller),
            _ => Self::new(exit, code_name(status.code()), status.message(), ""),
        }
    }
}

/// `CODE: message; mend`, as the controller words its errors.
fn in_parts(text: &str) -> Option<(&str, &str, &str)> {
    let (code, rest) = text.split_once(": ")?;
    let is_code = !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let (message, mend) = rest.split_once("; ").unwrap_or((rest, ""));
    is_code.then_some((code, message, mend))
}

fn unreachable(status: &Status, controller: &str) -> CliError {
    let cause = root_cause(status);
    if is_untrusted(status) {
        return CliError::new(
            Exit::Unreachable,
            "CONTROLLER_UNTRUSTED",
            format!("who answers at {controller} is not the context file's controller: {cause}"),
            "take the context file that this controller wrote at its first start",
        );
    }
    CliError::new(
        Exit::Unreachable,
        "CONTROLLER_UNREACHABLE",
        format!("the controller at {controller} does not answer: {cause}"),
        "is it running, and is its address in the context file right?",
    )
}

/// Whether the other end showed a certificate that the context's CA did not sign. Trying again won't help.
pub fn is_untrusted(status: &Status) -> bool {
    root_cause(status).contains("invalid peer certificate")
}

fn root_cause(status: &Status) -> String {
    let Some(mut cause) = status.source() else { return status.message().to_owned() };
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::PermissionDenied => "FORBIDDEN",
        Code::InvalidArgument | Code::OutOfRange => "INVALID",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => "CONFLICT",
        Code::ResourceExhausted => "LIMITED",
        Code::Unimplemented => "NOT_SUPPORTED",
        Code::Cancelled => "INTERRUPTED",
        _ => "FAILED",
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for CliError {}

#[cfg(test)]
mod tests;
