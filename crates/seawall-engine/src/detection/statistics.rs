//! The few pieces of statistics that judge whether a finding could be chance, and how bad it could be.

/// The upper end of the one-sided 95% Clopper-Pearson interval of a share, seen `matched` times in `total`; both may be
/// effective, that is fractional, counts (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934).
pub(crate) fn share_upper_95(matched: f64, total: f64) -> f64 {
    if total <= 0.0 || matched >= total {
        return 1.0;
    }
    let matched = matched.max(0.0);
    if matched == 0.0 {
        return 1.0 - 0.05_f64.powf(1.0 / total);
    }
    beta_quantile(0.95, matched + 1.0, total - matched)
}

/// The lower end of the same interval: with 95% confidence the share is at least this, from 0 to 1.
pub fn share_lower_95(matched: f64, total: f64) -> f64 {
    if total <= 0.0 || matched <= 0.0 {
        return 0.0;
    }
    if matched >= total {
        return 0.05_f64.powf(1.0 / total);
    }
    beta_quantile(0.05, matched, total - matched + 1.0)
}

/// Kish's effective count of weighted observations, from the sum of weights and of their squares.
pub(crate) fn effective_count(sum: f64, sum_of_squares: f64) -> f64 {
    if sum_of_squares <= 0.0 { 0.0 } else { sum * sum / sum_of_squares }
}

/// The probability of a table at least this uneven by chance: the G-test with one degree of freedom. `first` and
/// `second` are (matched, total).
pub(crate) fn g_test(first: (f64, f64), second: (f64, f64)) -> f64 {
    let total = first.1 + second.1;
    let matched = first.0 + second.0;
    if total <= 0.0 {
        return 1.0;
    }
    let cell = |observed: f64, expected: f64| {
        if observed <= 0.0 || expected <= 0.0 { 0.0 } else { observed * (observed / expected).ln() }
    };
    let mut g = 0.0;
    for (part, size) in [first, second] {
        g += cell(part, size * matched / total);
        g += cell(size - part, size * (total - matched) / total);
    }
    // With one degree of freedom the statistic is the square of a standard normal.
    error_function_complement(g.max(0.0).sqrt())
}

/// Which of these tests may be believed together when one in `1 / rate` of the believed may be chance (Y. Benjamini and
/// Y. Hochberg, JRSS B 57, 1995): the largest probability that still passes.
pub(crate) fn benjamini_hochberg(mut probabilities: Vec<f64>, rate: f64) -> f64 {
    probabilities.sort_by(f64::total_cmp);
    let count = probabilities.len() as f64;
    let passing = |(index, probability): (usize, &f64)| {
        (*probability <= rate * (index + 1) as f64 / count).then_some(*probability)
    };
    probabilities.iter().enumerate().filter_map(passing).next_back().unwrap_or(-1.0)
}

/// How many equally common kinds would be as diverse as these counts: the inverse Simpson index.
pub(crate) fn effective_kinds(counts: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = counts.fold((0.0, 0.0), |(sum, squares), count| (sum + count, squares + count * count));
    effective_count(sum, squares)
}

/// The value below which `share` of the sorted `values` lie.
pub(crate) fn quantile(values: &[f32], share: f64) -> f32 {
    let last = values.len().saturating_sub(1);
    values.get((share * last as f64).round() as usize).copied().unwrap_or_default()
}

