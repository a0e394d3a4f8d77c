//! A program run once an image, as the course's classifiers are. It gets the path of a file that
//! we named, and prints the label.

use std::{
    io::{Read as _, Write as _},
    ops::Range,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use platform::{Error, Kind, Result};
use proto::v1::Classification;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tempfile::{Builder, NamedTempFile, TempDir};

use super::{Image, Model, ranking};
use crate::decode::header;

/// What is read of a program's output; the rest is thrown away.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// What of a program's last words goes into an error.
const LAST_LINE_CHARACTERS_MAX: usize = 300;

pub(super) struct CommandModel {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
    folder: TempDir,
    images: Vec<Option<NamedTempFile>>,
}

impl CommandModel {
    pub(super) fn new(words: &[String], timeout: Duration) -> Result<Self> {
        let [program, arguments @ ..] = words else {
            return Err(Error::new(Kind::Config, "--model command: needs a program"));
        };
        let folder = Builder::new().prefix("dunlin-worker-").tempdir();
        let folder = folder.map_err(|error| Error::internal(error).context("make a folder for images"))?;
        Ok(Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
            timeout,
            folder,
            images: Vec::new(),
        })
    }

    fn run(&self, image: &NamedTempFile) -> Result<String> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(image.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it starts ends with it.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                failed(format!("the classifier {:?} can't be started", self.program)).with_source(error)
            })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            // Both are read while it runs, or a program that prints a lot would wait for ever.
            let output = scope.spawn(move || read(stdout));
            let complaints = scope.spawn(move || read(stderr));
            let status = wait(&mut child, self.timeout);
            let (output, complaints) = (output.join(), complaints.join());
            let output = output.map_err(|_| Error::internal("reading a classifier's output failed"))?;
            let complaints =
                complaints.map_err(|_| Error::internal("reading a classifier's errors failed"))?;
            label(status?, &output, &complaints, self.timeout)
        })
    }
}

impl Model for CommandModel {
    /// The program's file name.
    fn name(&self) -> &str {
        self.program.rsplit('/').next().unwrap_or("command")
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn batch_max(&self, _wished: usize) -> usize {
        1
    }

    fn warm_up(&mut self) -> Result<()> {
        Ok(())
    }

    fn prepare(&mut self, slot: usize, image: &Image) -> Result<()> {
        // Checked like any other: what is handed to a program may be a bomb for its decoder, too.
        let header = header::read(&image.content)?;
        let written = Builder::new()
            .prefix("image-")
            .suffix(&format!(".{}", header.format.extension()))
            .tempfile_in(self.folder.path())
            .and_then(|mut file| file.write_all(&image.content).map(|()| file));
        let file = written.map_err(|error| Error::internal(error).context("write image"))?;
        if self.images.len() <= slot {
            self.images.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.images.get_mut(slot) {
            *place = Some(file);
        }
        Ok(())
    }

    fn classify(&mut self, slots: Range<usize>) -> Result<Vec<Vec<Classification>>> {
        slots
            .map(|slot| {
                // Taken out: the file is gone once the program has seen it.
                let image = self.images.get_mut(slot).and_then(Option::take);
                let image = image.ok_or_else(|| Error::internal("no image in this slot"))?;
                Ok(ranking::only(self.run(&image)?))
            })
            .collect()
    }
}

/// Waits for its end, for `timeout` at most. Then whatever it started and left behind is killed: that
/// would keep the pipes open. `None` when it had to be killed itself.
fn wait(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    // Short at first, because a program that is already warm answers within milliseconds.
    const PAUSE_FIRST: Duration = Duration::from_micros(500);
    const PAUSE_LONGEST: Duration = Duration::from_millis(20);
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let id = id.ok_or_else(|| Error::internal("a classifier without a process id"))?;
    let until = Instant::now() + timeout;
    let mut pause = PAUSE_FIRST;
    let has_ended = loop {
        // Only looked at: while it is not waited for, no other process can get its number.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(id), look) {
            Ok(Some(_)) => break true,
            Err(error) if error != rustix::io::Errno::INTR => break false,
            Ok(None) | Err(_) if Instant::now() >= until => break false,
            Ok(None) | Err(_) => {}
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_LONGEST);
    };
    // There may be nobody left in the group.
    let _ = kill_process_group(id, Signal::KILL);
    let status = child.wait().map_err(|error| Error::internal(error).context("wait for the classifier"))?;
    Ok(has_ended.then_some(status))
}

/// Reads to the end and keeps the first part.
fn read(pipe: Option<impl std::io::Read>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        // What could be read is judged; a broken pipe is an end.
        let _ = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut kept);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    }
    kept
}

/// The label a program gave, or what went wrong with it.
fn label(status: Option<ExitStatus>, output: &[u8], complaints: &[u8], timeout: Duration) -> Result<String> {
    let with_last_line = |error: Error| match last_line(complaints) {
        Some(line) => {
            error.with_metadata("stderr", line.chars().take(LAST_LINE_CHARACTERS_MAX).collect::<String>())
        }
        None => error,
    };
    let Some(status) = status else {
        let limit = platform::options::show_duration(timeout);
        let error = failed(format!("the classifier took longer than {limit}"));
        return Err(with_last_line(error.with_metadata("timeout_ms", timeout.as_millis())));
    };
    if !status.success() {
        let error =
            match (status.code(), status.signal()) {
                (Some(code), _) => failed(format!("the classifier ended with exit code {code}"))
                    .with_metadata("exit_code", code),
                (None, Some(signal)) => failed(format!("the classifier was ended by signal {signal}"))
                    .with_metadata("signal", signal),
                (None, None) => failed("the classifier failed".to_owned()),
            };
        return Err(with_last_line(error));
    }
    // `Paul` and `test_0.JPEG,bathtub` are both in use.
    let label =
        last_line(output).and_then(|line| line.rsplit(',').next().map(|field| field.trim().to_owned()));
    match label {
        Some(label) if !label.is_empty() => Ok(label),
        _ => Err(with_last_line(
            failed("the classifier printed no label".to_owned()).with_metadata("exit_code", 0),
        )),
    }
}

/// The last line with something in it.
fn last_line(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn failed(sentence: String) -> Error {
    Error::new(Kind::InferenceFailed, sentence)
}
