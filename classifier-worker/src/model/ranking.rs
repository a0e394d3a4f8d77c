//! From a model's numbers to the classes a caller sees: best first.

use proto::v1::Classification;
use serde::Deserialize;

/// What turns a model's numbers into scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Activation {
    /// They sum to 1.
    Softmax,
    /// Each on its own, from 0 to 1.
    Sigmoid,
    None,
}

/// The one answer of a model that gives a label and no scores.
pub(super) fn only(label: String) -> Vec<Classification> {
    vec![Classification { class_id: 0, label, score: 1.0 }]
}

/// The best `top_k` of at least `min_score`, best first; of equal ones the lower class first.
pub(super) fn best(
    numbers: &[f32],
    activation: Activation,
    labels: &[String],
    asked: Asked,
) -> Vec<Classification> {
    let scores = scores(numbers, activation);
    let mut classes = scores.into_iter().zip(0_u32..).zip(labels).collect::<Vec<_>>();
    let order = |((a, i), _): &((f32, u32), &String), ((b, j), _): &((f32, u32), &String)| {
        b.total_cmp(a).then(i.cmp(j))
    };
    // Five of a thousand are wanted as a rule: the others need no order.
    if asked.top_k < classes.len() {
        classes.select_nth_unstable_by(asked.top_k, order);
        classes.truncate(asked.top_k);
    }
    classes.sort_unstable_by(order);
    classes
        .into_iter()
        .filter(|((score, _), _)| *score >= asked.min_score)
        .map(|((score, class_id), label)| Classification { class_id, label: label.clone(), score })
        .collect()
}

/// How many classes a caller wants, and how good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Asked {
    pub(super) top_k: usize,
    pub(super) min_score: f32,
}

fn scores(numbers: &[f32], activation: Activation) -> Vec<f32> {
    match activation {
        Activation::None => numbers.to_vec(),
        Activation::Sigmoid => numbers.iter().map(|number| 1.0 / (1.0 + (-number).exp())).collect(),
        Activation::Softmax => {
            // The largest is taken off first, so that no exponential overflows.
            let largest = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut scores = numbers.iter().map(|number| (number - largest).exp()).collect::<Vec<_>>();
            let sum = scores.iter().sum::<f32>();
            for score in &mut scores {
                *score /= sum;
            }
            scores
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["ant", "bee", "cat", "dog"].map(str::to_owned).to_vec()
    }

    #[test]
    fn best_classes_come_first_and_the_rest_not_at_all() {
        let check = |asked: Asked, want: &[&str]| {
            let got = best(&[0.1, 0.4, 0.4, 0.3], Activation::None, &labels(), asked);
            assert_eq!(got.iter().map(|one| one.label.as_str()).collect::<Vec<_>>(), want, "{asked:?}");
        };
        check(Asked { top_k: 1, min_score: 0.0 }, &["bee"]);
        check(Asked { top_k: 3, min_score: 0.0 }, &["bee", "cat", "dog"]);
        check(Asked { top_k: 9, min_score: 0.0 }, &["bee", "cat", "dog", "ant"]);
        check(Asked { top_k: 9, min_score: 0.3 }, &["bee", "cat", "dog"]);
        check(Asked { top_k: 9, min_score: 0.9 }, &[]);
        check(Asked { top_k: 0, min_score: 0.0 }, &[]);
    }

    #[test]
    fn softmax_sums_to_one_even_of_large_numbers() {
        let scores = scores(&[1000.0, 999.0, -1000.0], Activation::Softmax);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((scores[0] - 0.731).abs() < 1e-3, "{scores:?}");
    }

    #[test]
    fn sigmoid_scores_each_class_on_its_own() {
        let scores = scores(&[0.0, 100.0, -100.0], Activation::Sigmoid);
        assert!((scores[0] - 0.5).abs() < 1e-6 && scores[1] > 0.999 && scores[2] < 0.001, "{scores:?}");
    }
}
