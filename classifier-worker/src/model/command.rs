//! A program run once an image, as the course's classifiers are. It gets the path of a file that
//! we named, and prints the label.

use std::{
    io::Write as _,
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

/// What is kept of a program's output: its end, because there the label is.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

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
            // It is ours, not the classifier's.
            .env_remove(platform::auth::INTERNAL_SECRET_VARIABLE)
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

/// Reads to the end and keeps the last part.
fn read(pipe: Option<impl std::io::Read>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut chunk = [0; 8192];
    let Some(mut pipe) = pipe else { return kept };
    // A broken pipe is an end: what could be read is judged.
    while let Ok(count @ 1..) = pipe.read(&mut chunk) {
        kept.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if kept.len() > 2 * OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
        }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// The smallest BMP there is.
    fn picture() -> Bytes {
        let mut bmp = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0".to_vec();
        bmp.resize(58, 0);
        bmp.into()
    }

    fn run(script: &str, custom_id: &str, timeout: Duration) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("classify.sh");
        std::fs::write(&file, script).unwrap();
        let words = ["sh".to_owned(), file.display().to_string(), "--model=x".to_owned()];
        let mut model = CommandModel::new(&words, timeout).unwrap();
        let image = Image { content: picture(), custom_id: custom_id.to_owned(), top_k: 5, min_score: 0.0 };
        model.prepare(0, &image)?;
        let mut answers = model.classify(0..1)?;
        let left = std::fs::read_dir(model.folder.path()).unwrap().count();
        assert_eq!(left, 0, "the image is gone after its turn");
        Ok(answers.pop().unwrap().pop().unwrap().label)
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn label_is_the_last_field_of_the_last_line() {
        let check =
            |script: &str, want: &str| assert_eq!(run(script, "a.jpg", SOON).unwrap(), want, "{script}");
        check("echo Paul", "Paul");
        check("echo test_0.JPEG,bathtub", "bathtub");
        check("echo loading; echo; echo 'x.jpg, great white shark '; echo; echo ' '", "great white shark");
        check("printf Paul", "Paul");
        check("echo noise >&2; echo Paul", "Paul");
        check("head -c 300000 /dev/zero | tr '\\0' '\\n'; echo Paul", "Paul");
    }

    #[test]
    fn what_goes_wrong_is_a_typed_error_with_its_cause() {
        let check = |script: &str, wanted: &[(&str, &str)]| {
            let error = run(script, "a.jpg", SOON).unwrap_err();
            assert_eq!(error.kind(), Kind::InferenceFailed, "{script}");
            for (key, value) in wanted {
                assert_eq!(error.metadata().get(*key).map(String::as_str), Some(*value), "{script}: {key}");
            }
        };
        check(
            "echo Paul; echo first >&2; echo 'no such model' >&2; exit 3",
            &[("exit_code", "3"), ("stderr", "no such model")],
        );
        check("kill -9 $$", &[("signal", "9")]);
        check("true", &[("exit_code", "0")]);
        check("echo 'name.jpg,'", &[("exit_code", "0")]);
    }

    #[test]
    fn program_that_takes_too_long_is_ended_with_its_children() {
        let begun = Instant::now();
        let error =
            run("echo begun >&2; sleep 600 & sleep 600", "a.jpg", Duration::from_millis(300)).unwrap_err();
        assert!(begun.elapsed() < SOON, "its child kept us waiting");
        assert_eq!(error.kind(), Kind::InferenceFailed);
        assert_eq!(error.metadata()["timeout_ms"], "300");
        assert_eq!(error.metadata()["stderr"], "begun");
    }

    #[test]
    fn child_that_is_left_behind_does_not_hold_the_answer_up() {
        let begun = Instant::now();
        assert_eq!(run("sleep 600 & echo Paul", "a.jpg", SOON).unwrap(), "Paul");
        assert!(begun.elapsed() < SOON);
    }

    #[test]
    fn name_of_the_caller_is_never_seen_by_the_program() {
        let script = "echo \"$#,$1,$(basename \"$2\")\" | tr ',' '|'";
        for hostile in ["../../x; rm -rf /", "$(reboot).jpg", "--help", "a\nb"] {
            let seen = run(script, hostile, SOON).unwrap();
            let name =
                seen.strip_prefix("2|--model=x|image-").unwrap_or_else(|| panic!("{hostile:?}: {seen}"));
            let random = name.strip_suffix(".bmp").unwrap_or_else(|| panic!("{hostile:?}: {seen}"));
            assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{seen}");
        }
    }

    #[test]
    fn program_gets_the_bytes_as_they_came_and_no_bombs() {
        assert_eq!(run("wc -c < \"$2\"", "a.jpg", SOON).unwrap(), "58");
        let mut model = CommandModel::new(&["true".to_owned()], SOON).unwrap();
        let image = Image {
            content: Bytes::from_static(b"text"),
            custom_id: String::new(),
            top_k: 1,
            min_score: 0.0,
        };
        assert_eq!(model.prepare(0, &image).unwrap_err().kind(), Kind::ImageUnsupportedFormat);
    }

    #[test]
    fn missing_program_is_named() {
        let mut model = CommandModel::new(&["no-such-program-here".to_owned()], SOON).unwrap();
        let image = Image { content: picture(), custom_id: String::new(), top_k: 1, min_score: 0.0 };
        model.prepare(0, &image).unwrap();
        let error = model.classify(0..1).unwrap_err();
        assert_eq!(error.kind(), Kind::InferenceFailed);
        assert!(error.message().contains("no-such-program-here"), "{error}");
    }
}
