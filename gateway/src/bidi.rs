//! `BidiClassify`: endless images in, results out, bounded in flight by credit.

use std::{collections::VecDeque, sync::Arc};

use futures::Stream;
use platform::{Result, auth::Caller};
use proto::v1::{
    BidiClassifyRequest, BidiClassifyResponse, ImageProgress, ImageState,
    bidi_classify_request::Request as Asked, bidi_classify_response::Event as Answer,
};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::{
    admission::Patience,
    core::Core,
    group::{Group, Terms},
    intake::{self, Checked},
    pending::Event,
    progress::Progress,
};

/// Images one stream may have on their way; past it we stop reading and HTTP/2 holds the caller.
const IN_FLIGHT_MAX: u32 = 64;
/// Credit is told again when this much has come free.
const CREDIT_STEP: u32 = IN_FLIGHT_MAX / 4;

/// A stream that a caller has opened.
pub struct Opened {
    pub requests: Streaming<BidiClassifyRequest>,
    pub deadline: Option<Instant>,
    pub caller: Caller,
}

struct State {
    core: Arc<Core>,
    /// Each image is taken from its key's rate.
    caller: Caller,
    requests: Streaming<BidiClassifyRequest>,
    group: Group,
    /// Of images that wait for longer than a moment.
    progress: Progress,
    ready: VecDeque<Answer>,
    options: Option<Checked>,
    next_index: u32,
    sequence: u64,
    /// What the caller was last told it may still send.
    credit: u32,
    credit_told: bool,
    ended: bool,
    failed: bool,
}

/// Without a deadline the stream is endless; an image's own limit is the server's.
pub fn open(
    core: Arc<Core>,
    Opened { requests, deadline, caller }: Opened,
) -> impl Stream<Item = Result<BidiClassifyResponse, Status>> + Send + use<> {
    let answer_by = deadline.unwrap_or_else(|| Instant::now() + FOR_EVER);
    let patience = Patience::Caller;
    let terms = Terms { images_max: IN_FLIGHT_MAX as usize, tell_start: true, answer_by, patience };
    let state = State {
        group: Group::new(Arc::clone(&core), terms),
        core,
        caller,
        requests,
        progress: Progress::default(),
        ready: VecDeque::new(),
        options: None,
        next_index: 0,
        sequence: 0,
        credit: 0,
        credit_told: false,
        ended: false,
        failed: false,
    };
    futures::stream::unfold(state, |mut state| async move {
        if state.failed {
            return None;
        }
        let event = match state.next().await {
            Ok(event) => event?,
            Err(status) => {
                state.failed = true;
                return Some((Err(status), state));
            }
        };
        state.sequence += 1;
        let response = BidiClassifyResponse { sequence: state.sequence, event: Some(event) };
        Some((Ok(response), state))
    })
}

/// A stream without a deadline: as long as a connection may live, and tokio can count.
const FOR_EVER: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

impl State {
    async fn next(&mut self) -> Result<Option<Answer>, Status> {
        loop {
            if let Some(credit) = self.new_credit() {
                return Ok(Some(Answer::Credit(credit)));
            }
            if let Some(answer) = self.ready.pop_front() {
                return Ok(Some(answer));
            }
            let open = self.group.open();
            let next_look = self.progress.next_look();
            let reads = !self.ended && open < IN_FLIGHT_MAX as usize;
            if self.ended && open == 0 {
                return Ok(None);
            }
            tokio::select! {
                event = self.group.next(), if open > 0 => {
                    let Some(event) = event else { continue };
                    return Ok(Some(self.happened(event)));
                }
                () = look_at(next_look) => self.look(),
                message = self.requests.message(), if reads => match message? {
                    Some(message) => self.take(message).await?,
                    None => self.ended = true,
                },
                // An endless stream would hold up the stop: what was sent so far is answered.
                () = self.core.stop.cancelled(), if !self.ended => self.ended = true,
            }
        }
    }

    /// What to tell the caller, when enough has come free.
    fn new_credit(&mut self) -> Option<u32> {
        let free = IN_FLIGHT_MAX.saturating_sub(u32::try_from(self.group.open()).unwrap_or(u32::MAX));
        if self.ended || (self.credit_told && free < self.credit + CREDIT_STEP) {
            return None;
        }
        (self.credit, self.credit_told) = (free, true);
        Some(free)
    }

    async fn take(&mut self, message: BidiClassifyRequest) -> Result<(), Status> {
        match message.request {
            Some(Asked::Options(options)) => {
                if self.options.is_some() {
                    let error = platform::Error::invalid("options", "only the first message may set options");
                    return Err(error.into());
                }
                self.options = Some(intake::check_options(Some(options), &self.core.models)?);
            }
            Some(Asked::Image(image)) => {
                if self.options.is_none() {
                    self.options = Some(intake::check_options(None, &self.core.models)?);
                }
                if let Some(options) = &self.options {
                    let index = self.next_index;
                    self.next_index = self.next_index.wrapping_add(1);
                    self.credit = self.credit.saturating_sub(1);
                    match self.caller.charge(1) {
                        Ok(()) => {
                            let place = self.core.pending.backlog().next_place(options.priority);
                            self.core.submit_next(&mut self.group, index, image, options).await;
                            if self.group.name(index).is_some() {
                                self.progress.watch(index, place);
                            }
                        }
                        Err(error) => {
                            let unnamed = image.custom_id.is_empty();
                            let custom_id = if unnamed { index.to_string() } else { image.custom_id };
                            self.group.fail(index, custom_id, &error);
                        }
                    }
                }
            }
            Some(Asked::CancelCustomId(custom_id)) => self.group.cancel(&custom_id),
            None => return Err(platform::Error::invalid("request", "must be set").into()),
        }
        Ok(())
    }

    fn happened(&mut self, event: Event) -> Answer {
        match event {
            Event::Finished(result) => {
                self.progress.remove(result.index);
                Answer::Result(*result)
            }
            Event::Started { index, worker_id } => {
                self.progress.remove(index);
                Answer::Progress(ImageProgress {
                    index,
                    custom_id: self.name(index),
                    state: ImageState::Running.into(),
                    worker_id,
                    ..ImageProgress::default()
                })
            }
        }
    }

    /// Tells how images stand, as far as that is new.
    fn look(&mut self) {
        let core = &self.core;
        for (index, standing) in self.progress.look(|place| core.standing(place)) {
            let progress = ImageProgress { custom_id: self.name(index), ..standing.progress(index) };
            self.ready.push_back(Answer::Progress(progress));
        }
    }

    fn name(&self, index: u32) -> String {
        self.group.name(index).unwrap_or_default().to_owned()
    }
}

async fn look_at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
