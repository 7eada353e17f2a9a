//! What a random sample says about all that it was drawn from. Pure; used by the restore drill.
//!
//! The bound is the one-sided interval of Clopper and Pearson (Biometrika 26, 1934), for a finite population: the tail of the hypergeometric
//! distribution is inverted, not that of the binomial one (T. Wright, *Exact confidence bounds when sampling from small finite universes*,
//! 1991). It is exact: whatever the true share is, the bound is below it in at most 1 - confidence of all samples.

use std::collections::BTreeSet;

/// The probability that a sample of `sampled` out of `population`, of which `bad` are bad, has at most `found` bad ones.
fn tail(population: u64, bad: u64, sampled: u64, found: u64) -> f64 {
    let good = population.saturating_sub(bad);
    // A sample that is larger than what is good has bad ones in it for certain.
    let least = sampled.saturating_sub(good);
    let most = sampled.min(bad);
    if found >= most {
        return 1.0;
    }
    if found < least {
        return 0.0;
    }
    // The logarithm of the first probability: the shorter of two products that are the same.
    let mut log = if least == 0 {
        let (terms, other) = (sampled.min(bad), sampled.max(bad));
        (0..terms).map(|i| (-(other as f64) / (population - i) as f64).ln_1p()).sum::<f64>()
    } else {
        // All that is good is in the sample: the rest of it is any `least` of the bad ones.
        log_choose(bad, least) - log_choose(population, sampled)
    };
    let mut sum = log.exp();
    for at in least..found {
        let up = (bad - at) as f64 * (sampled - at) as f64;
        let down = (at + 1) as f64 * ((good + at + 1) - sampled) as f64;
        log += (up / down).ln();
        sum += log.exp();
    }
    sum.min(1.0)
}

/// The logarithm of a binomial coefficient.
fn log_choose(of: u64, chosen: u64) -> f64 {
    let chosen = chosen.min(of.saturating_sub(chosen));
    (0..chosen).map(|i| ((of - i) as f64 / (i + 1) as f64).ln()).sum()
}

/// The smallest number in `low..=high` for which `is` holds; `high` if it holds for none below. `is` must stay true once it is. Looks
/// near `low` first, where it costs least.
fn first(low: u64, high: u64, is: impl Fn(u64) -> bool) -> u64 {
    let (mut below, mut step) = (low, 1);
    while below < high && !is(below) {
        let next = below.saturating_add(step).min(high);
        if next == high || is(next) {
            let (mut low, mut high) = (below + 1, next);
            while low < high {
                let middle = low + (high - low) / 2;
                if is(middle) { high = middle } else { low = middle + 1 }
            }
            return high;
        }
        (below, step) = (next, step.saturating_mul(2));
    }
    below
}

/// How many of `population` are bad at most, with this confidence (between 0 and 1), if `found` of `sampled` were.
pub(crate) fn most_bad(population: u64, sampled: u64, found: u64, confidence: f64) -> u64 {
    let (sampled, chance) = (sampled.min(population), 1.0 - confidence);
    // No more than all that were not seen can be bad.
    let high = population - sampled + found.min(sampled);
    let excluded = first(found, high + 1, |bad| tail(population, bad, sampled, found) <= chance);
    excluded.saturating_sub(1).clamp(found.min(sampled), high)
}

/// How many have to be sampled so that, if none of them is bad, fewer than `share` of `population` are, with this confidence.
pub(crate) fn sample_size(population: u64, share: f64, confidence: f64) -> u64 {
    // The smallest number that would be too many.
    let bad = ((share * population as f64).ceil() as u64).clamp(1, population.max(1));
    first(1.min(population), population, |sampled| tail(population, bad, sampled, 0) <= 1.0 - confidence)
}

