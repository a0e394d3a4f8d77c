//! A fixed delay and a label from the image's name: for tests and for measuring all but the model.

use std::{ops::Range, thread, time::Duration};

use platform::Result;
use proto::v1::Classification;

use super::{Image, Model, ranking};

pub(super) struct StubModel {
    /// For each image, however many are in a pass.
    delay: Duration,
    labels: Vec<String>,
}

impl StubModel {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, labels: Vec::new() }
    }
}

impl Model for StubModel {
    fn name(&self) -> &'static str {
        "stub"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn batch_max(&self, wished: usize) -> usize {
        // A batch would only keep its first image waiting for the delays of the others.
        if self.delay.is_zero() { wished } else { 1 }
    }

    fn warm_up(&mut self) -> Result<()> {
        Ok(())
    }

    fn prepare(&mut self, slot: usize, image: &Image) -> Result<()> {
        if self.labels.len() <= slot {
            self.labels.resize(slot + 1, String::new());
        }
        if let Some(label) = self.labels.get_mut(slot) {
            *label = stem(&image.custom_id).to_owned();
        }
        Ok(())
    }

    fn classify(&mut self, slots: Range<usize>) -> Result<Vec<Vec<Classification>>> {
        let count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        if !self.delay.is_zero() {
            thread::sleep(self.delay * count);
        }
        let labels = self.labels.get(slots).unwrap_or_default();
        Ok(labels.iter().map(|label| ranking::only(label.clone())).collect())
    }
}

/// What a file name has before its first dot, without its folders.
fn stem(name: &str) -> &str {
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    match file.split('.').next() {
        None | Some("") => "stub",
        Some(stem) => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_is_the_name_up_to_its_first_dot() {
        let check = |name: &str, want: &str| assert_eq!(stem(name), want, "{name:?}");
        check("test_03.jpg", "test_03");
        check("photos/cat.tar.gz", "cat");
        check("plain", "plain");
        check("", "stub");
        check(".hidden", "stub");
        check("7", "7");
    }

    #[test]
    fn each_slot_keeps_its_own_label() {
        let mut model = StubModel::new(Duration::ZERO);
        for (slot, name) in ["a.jpg", "b.jpg", "c.jpg"].into_iter().enumerate() {
            let image =
                Image { content: bytes::Bytes::new(), custom_id: name.to_owned(), top_k: 1, min_score: 0.0 };
            model.prepare(slot, &image).unwrap();
        }
        let answers = model.classify(1..3).unwrap();
        let labels = answers.iter().map(|answer| answer[0].label.as_str()).collect::<Vec<_>>();
        assert_eq!(labels, ["b", "c"]);
    }
}
