//! The methods that may be repeated: each as it is without an id, and with one.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use platform::{Error, Result};
use proto::v1::{ImageResult, classify_stream_response::Event as Answer};

use super::{Call, Carried, Work};
use crate::{
    core::{Core, One, Request, succeeded},
    stream::{self, Events},
};

/// The answer of one image, or its error.
pub async fn classify(core: &Arc<Core>, call: Option<Call>, one: One) -> Result<ImageResult> {
    let Some(call) = call else { return succeeded(core.answer_one(one, Carried::default()).await?) };
    let until = core.answer_by(one.deadline);
    let work = || -> Work {
        let (core, one) = (Arc::clone(core), one.clone());
        let answer = async move |carried| {
            let result = core.answer_one(one, carried).await?;
            Ok(futures::stream::iter([Answer::Result(result)]).boxed())
        };
        Box::new(move |carried| async move { answer(carried).await }.boxed())
    };
    loop {
        let mut events = Events::Shared(core.repeats.follow(call, until, work())?);
        let answered = results(&mut events).await;
        if events.has_time_left() {
            continue;
        }
        let result = answered?.pop();
        return succeeded(result.ok_or_else(|| Error::internal("a call of one image without an answer"))?);
    }
}

/// The answers of many images, in their order.
pub async fn batch(core: &Arc<Core>, call: Option<Call>, request: Request) -> Result<Vec<ImageResult>> {
    let until = core.answer_by(request.deadline);
    let mut results = match call {
        None => {
            let mut events = Events::Own(Box::new(stream::open(core, String::new(), request).await?));
            results(&mut events).await?
        }
        Some(call) => loop {
            let work = work_of_many(core, String::new(), request.clone());
            let mut events = Events::Shared(core.repeats.follow(call, until, work)?);
            let answered = results(&mut events).await;
            if events.has_time_left() {
                continue;
            }
            break answered?;
        },
    };
    results.sort_by_key(|result| result.index);
    Ok(results)
}

/// Many images, and their answers as they come. One who joins gets what was answered so far, and the rest.
pub async fn many(
    core: &Arc<Core>,
    call: Option<Call>,
    request_id: String,
    request: Request,
) -> Result<Events> {
    let Some(call) = call else {
        return Ok(Events::Own(Box::new(stream::open(core, request_id, request).await?)));
    };
    let until = core.answer_by(request.deadline);
    let mut follower = core.repeats.follow(call, until, work_of_many(core, request_id, request))?;
    // A call that fails as a whole does so before its stream begins.
    follower.begun().await?;
    Ok(Events::Shared(follower))
}

fn work_of_many(core: &Arc<Core>, request_id: String, request: Request) -> Work {
    let core = Arc::clone(core);
    Box::new(move |carried| {
        async move {
            let state = stream::open(&core, request_id, Request { carried, ..request }).await?;
            let next = |mut state: Box<stream::State>| async move { Some((state.next().await?, state)) };
            Ok(futures::stream::unfold(Box::new(state), next).boxed())
        }
        .boxed()
    })
}

async fn results(events: &mut Events) -> Result<Vec<ImageResult>> {
    let mut results = Vec::new();
    while let Some(answer) = events.next().await? {
        if let Answer::Result(result) = answer {
            results.push(result);
        }
    }
    Ok(results)
}