/// The complement of the error function of z/√2, that is the two-sided tail of the standard normal (W. J. Cody's
/// bound form as in Numerical Recipes, relative error below 1.2e-7).
fn error_function_complement(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let series = [
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let polynomial = series.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    t * (-x * x - 1.265_512_23 + t * polynomial).exp()
}

/// The quantile of the beta distribution, by false position with the Illinois rule (M. Dowell and P. Jarratt, BIT 11, 1971), to
/// five digits: finer than any count here, after about four steps.
fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    let scale = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
    let at = |x: f64| beta_distribution(x, a, b, scale) - probability;
    // One deviation to nearly two from the mean, on the side of the tail, however skewed: in a normal distribution 1.64, in an
    // exponential one, which is as skewed as these get, 2.0 above and 0.95 below.
    let mean = a / (a + b);
    let deviation = (mean * (1.0 - mean) / (a + b)).sqrt();
    let (nearest, furthest) = if probability > 0.5 { (1.2, 2.2) } else { (-2.0, -0.8) };
    let within = |deviations: f64| (mean + deviations * deviation).clamp(0.0, 1.0);
    let (mut low, mut high) = (within(nearest), within(furthest));
    let end = |x: f64| match x {
        x if x <= 0.0 => -probability,
        x if x >= 1.0 => 1.0 - probability,
        x => at(x),
    };
    let (mut below, mut above) = (end(low), end(high));
    if below > 0.0 {
        (high, above, low, below) = (low, below, 0.0, -probability);
    } else if above < 0.0 {
        (low, below, high, above) = (high, above, 1.0, 1.0 - probability);
    }
    let mut side = 0_i32;
    for _ in 0..60 {
        if high - low <= 1e-5 * high {
            break;
        }
        // In the middle now and then, so that no shape of the curve makes it creep.
        let middle = if side.abs() > 2 { (low + high) / 2.0 } else { (low * above - high * below) / (above - below) };
        let found = at(middle.clamp(low, high));
        if found.abs() <= 1e-7 {
            return middle;
        }
        if found < 0.0 {
            (low, below) = (middle, found);
            side = if side < 0 { side - 1 } else { -1 };
            above /= if side < -1 { 2.0 } else { 1.0 };
        } else {
            (high, above) = (middle, found);
            side = if side > 0 { side + 1 } else { 1 };
            below /= if side > 1 { 2.0 } else { 1.0 };
        }
    }
    (low + high) / 2.0
}

/// The regularised incomplete beta function; `scale` is the logarithm of 1/B(a, b).
fn beta_distribution(x: f64, a: f64, b: f64, scale: f64) -> f64 {
    let front = (scale + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

/// Lentz's evaluation of the continued fraction of the incomplete beta function.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..300 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-9 {
            break;
        }
    }
    fraction
}

/// The logarithm of the gamma function above zero (Lanczos, g = 7, nine coefficients).
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let series = COEFFICIENTS
        .iter()
        .enumerate()
        .fold(0.999_999_999_999_809_9, |sum, (index, coefficient)| sum + coefficient / (x + (index + 1) as f64));
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 2e-4 * expected.abs().max(1e-3), "{found} instead of {expected}");
    }

    #[test]
    fn bounds_of_shares_agree_with_published_tables() {
        // One-sided 95% bounds; the values are those of R's qbeta.
        check(share_upper_95(0.0, 8192.0), 0.000_365_6);
        check(share_upper_95(0.0, 100.0), 0.029_513);
        check(share_upper_95(1.0, 20.0), 0.216_11);
        check(share_upper_95(10.0, 100.0), 0.163_725);
        check(share_lower_95(10.0, 100.0), 0.055_255_5);
        check(share_lower_95(3.0, 100.0), 0.008_226_2);
        // Fractional counts, by integration.
        check(share_upper_95(1.0, 1.5), 0.998_888);
        check(share_upper_95(0.2, 9.5), 0.301_613);
        check(share_lower_95(1.5, 40.5), 0.004_361_4);
        check(share_upper_95(5.0, 5.0), 1.0);
        check(share_upper_95(0.0, 0.0), 1.0);
    }

    #[test]
    fn the_g_test_knows_chance_from_a_difference() {
        assert!(g_test((10.0, 100.0), (100.0, 1000.0)) > 0.99);
        assert!(g_test((20.0, 26.0), (5.0, 8000.0)) < 1e-9);
        // G = 3.841 is the 5% point of chi-squared with one degree of freedom.
        check(error_function_complement(3.841_459_f64.sqrt()), 0.05);
    }

    #[test]
    fn many_tests_are_held_to_a_stricter_bound_than_one() {
        assert!(benjamini_hochberg(vec![0.009], 0.01) >= 0.009);
        let mut many = vec![0.5; 99];
        many.push(0.009);
        assert!(benjamini_hochberg(many, 0.01) < 0.0);
    }

    #[test]
    fn diversity_counts_equal_kinds() {
        check(effective_kinds([5.0; 8].into_iter()), 8.0);
        assert!(effective_kinds([97.0, 1.0, 1.0, 1.0].into_iter()) < 1.1);
    }
}
