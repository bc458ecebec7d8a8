//! Points from a store that keeps figures for longer, in even steps.

use std::collections::BTreeMap;

use super::{Point, State};

/// What such a store tells of one step: means, but for the two that say what happened at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    RttSeconds,
    JitterSeconds,
    LossTxRatio,
    LossRxRatio,
    /// The worst: 2 up, 1 connecting, 0 down.
    LeastState,
    /// Above 0: it carried traffic at some time.
    Carries,
}

/// `told`: a figure, the end of its step, its value. Steps without a state are left out: nobody heard of the path then.
pub fn points(step_ms: u32, told: impl IntoIterator<Item = (Figure, u64, f64)>) -> Vec<Point> {
    let mut steps: BTreeMap<u64, (Point, bool)> = BTreeMap::new();
    for (figure, ends_ms, value) in told {
        let (point, known) =
            steps.entry(ends_ms).or_insert_with(|| (unheard(ends_ms, step_ms), false));
        match figure {
            Figure::RttSeconds => {
                point.rtt_us = millionths(value);
                point.measured = point.rtt_us > 0;
            }
            Figure::JitterSeconds => point.jitter_us = millionths(value),
            Figure::LossTxRatio => point.loss_tx_ppm = millionths(value),
            Figure::LossRxRatio => point.loss_rx_ppm = millionths(value),
            Figure::Carries => point.carries = value > 0.0,
            Figure::LeastState => {
                *known = true;
                point.state = match value {
                    v if v >= 2.0 => State::Up,
                    v if v >= 1.0 => State::Connecting,
                    _ => State::Down,
                };
            }
        }
    }
    steps.into_values().filter_map(|(point, known)| known.then_some(point)).collect()
}

fn unheard(ends_ms: u64, step_ms: u32) -> Point {
    Point {
        at_ms: ends_ms.saturating_sub(step_ms.into()),
        span_ms: step_ms,
        state: State::Down,
        carries: false,
        measured: false,
        rtt_us: 0,
        jitter_us: 0,
        loss_tx_ppm: 0,
        loss_rx_ppm: 0,
    }
}

/// Rounded; what is no number, or negative, is 0, and what is too large the largest.
fn millionths(value: f64) -> u32 {
    (value * 1e6).round() as u32
}

/// Which steps to ask for: whole ones, aligned, so that the same question gets the same steps a moment later. At most
/// `most` of them, none narrower than `narrowest_ms`. `None`: nothing lies between.
pub fn steps(since_ms: u64, until_ms: u64, narrowest_ms: u32, most: u32) -> Option<Steps> {
    let span = until_ms.checked_sub(since_ms)?;
    let second = 1_000;
    let wanted = span.div_ceil(most.max(1).into()).max(narrowest_ms.into());
    let step_ms = u32::try_from(wanted.checked_next_multiple_of(second)?).ok()?;
    let step = u64::from(step_ms);
    let first = since_ms.checked_next_multiple_of(step)?.checked_add(step)?;
    let last = until_ms / step * step;
    (first <= last).then_some(Steps { first_ends_ms: first, last_ends_ms: last, step_ms })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub first_ends_ms: u64,
    pub last_ends_ms: u64,
    pub step_ms: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_step_become_one_point_and_a_step_without_a_state_none() {
        use Figure::*;
        let told = [
            (RttSeconds, 120_000, 0.0405),
            (LeastState, 120_000, 2.0),
            (LossTxRatio, 120_000, 0.0125),
            (JitterSeconds, 120_000, 0.002),
            (Carries, 120_000, 1.0),
            (LeastState, 60_000, 0.0),
            (RttSeconds, 180_000, 0.04),
            (LossRxRatio, 120_000, f64::NAN),
        ];
        let points = points(60_000, told);
        assert_eq!(points.len(), 2);
        let (dark, light) = (points[0], points[1]);
        assert_eq!((dark.at_ms, dark.state, dark.measured), (0, State::Down, false));
        assert_eq!((light.at_ms, light.ends_ms()), (60_000, 120_000));
        assert_eq!((light.rtt_us, light.jitter_us), (40_500, 2_000));
        assert_eq!((light.loss_tx_ppm, light.loss_rx_ppm), (12_500, 0));
        assert!(light.measured && light.carries && light.state == State::Up);
    }

    #[test]
    fn steps_are_whole_aligned_and_bounded() {
        let day = 86_400_000;
        let week = steps(1_000_123, 1_000_123 + 7 * day, 60_000, 480).expect("a week");
        assert_eq!(week.step_ms, 1_260_000);
        assert_eq!(week.first_ends_ms % u64::from(week.step_ms), 0);
        assert!(week.first_ends_ms - u64::from(week.step_ms) >= 1_000_123);
        assert!((week.last_ends_ms - week.first_ends_ms) / u64::from(week.step_ms) < 480);
        let hour = steps(0, 3_600_000, 60_000, 480).expect("an hour");
        assert_eq!(hour, Steps { first_ends_ms: 60_000, last_ends_ms: 3_600_000, step_ms: 60_000 });
        assert_eq!(steps(0, 59_000, 60_000, 480), None);
        assert_eq!(steps(5, 4, 60_000, 480), None);
        assert_eq!(steps(0, u64::MAX, 60_000, 1), None, "no span that long fits a step");
    }
}
