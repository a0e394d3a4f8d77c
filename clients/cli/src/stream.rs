//! `ClassifyStream` as every command here uses it: one request, a call for each result, and an
//! error when the server's last word did not come.

use std::time::Duration;

use platform::{Error, Kind, Result};
use proto::v1::{
    ClassifyStreamRequest, ImageResult, classifier_service_client::ClassifierServiceClient,
    classify_stream_response::Event,
};
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use crate::connect::{ANSWER_BYTES_MAX, Connection};

pub(crate) type Classifier = ClassifierServiceClient<Connection>;

pub(crate) fn classifier(channel: Connection) -> Classifier {
    ClassifierServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The server keeps the deadline itself and says why it was missed; this is for one that is gone.
const AFTER_THE_DEADLINE: Duration = Duration::from_secs(2);

/// A request with its deadline, for the server to keep.
pub(crate) fn with_deadline<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// Awaits a call whose request was made by [`with_deadline`].
pub(crate) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T> {
    match timeout(deadline.saturating_add(AFTER_THE_DEADLINE), call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(from_status(status, deadline)),
        Err(_) => Err(no_answer(deadline)),
    }
}

/// Sends one request and hands over each result as it comes. `Ok` only after the server's summary.
///
/// When dropped, the server sees the call cancelled and gives up what has not started.
pub(crate) async fn classify_stream<F: Future<Output = Result<()>>>(
    classifier: &mut Classifier,
    message: ClassifyStreamRequest,
    deadline: Duration,
    mut take: impl FnMut(ImageResult) -> F,
) -> Result<()> {
    let all = async {
        let request = with_deadline(message, deadline);
        let answer = classifier.classify_stream(request).await;
        let mut events = answer.map_err(|status| from_status(status, deadline))?.into_inner();
        let mut ended = false;
        while let Some(event) = events.message().await.map_err(|status| from_status(status, deadline))? {
            match event.event {
                Some(Event::Result(result)) => take(result).await?,
                Some(Event::Summary(_)) => ended = true,
                Some(Event::Accepted(_) | Event::Progress(_) | Event::Heartbeat(_)) | None => {}
            }
        }
        if ended { Ok(()) } else { Err(Error::new(Kind::Internal, "the server ended the stream too early")) }
    };
    timeout(deadline.saturating_add(AFTER_THE_DEADLINE), all)
        .await
        .unwrap_or_else(|_| Err(no_answer(deadline)))
}

fn no_answer(deadline: Duration) -> Error {
    Error::new(
        Kind::DeadlineExceeded,
        format!("no answer within {}", platform::options::show_duration(deadline)),
    )
}

/// tonic's own timer in the client says CANCELLED where it means the deadline.
fn from_status(status: Status, deadline: Duration) -> Error {
    if status.code() == Code::Cancelled && status.message() == "Timeout expired" {
        return no_answer(deadline);
    }
    Error::from(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_of_the_transport_is_a_deadline_and_a_withdrawn_call_is_not() {
        let check = |status: Status, want: Kind| {
            assert_eq!(from_status(status, Duration::from_secs(1)).kind(), want);
        };
        check(Status::cancelled("Timeout expired"), Kind::DeadlineExceeded);
        check(Status::cancelled("withdrawn"), Kind::Cancelled);
    }
}
