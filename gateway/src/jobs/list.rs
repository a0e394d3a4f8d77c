//! Lists: of jobs, with a filter, and of the results of one.

use futures::StreamExt as _;
use platform::{Error, Kind, Result, auth::Caller};
use proto::v1::{
    ImageResult, Job, JobState, ListJobResultsRequest, ListJobResultsResponse, ListJobsRequest,
    ListJobsResponse, watch_job_response::Event,
};

use super::{
    Jobs,
    create::is_label_name,
    keys::{self, JobId, RECORDS},
    log::FIRST,
    records,
    service::may_see,
};

impl Jobs {
    pub(super) async fn list(&self, request: ListJobsRequest, caller: &Caller) -> Result<ListJobsResponse> {
        /// Records looked at in one call, however few of them are wanted.
        const LOOKED_AT_MAX: usize = 1000;
        /// Records read at once.
        const READS: usize = 16;
        let filter = Filter::parse(&request.filter)?;
        let size = keys::page_size(request.page_size, 50)?;
        let mut after = keys::place(&request.page_token)?;
        if !after.is_empty() && JobId::of_record(&after).is_none() {
            return Err(Error::invalid("page_token", "was not given by this method"));
        }
        let found = self.store.list(RECORDS, &after, LOOKED_AT_MAX).await?;
        let (count, is_all) = (found.len(), found.len() < LOOKED_AT_MAX);
        let reads = found.into_iter().map(|key| self.read_listed(key, caller));
        let mut reads = futures::stream::iter(reads).buffered(READS);
        let (mut jobs, mut left) = (Vec::new(), count);
        while let Some((key, job)) = reads.next().await {
            jobs.extend(job?.filter(|job| filter.matches(job)));
            left -= 1;
            after = key;
            if jobs.len() == size {
                break;
            }
        }
        let more = left > 0 || !is_all;
        Ok(ListJobsResponse { jobs, next_page_token: if more { keys::token(&after) } else { String::new() } })
    }

    /// `None` for one that has expired in between, or is another's.
    async fn read_listed(&self, key: String, caller: &Caller) -> (String, Result<Option<Job>>) {
        let Some(id) = JobId::of_record(&key) else { return (key, Ok(None)) };
        let job = match self.records.get(&id).await {
            Ok(record) => Ok(may_see(caller, &record).then(|| self.fresh(&id, &record))),
            Err(error) if error.kind() == Kind::JobNotFound => Ok(None),
            // One that can't be read must not hide the others.
            Err(error) if error.kind() == Kind::Internal => {
                tracing::error!(%error, job.id = %id, "list jobs");
                Ok(None)
            }
            Err(error) => Err(error),
        };
        (key, job)
    }

    pub(super) async fn results(
        &self,
        request: ListJobResultsRequest,
        caller: &Caller,
    ) -> Result<ListJobResultsResponse> {
        /// Of the results of one answer: well under what a message may have.
        const BYTES_MAX: usize = 8 * 1024 * 1024;
        let id = JobId::parse(&request.parent, "parent")?;
        let size = keys::page_size(request.page_size, 100)?;
        let place = keys::place(&request.page_token)?;
        let mut next = match place.as_str() {
            "" => FIRST,
            place => {
                place.parse().map_err(|_| Error::invalid("page_token", "was not given by this method"))?
            }
        };
        // Before the log, so that what ended after it was read is asked for once more.
        let record = self.of(caller, &id).await?;
        let log = self.log(&id);
        let (mut results, mut bytes): (Vec<ImageResult>, _) = (Vec::new(), 0);
        let mut segment = log.segment_with(next).await?;
        'page: while let Some(events) = segment {
            let first = next;
            for event in events.into_iter().filter(|event| event.sequence >= first) {
                if results.len() == size || bytes > BYTES_MAX {
                    break 'page;
                }
                next = event.sequence + 1;
                if let Some(Event::Result(result)) = event.event {
                    bytes += prost::Message::encoded_len(&result);
                    results.push(result);
                }
            }
            segment = log.segment(next).await?;
        }
        let is_all = records::has_ended(&record) && next > record.last_sequence;
        let next_page_token = if is_all { String::new() } else { keys::token(&next.to_string()) };
        Ok(ListJobResultsResponse { results, next_page_token })
    }

    /// The job with the counts of this moment, where it runs here.
    pub(super) fn fresh(&self, id: &JobId, record: &proto::internal::v1::JobRecord) -> Job {
        let mut job = records::job(record);
        if let Some(live) = self.live(id).filter(|_| !records::has_ended(record)) {
            let counts = live.told.borrow().counts;
            if counts.total > 0 {
                job.counts = Some(counts);
            }
        }
        job
    }
}

