//! Waiting for something to become true, with a bound, and a reason when it does not.

use super::error::FleetError;
use std::time::{Duration, Instant};

/// What one look saw.
#[derive(Debug)]
pub enum Look<T> {
    Done(T),
    /// Not yet, and why.
    Not(String),
}

/// How often to look, unless a look itself takes longer.
pub const OFTEN: Duration = Duration::from_millis(100);

/// Looks until it is done. An error of a look counts as "not yet": programs that start or die answer with errors.
///
/// # Errors
/// It did not come true within `limit`; the error says what the last look saw.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Look<T>, FleetError>,
) -> Result<T, FleetError> {
    let deadline = Instant::now() + limit;
    loop {
        let began = Instant::now();
        let last = match look() {
            Ok(Look::Done(value)) => return Ok(value),
            Ok(Look::Not(why)) => why,
            Err(error) => error.line(),
        };
        if Instant::now() >= deadline {
            return Err(FleetError::NotInTime { what: what.to_owned(), limit, last });
        }
        // Where programs start slowly, looking must not take the processor from what is waited for.
        std::thread::sleep(OFTEN.max(began.elapsed()));
    }
}