/// Different numbers below `population`, ascending; every set of `count` of them is as likely as any other. The same seed gives the same.
pub(crate) fn draw(population: u64, count: u64, seed: u64) -> Vec<u64> {
    let mut random = blake3::Hasher::new_derive_key("backup-engine drill sample")
        .update(&seed.to_le_bytes())
        .finalize_xof();
    let mut below = |bound: u64| {
        // What is above the largest multiple of the bound would make small numbers likelier.
        let fair = u64::MAX - u64::MAX % bound;
        loop {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            let number = u64::from_le_bytes(bytes);
            if number < fair {
                return number % bound;
            }
        }
    };
    // Floyd's algorithm: one random number for each that is drawn, whatever the population.
    let mut drawn = BTreeSet::new();
    for last in population - count.min(population)..population {
        let number = below(last + 1);
        if !drawn.insert(number) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(of: u64, chosen: u64) -> u128 {
        (0..u128::from(chosen)).fold(1, |product, i| product * (u128::from(of) - i) / (i + 1))
    }

    #[test]
    fn tails_are_those_of_whole_numbers() {
        for population in 1..=22u64 {
            for bad in 0..=population {
                for sampled in 0..=population {
                    let mut sum = 0;
                    for found in 0..=sampled {
                        if found <= bad && sampled - found <= population - bad {
                            sum += choose(bad, found) * choose(population - bad, sampled - found);
                        }
                        let exact = sum as f64 / choose(population, sampled) as f64;
                        let is = tail(population, bad, sampled, found);
                        assert!(
                            (is - exact).abs() < 1e-12,
                            "{population} {bad} {sampled} {found}: {is} {exact}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bounds_are_the_binomial_ones_where_the_population_is_large() {
        let share = |sampled, found, confidence| {
            let population = 1_000_000_000;
            most_bad(population, sampled, found, confidence) as f64 / population as f64
        };
        // Clopper and Pearson's upper limits, one-sided: for none found 1 - (1 - confidence)^(1 / sampled).
        for (sampled, confidence) in [(10, 0.95), (50, 0.95), (300, 0.95), (460, 0.99), (3_000, 0.999)] {
            let formula = 1.0 - f64::powf(1.0 - confidence, 1.0 / f64::from(sampled));
            assert!((share(sampled as u64, 0, confidence) - formula).abs() < 1e-6, "{sampled}");
        }
        // The rule of three.
        assert!((share(1_000, 0, 0.95) - 3.0 / 1_000.0).abs() < 1e-5);
        // Found by bisecting the binomial tail, with coefficients in whole numbers.
        for (sampled, found, limit) in
            [(10, 1, 0.3942), (20, 1, 0.2161), (20, 5, 0.4556), (50, 2, 0.1206), (100, 3, 0.0757)]
        {
            let is = share(sampled, found, 0.95);
            assert!((is - limit).abs() < 6e-5, "{found} of {sampled}: {is}");
        }
    }

    #[test]
    fn samples_are_as_large_as_they_must_be_and_no_larger() {
        let large = 1_000_000_000;
        assert_eq!(sample_size(large, 0.01, 0.95), 299);
        assert_eq!(sample_size(large, 0.01, 0.99), 459);
        assert_eq!(sample_size(large, 0.001, 0.95), 2_995);
        assert_eq!(sample_size(0, 0.01, 0.95), 0);
        assert_eq!(sample_size(1, 0.01, 0.95), 1);
        // One of a hundred has to be found: of all but five it is the chance of 95 in 100.
        assert_eq!(sample_size(100, 0.01, 0.9499), 95);
        for population in [2, 10, 99, 100, 1_000, 12_345] {
            for share in [0.001, 0.01, 0.2] {
                let sampled = sample_size(population, share, 0.95);
                let fewer =
                    |sampled| (most_bad(population, sampled, 0, 0.95) as f64) < share * population as f64;
                assert!(fewer(sampled), "{population} {share} {sampled}");
                assert!(sampled == 1 || !fewer(sampled - 1), "{population} {share} {sampled}");
            }
        }
    }

    #[test]
    fn a_bound_is_below_the_truth_as_rarely_as_it_says() {
        for population in [1u64, 2, 7, 30, 60] {
            for sampled in 0..=population {
                for confidence in [0.5, 0.9, 0.95, 0.99] {
                    for bad in 0..=population {
                        // The chance of a sample whose bound is below the truth.
                        let misses = (0..=sampled.min(bad))
                            .rev()
                            .find(|found| most_bad(population, sampled, *found, confidence) < bad);
                        let chance = misses.map_or(0.0, |found| tail(population, bad, sampled, found));
                        assert!(
                            chance <= 1.0 - confidence + 1e-12,
                            "{population} {sampled} {bad} {confidence}: {chance}"
                        );
                    }
                }
            }
        }
        assert_eq!(most_bad(50, 50, 3, 0.99), 3, "all were looked at");
        assert_eq!(most_bad(50, 0, 0, 0.99), 50, "none was");
    }

    #[test]
    fn draws_are_different_fair_and_the_same_again() {
        assert_eq!(draw(5, 9, 1), [0, 1, 2, 3, 4]);
        assert!(draw(0, 3, 1).is_empty());
        assert_eq!(draw(1_000, 20, 7), draw(1_000, 20, 7));
        let mut seen = [0u32; 20];
        for seed in 0..4_000 {
            let drawn = draw(20, 5, seed);
            assert!(drawn.len() == 5 && drawn.is_sorted_by(|a, b| a < b));
            drawn.iter().for_each(|number| seen[*number as usize] += 1);
        }
        // A thousand each, with a standard deviation of 27.
        assert!(seen.iter().all(|times| (850..1_150).contains(times)), "{seen:?}");
    }
}