/// `state=RUNNING AND labels.team=x`.
#[derive(Debug, Default, PartialEq)]
struct Filter {
    state: Option<JobState>,
    labels: Vec<(String, String)>,
}

impl Filter {
    fn parse(text: &str) -> Result<Self> {
        /// A caller's text: long enough for 16 labels.
        const BYTES_MAX: usize = 8192;
        let invalid = |why: String| {
            let known = "known are conditions joined by AND: state=STATE, labels.NAME=VALUE";
            Error::invalid("filter", format!("{why}; {known}"))
        };
        if text.len() > BYTES_MAX {
            return Err(invalid(format!("longer than {BYTES_MAX} bytes")));
        }
        let mut filter = Self::default();
        let mut words = words(text).map_err(|why| invalid(why.to_owned()))?.into_iter();
        while let Some(condition) = words.next() {
            let (name, value) =
                condition.split_once('=').ok_or_else(|| invalid(format!("{condition:?} has no '='")))?;
            match name.strip_prefix("labels.") {
                Some(label) if is_label_name(label) => {
                    filter.labels.push((label.to_owned(), value.to_owned()));
                }
                Some(label) => return Err(invalid(format!("{label:?} is no name for a label"))),
                None if name == "state" && filter.state.is_none() => {
                    let state = JobState::from_str_name(&format!("JOB_STATE_{value}"))
                        .or_else(|| JobState::from_str_name(value))
                        .filter(|state| *state != JobState::Unspecified);
                    filter.state = Some(state.ok_or_else(|| invalid(format!("{value:?} is no state")))?);
                }
                None => return Err(invalid(format!("{name:?} can't be filtered by"))),
            }
            match words.next().as_deref() {
                None => break,
                Some("AND") if words.len() > 0 => {}
                Some("AND") => return Err(invalid("nothing comes after the last AND".to_owned())),
                Some(other) => return Err(invalid(format!("{other:?} is not AND"))),
            }
        }
        Ok(filter)
    }

    fn matches(&self, job: &Job) -> bool {
        self.state.is_none_or(|state| job.state() == state)
            && self.labels.iter().all(|(name, value)| job.labels.get(name) == Some(value))
    }
}

/// Split at spaces, but not inside double quotes; a backslash takes the next character as it is. Spaces round `=` are
/// no part of a word.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut in_word, mut quoted) = (Vec::new(), String::new(), false, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => (quoted, in_word) = (!quoted, true),
            '\\' if quoted => word.push(characters.next().ok_or("it ends with a backslash")?),
            ' ' if !quoted => {
                if std::mem::take(&mut in_word) {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => {
                word.push(other);
                in_word = true;
            }
        }
    }
    if quoted {
        return Err("a quote is not closed");
    }
    if in_word {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_takes_conditions_joined_by_and_and_nothing_else() {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let check = |text: &str, state: Option<JobState>, labels: Vec<(String, String)>| {
            assert_eq!(Filter::parse(text).unwrap(), Filter { state, labels }, "{text}");
        };
        check("", None, vec![]);
        check("  ", None, vec![]);
        check("state=RUNNING", Some(JobState::Running), vec![]);
        check("state=JOB_STATE_FAILED", Some(JobState::Failed), vec![]);
        check("labels.a=x AND state=QUEUED", Some(JobState::Queued), vec![label("a", "x")]);
        check(r#"labels.a="x y" AND labels.b="\"""#, None, vec![label("a", "x y"), label("b", "\"")]);
        check("labels.a=x=y", None, vec![label("a", "x=y")]);
        for wrong in [
            "state",
            "state=",
            "state=UNSPECIFIED",
            "state=running",
            "size=1",
            "labels.=x",
            "labels.A=x",
            "state=FAILED OR state=QUEUED",
            "state=FAILED AND",
            "AND",
            "state=FAILED state=QUEUED",
            "state=FAILED AND state=QUEUED",
            "labels.a=\"x",
            "labels.a=\"x\\",
        ] {
            let error = Filter::parse(wrong).unwrap_err();
            assert_eq!(error.violations().first().map(|one| one.field.as_str()), Some("filter"), "{wrong}");
        }
    }
}
