//! How likely it is by chance.

/// The chance of at least `k` hits among `n` independent trials of chance `p`: the upper tail of the binomial
/// distribution, exact but for rounding.
pub fn at_least(k: u32, n: u32, p: f64) -> f64 {
    let mean = f64::from(n) * p;
    if k == 0 || f64::from(k) <= mean || p >= 1.0 {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    // Beyond the mean the terms fall: each is the one before times this.
    let ratio = |i: u32| f64::from(n - i) / f64::from(i + 1) * p / (1.0 - p);
    let mut term = ln_term(k, n, p).exp();
    let mut sum = 0.0;
    for i in k..=n {
        sum += term;
        term *= ratio(i);
        if term < sum * 1e-12 {
            break;
        }
    }
    sum.min(1.0)
}

fn ln_term(k: u32, n: u32, p: f64) -> f64 {
    let few = k.min(n - k);
    let choose: f64 = (1..=few).map(|i| (f64::from(n - few + i) / f64::from(i)).ln()).sum();
    choose + f64::from(k) * p.ln() + f64::from(n - k) * (1.0 - p).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_that_of_the_binomial_distribution() {
        // The first four by hand; the last two from tables of the distribution.
        let table = [
            (0, 10, 0.3, 1.0),
            (1, 1, 0.25, 0.25),
            (2, 2, 0.1, 0.01),
            (3, 3, 0.005, 1.25e-7),
            (8, 10, 0.5, 0.054_687_5),
            (5, 20, 0.1, 0.043_174_5),
        ];
        for (k, n, p, expected) in table {
            let found = at_least(k, n, p);
            assert!((found - expected).abs() <= expected * 1e-4, "{k} of {n} at {p}: {found}");
        }
    }

    #[test]
    fn it_stays_a_chance_for_any_arguments() {
        for n in [0, 1, 7, 300, 10_000] {
            for k in [0, 1, n / 3, n, n + 1] {
                for p in [0.0, 1e-9, 0.2, 0.999, 1.0] {
                    let found = at_least(k, n, p);
                    assert!((0.0..=1.0).contains(&found), "{k} of {n} at {p}: {found}");
                }
            }
        }
    }

    #[test]
    fn more_hits_are_never_likelier() {
        for k in 1..=60 {
            assert!(at_least(k, 60, 0.1) <= at_least(k - 1, 60, 0.1));
        }
    }
}
