//! Counts what is called in the cloud, by the SDK's own metrics: every attempt is one call, because every
//! attempt is paid for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Once, PoisonError},
};

use aws_smithy_observability::{
    AttributeValue, Attributes, Context, TelemetryProvider,
    global::set_telemetry_provider,
    instruments::{
        AsyncInstrumentBuilder, AsyncMeasure, Histogram, InstrumentBuilder, MonotonicCounter,
        ProvideInstrument, UpDownCounter,
    },
    meter::{Meter, ProvideMeter},
};
use proto::v1::CloudCalls;

/// The histogram that records each attempt at a call.
const ATTEMPTS: &str = "smithy.client.call.attempt.duration";

/// By service and operation. One for the process, as the SDK's provider is.
static CALLS: Mutex<BTreeMap<(String, String), u64>> = Mutex::new(BTreeMap::new());

/// Calls of this process since it started, by service and operation, retries included.
pub fn calls() -> Vec<CloudCalls> {
    let calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    calls
        .iter()
        .map(|((service, operation), count)| CloudCalls {
            service: service.clone(),
            operation: operation.clone(),
            count: *count,
        })
        .collect()
}

/// Counts from now on. Clients made before are not counted.
pub(super) fn count() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let provider = TelemetryProvider::builder().meter_provider(Arc::new(Counting)).build();
        if let Err(error) = set_telemetry_provider(provider) {
            tracing::warn!(%error, "calls to AWS are not counted");
        }
    });
}

/// Provider, meter and all instruments in one: only the histogram of attempts does anything.
#[derive(Debug, Clone, Copy)]
struct Counting;

#[derive(Debug)]
struct Attempts;

#[derive(Debug)]
struct Ignored<T>(std::marker::PhantomData<T>);

impl ProvideMeter for Counting {
    fn get_meter(&self, _scope: &'static str, _attributes: Option<&Attributes>) -> Meter {
        Meter::new(Arc::new(*self))
    }

    fn provider_name(&self) -> &'static str {
        "dunlin"
    }
}

impl Histogram for Attempts {
    fn record(&self, _value: f64, attributes: Option<&Attributes>, _context: Option<&dyn Context>) {
        let text = |name| match attributes.and_then(|attributes| attributes.get(name)) {
            Some(AttributeValue::String(text)) => text.clone(),
            _ => String::new(),
        };
        let operation = (text("rpc.service"), text("rpc.method"));
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(operation).or_default() += 1;
    }
}

impl Histogram for Counting {
    fn record(&self, _value: f64, _attributes: Option<&Attributes>, _context: Option<&dyn Context>) {}
}

impl MonotonicCounter for Counting {
    fn add(&self, _value: u64, _attributes: Option<&Attributes>, _context: Option<&dyn Context>) {}
}

impl UpDownCounter for Counting {
    fn add(&self, _value: i64, _attributes: Option<&Attributes>, _context: Option<&dyn Context>) {}
}

impl<T: Send + Sync + std::fmt::Debug> AsyncMeasure for Ignored<T> {
    type Value = T;

    fn record(&self, _value: T, _attributes: Option<&Attributes>, _context: Option<&dyn Context>) {}

    fn stop(&self) {}
}

fn ignored<T: Send + Sync + std::fmt::Debug + 'static>() -> Arc<dyn AsyncMeasure<Value = T>> {
    Arc::new(Ignored(std::marker::PhantomData))
}

impl ProvideInstrument for Counting {
    fn create_gauge(
        &self,
        _builder: AsyncInstrumentBuilder<'_, Arc<dyn AsyncMeasure<Value = f64>>, f64>,
    ) -> Arc<dyn AsyncMeasure<Value = f64>> {
        ignored()
    }

    fn create_up_down_counter(
        &self,
        _builder: InstrumentBuilder<'_, Arc<dyn UpDownCounter>>,
    ) -> Arc<dyn UpDownCounter> {
        Arc::new(*self)
    }

    fn create_async_up_down_counter(
        &self,
        _builder: AsyncInstrumentBuilder<'_, Arc<dyn AsyncMeasure<Value = i64>>, i64>,
    ) -> Arc<dyn AsyncMeasure<Value = i64>> {
        ignored()
    }

    fn create_monotonic_counter(
        &self,
        _builder: InstrumentBuilder<'_, Arc<dyn MonotonicCounter>>,
    ) -> Arc<dyn MonotonicCounter> {
        Arc::new(*self)
    }

    fn create_async_monotonic_counter(
        &self,
        _builder: AsyncInstrumentBuilder<'_, Arc<dyn AsyncMeasure<Value = u64>>, u64>,
    ) -> Arc<dyn AsyncMeasure<Value = u64>> {
        ignored()
    }

    fn create_histogram(&self, builder: InstrumentBuilder<'_, Arc<dyn Histogram>>) -> Arc<dyn Histogram> {
        if builder.get_name() == ATTEMPTS { Arc::new(Attempts) } else { Arc::new(*self) }
    }
}
