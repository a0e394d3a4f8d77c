//! KEDA's external scaler: how many workers a Deployment should have, from the decision that the status shows.

use std::sync::Arc;

use platform::{Error, Kind, Result};
use proto::{
    externalscaler::{
        GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
        MetricValue, ScaledObjectRef, external_scaler_server::ExternalScaler,
    },
    v1::{BoundKind, InstanceState},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::stream::{Answers, Step, answers};
use crate::shared::{Shared, View};

/// The one metric there is.
const METRIC: &str = "desired_workers";

/// In the trigger's `metadata`: what share of the pods the HPA takes for no change.
const TOLERANCE: &str = "tolerance";

pub struct KedaApi(pub Arc<Shared>);

#[tonic::async_trait]
impl ExternalScaler for KedaApi {
    type StreamIsActiveStream = Answers<IsActiveResponse>;

    async fn is_active(&self, _: Request<ScaledObjectRef>) -> Result<Response<IsActiveResponse>, Status> {
        Ok(Response::new(IsActiveResponse { result: Wanted::now(&self.0)?.active }))
    }

    async fn stream_is_active(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let view = self.0.view.subscribe();
        Ok(Response::new(answers(ActiveWatch { shared: Arc::clone(&self.0), view, told: None })))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        // A setting that cannot be read is told when the ScaledObject is made, and not at its first poll.
        tolerance(request.get_ref())?;
        let spec = MetricSpec { metric_name: METRIC.to_owned(), target_size: 1, target_size_float: 1.0 };
        Ok(Response::new(GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let GetMetricsRequest { scaled_object_ref, metric_name } = request.into_inner();
        if metric_name != METRIC {
            let sentence = format!("{metric_name:?} is unknown; known: {METRIC:?}");
            return Err(Error::invalid("metricName", sentence).into());
        }
        let tolerance = tolerance(&scaled_object_ref.unwrap_or_default())?;
        let workers = Wanted::now(&self.0)?.for_hpa(tolerance);
        // Both: KEDA reads the float only where it is over 0.
        let value = MetricValue {
            metric_name,
            metric_value: i64::from(workers),
            metric_value_float: f64::from(workers),
        };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }
}

fn tolerance(asks: &ScaledObjectRef) -> Result<f64> {
    let Some(text) = asks.scaler_metadata.get(TOLERANCE) else { return Ok(0.0) };
    let number = text.parse().ok().filter(|number| (0.0..1.0).contains(number));
    number.ok_or_else(|| {
        let sentence = format!("{text:?} is not a share from 0 to under 1, such as \"0.1\"");
        Error::invalid("scalerMetadata.tolerance", sentence)
    })
}

/// What KEDA is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    workers: u32,
    /// Whether there should be any at all.
    active: bool,
    /// Workers that have registered.
    present: u32,
    most: u32,
}

impl Wanted {
    /// An error where we do not know: KEDA then leaves the Deployment as it is. An answer of 0 would take it to zero.
    fn now(shared: &Shared) -> Result<Self> {
        let last = shared.log.last();
        let view = shared.view.borrow();
        let status = &view.status;
        let leads = status.leader;
        let decided = last.as_ref().and_then(|decision| decision.observation.as_ref());
        let seen = if leads { status.observation.as_ref() } else { decided };
        let queue = seen.and_then(|observation| observation.queue).unwrap_or_default();
        let is_known = if leads { status.want > 0 || queue.as_of.is_some() } else { last.is_some() };
        if !is_known {
            let sentence = if leads {
                "no gateway has said yet what waits"
            } else {
                "another autoscaler leads, and has decided nothing yet"
            };
            return Err(Error::new(Kind::ServiceUnavailable, sentence));
        }
        // An image that arrived after the decision is reason enough for a first worker, unless a person wants none.
        let works = queue.visible.saturating_add(queue.in_flight).saturating_add(queue.delayed) > 0;
        let is_shut = last.iter().flat_map(|decision| &decision.bounds).any(|bound| {
            bound.to == 0 && matches!(bound.kind(), BoundKind::Max | BoundKind::Paused | BoundKind::Override)
        });
        let registered = view.instances.iter().filter(|one| one.state() != InstanceState::Stopped).count();
        Ok(Self {
            workers: status.want,
            active: status.want > 0 || (works && !is_shut),
            present: u32::try_from(registered).unwrap_or(u32::MAX),
            most: status.policy.as_ref().map_or(u32::MAX, |policy| policy.max_instances),
        })
    }

    /// The HPA takes up to `tolerance` more pods than there are for no change, and leaves 20 at 20 when 22 are wanted. So ask
    /// for the first number that it does act on. Fewer that it does not act on are paid for, and harm nobody.
    fn for_hpa(self, tolerance: f64) -> u32 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let ignored = (f64::from(self.present) * (1.0 + tolerance) + 1e-9).floor() as u32;
        if self.workers > self.present && self.workers <= ignored {
            return ignored.saturating_add(1).min(self.most).max(self.workers);
        }
        self.workers
    }
}

/// Says at once whether we are active, and then whenever that changes.
struct ActiveWatch {
    shared: Arc<Shared>,
    view: watch::Receiver<View>,
    told: Option<bool>,
}

impl Step for ActiveWatch {
    type Answer = IsActiveResponse;

    async fn step(&mut self) -> Result<Option<IsActiveResponse>> {
        loop {
            self.view.borrow_and_update();
            // What we do not know is not said: KEDA would act on it.
            let now = Wanted::now(&self.shared).ok().map(|wanted| wanted.active);
            if let Some(result) = now.filter(|_| now != self.told) {
                self.told = now;
                return Ok(Some(IsActiveResponse { result }));
            }
            tokio::select! {
                changed = self.view.changed() => if changed.is_err() {
                    return Ok(None);
                },
                () = self.shared.stop.cancelled() => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_that_the_hpa_would_ignore_is_rounded_up_to_one_that_it_does_not() {
        let check = |present: u32, workers: u32, tolerance: f64, told: u32| {
            let wanted = Wanted { workers, active: true, present, most: 100 };
            assert_eq!(wanted.for_hpa(tolerance), told, "{present} -> {workers} at {tolerance}");
        };
        check(20, 22, 0.0, 22);
        check(20, 22, 0.1, 23);
        check(20, 21, 0.1, 23);
        check(20, 23, 0.1, 23);
        check(20, 20, 0.1, 20);
        check(20, 19, 0.1, 19);
        check(3, 4, 0.1, 4);
        check(0, 1, 0.1, 1);
        check(95, 99, 0.1, 100);
    }

    /// What KEDA's own build of its contract writes and reads; a number that slipped would be silence.
    #[test]
    fn bytes_on_the_wire_are_kedas() {
        use prost::Message as _;
        let one = [0x3f, 0xf0, 0, 0, 0, 0, 0, 0].into_iter().rev();
        let value = MetricValue { metric_name: "a".to_owned(), metric_value: 2, metric_value_float: 1.0 };
        let bytes: Vec<u8> = [0x0a, 1, b'a', 0x10, 2, 0x19].into_iter().chain(one).collect();
        assert_eq!(value.encode_to_vec(), bytes);
        let spec = MetricSpec { metric_name: "a".to_owned(), target_size: 2, target_size_float: 1.0 };
        assert_eq!(spec.encode_to_vec(), bytes);
        let asks = ScaledObjectRef {
            name: "n".to_owned(),
            namespace: "s".to_owned(),
            scaler_metadata: [("k".to_owned(), "v".to_owned())].into(),
        };
        let bytes = [0x0a, 1, b'n', 0x12, 1, b's', 0x1a, 6, 0x0a, 1, b'k', 0x12, 1, b'v'];
        assert_eq!(asks.encode_to_vec(), bytes);
        let request = GetMetricsRequest { scaled_object_ref: Some(asks), metric_name: "a".to_owned() };
        assert_eq!(request.encode_to_vec(), [&[0x0a, 14], &bytes[..], &[0x12, 1, b'a']].concat());
        assert_eq!(IsActiveResponse { result: true }.encode_to_vec(), [0x08, 1]);
    }

    #[test]
    fn tolerance_is_read_from_the_trigger() {
        let asks = |text: &str| ScaledObjectRef {
            scaler_metadata: [(TOLERANCE.to_owned(), text.to_owned())].into(),
            ..ScaledObjectRef::default()
        };
        assert_eq!(tolerance(&ScaledObjectRef::default()).unwrap(), 0.0);
        assert_eq!(tolerance(&asks("0.1")).unwrap(), 0.1);
        for bad in ["", "10 %", "-0.1", "1", "NaN"] {
            assert!(tolerance(&asks(bad)).unwrap_err().to_string().contains("tolerance"), "{bad}");
        }
    }
}
