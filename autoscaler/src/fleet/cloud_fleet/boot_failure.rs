//! What an instance left behind whose worker did not come.

use super::CloudFleet;

impl CloudFleet {
    /// The console's last lines say why a worker did not come.
    pub(super) async fn note_boot_failure(&self, instance_id: &str) {
        let last_words = match self.cloud.console_output(instance_id).await {
            Ok(output) if output.trim().is_empty() => "its console is empty".to_owned(),
            Ok(output) => last_lines(&output),
            Err(error) => format!("its console cannot be read: {error}"),
        };
        tracing::warn!(instance_id, console = last_words, "no worker came up");
        self.state().last_boot_failure = Some(format!("{instance_id} ran without a worker: {last_words}"));
    }
}

/// The last lines on one line.
fn last_lines(text: &str) -> String {
    const LINES: usize = 5;
    const BYTES_MAX: usize = 1000;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" | ");
    let surplus = last.len().saturating_sub(BYTES_MAX);
    let begin = (surplus..=last.len()).find(|at| last.is_char_boundary(*at)).unwrap_or(0);
    last.get(begin..).unwrap_or_default().to_owned()
}
