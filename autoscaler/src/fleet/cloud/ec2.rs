//! `ec2:` - the calls to Amazon EC2. The only file that names its SDK.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_ec2::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::create_fleet::CreateFleetOutput,
    types::{
        DefaultTargetCapacityType, Filter, FleetLaunchTemplateConfigRequest,
        FleetLaunchTemplateOverridesRequest, FleetLaunchTemplateSpecificationRequest, FleetType, Instance,
        InstanceLifecycleType, InstanceStateName, InstanceType, LaunchTemplateAndOverridesResponse,
        LaunchTemplateSpecification, OnDemandOptionsRequest, ResourceType, SpotAllocationStrategy,
        SpotOptionsRequest, Tag, TagSpecification, TargetCapacitySpecificationRequest,
    },
};
use platform::{
    Error, Kind,
    aws::errors::{Doing, Failure},
};

use super::{
    Cloud, CloudError, CloudErrorKind, CloudInstance, CloudState, FLEET_TAG, LaunchOrder, Launched, Market,
    Offering, Result, Tags,
};

/// Instances in one page of a listing: EC2's most.
const PAGE: i32 = 1000;

/// The least it takes, to see whether we may.
const PAGE_MIN: i32 = 5;

/// A launch of many takes seconds. What has not been answered by then is asked again under its token.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// What new instances are made from.
#[derive(Debug, Clone)]
pub struct Template {
    /// Its name, or its id: `lt-` and hexadecimal digits.
    name: String,
    version: String,
}

impl Template {
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned() }
    }

    fn specification(&self) -> LaunchTemplateSpecification {
        let template = LaunchTemplateSpecification::builder().version(&self.version);
        let template = if self.is_id() {
            template.launch_template_id(&self.name)
        } else {
            template.launch_template_name(&self.name)
        };
        template.build()
    }

    fn is_id(&self) -> bool {
        let digits = self.name.strip_prefix("lt-").unwrap_or_default();
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

pub struct Ec2 {
    client: Client,
    fleet: String,
    template: Template,
}

impl Ec2 {
    /// Connects and makes sure that the fleet could do its work: the error names what is missing and what to do.
    /// `first` is what a launch would ask for: a template without a subnet can be launched in its own network only there.
    pub async fn open(fleet: &str, template: Template, first: &Offering) -> platform::Result<Self> {
        let config = platform::aws::config().await?;
        let ec2 = Self::new(&config, fleet, template);
        ec2.check(first).await?;
        Ok(ec2)
    }

    /// Checks nothing.
    pub fn new(config: &SdkConfig, fleet: &str, template: Template) -> Self {
        // Whoever calls holds back when EC2 says so, and asks again under the same token.
        let config = aws_sdk_ec2::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_LIMIT).build())
            .build();
        Self { client: Client::from_conf(config), fleet: fleet.to_owned(), template }
    }

    async fn check(&self, first: &Offering) -> platform::Result<()> {
        let name = &self.template.name;
        let what = format!("launch template {name}");
        let refused = |action: &str, failure: Failure| {
            failure.starting(Doing { what: &what, action, resource: "the launch template and its instances" })
        };
        let request = self.client.describe_launch_templates();
        let request = if self.template.is_id() {
            request.launch_template_ids(name)
        } else {
            request.launch_template_names(name)
        };
        let found = match request.send().await {
            Ok(found) => !found.launch_templates().is_empty(),
            Err(error) if error.code().is_some_and(|code| code.contains("NotFound")) => false,
            Err(error) => return Err(refused("ec2:DescribeLaunchTemplates", error.into())),
        };
        if !found {
            let sentence = format!(
                "there is no launch template {name:?} in this region (ec2:DescribeLaunchTemplates); create it, or name \
                 another with --fleet ec2:TEMPLATE"
            );
            return Err(Error::new(Kind::Config, sentence));
        }
        if let Err(error) = self.client.describe_instances().max_results(PAGE_MIN).send().await {
            return Err(refused("ec2:DescribeInstances", error.into()));
        }
        let tags = Tags::from([(FLEET_TAG.to_owned(), self.fleet.clone())]);
        let tried = self
            .client
            .run_instances()
            .dry_run(true)
            .launch_template(self.template.specification())
            .set_instance_type(first.instance_type.as_deref().map(InstanceType::from))
            .set_subnet_id(first.subnet.clone())
            .min_count(1)
            .max_count(1)
            .tag_specifications(tag_specification(&tags))
            .send()
            .await;
        match tried {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("DryRunOperation") => Ok(()),
            Err(error) => Err(refused("ec2:RunInstances", error.into())),
        }
    }

    /// All of them, or else as many as there are.
    async fn run(&self, order: &LaunchOrder) -> Result<Launched> {
        let all = self.run_between(order, order.count, "").await;
        match all {
            // Another token: it is another order. Nothing came of the first.
            Err(error) if error.kind == CloudErrorKind::NoCapacity && order.count > 1 => {
                self.run_between(order, 1, "m").await
            }
            all => all,
        }
    }

    async fn run_between(&self, order: &LaunchOrder, least: u32, suffix: &str) -> Result<Launched> {
        let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let offering = order.offerings.first().cloned().unwrap_or_default();
        let request = self
            .client
            .run_instances()
            .launch_template(self.template.specification())
            .client_token(format!("{}{suffix}", order.client_token))
            .set_instance_type(offering.instance_type.as_deref().map(InstanceType::from))
            .set_subnet_id(offering.subnet.clone())
            .min_count(count(least))
            .max_count(count(order.count))
            .tag_specifications(tag_specification(&order.tags));
        let made = request.send().await.map_err(cloud_error)?;
        let ids = made.instances().iter().filter_map(|one| one.instance_id());
        let instance_ids: Vec<_> = ids.map(ToOwned::to_owned).collect();
        let is_short = instance_ids.len() < order.count as usize;
        Ok(Launched { instance_ids, exhausted: if is_short { vec![offering] } else { Vec::new() } })
    }

    async fn pages(&self, filter: Filter) -> Result<Vec<CloudInstance>> {
        let mut pages =
            self.client.describe_instances().filters(filter).max_results(PAGE).into_paginator().send();
        let mut instances = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(cloud_error)?;
            let listed = page.reservations().iter().flat_map(|one| one.instances());
            instances.extend(listed.filter_map(instance));
        }
        Ok(instances)
    }
}

#[async_trait]
impl Cloud for Ec2 {
    async fn describe(&self) -> Result<Vec<CloudInstance>> {
        self.pages(Filter::builder().name(format!("tag:{FLEET_TAG}")).values(&self.fleet).build()).await
    }

    async fn find(&self, instance_ids: &[String]) -> Result<Vec<CloudInstance>> {
        let ids = Some(instance_ids.to_vec());
        let found =
            self.client.describe_instances().set_instance_ids(ids).send().await.map_err(cloud_error)?;
        Ok(found.reservations().iter().flat_map(|one| one.instances()).filter_map(instance).collect())
    }

    async fn start(&self, instance_ids: &[String]) -> Result<()> {
        let ids = Some(instance_ids.to_vec());
        self.client.start_instances().set_instance_ids(ids).send().await.map_err(cloud_error)?;
        Ok(())
    }

    async fn stop(&self, instance_ids: &[String]) -> Result<()> {
        let ids = Some(instance_ids.to_vec());
        self.client.stop_instances().set_instance_ids(ids).send().await.map_err(cloud_error)?;
        Ok(())
    }

    async fn terminate(&self, instance_ids: &[String]) -> Result<()> {
        let ids = Some(instance_ids.to_vec());
        self.client.terminate_instances().set_instance_ids(ids).send().await.map_err(cloud_error)?;
        Ok(())
    }

    /// With something to choose from, an instant fleet: one call that tries every offering, and says what it could not
    /// get. It needs a role that new accounts do not have, so where there is no choice it is a plain launch.
    async fn launch(&self, order: &LaunchOrder) -> Result<Launched> {
        if order.market == Market::OnDemand && order.offerings.len() <= 1 {
            return self.run(order).await;
        }
        let template = FleetLaunchTemplateSpecificationRequest::builder().version(&self.template.version);
        let template = if self.template.is_id() {
            template.launch_template_id(&self.template.name)
        } else {
            template.launch_template_name(&self.template.name)
        };
        let overrides = order.offerings.iter().map(|offering| {
            FleetLaunchTemplateOverridesRequest::builder()
                .set_instance_type(offering.instance_type.as_deref().map(InstanceType::from))
                .set_subnet_id(offering.subnet.clone())
                .build()
        });
        let overrides: Vec<_> = overrides.collect();
        let config = FleetLaunchTemplateConfigRequest::builder()
            .launch_template_specification(template.build())
            .set_overrides((!overrides.is_empty()).then_some(overrides));
        let count = i32::try_from(order.count).unwrap_or(i32::MAX);
        let target = TargetCapacitySpecificationRequest::builder().total_target_capacity(count);
        let request = self
            .client
            .create_fleet()
            .r#type(FleetType::Instant)
            .client_token(&order.client_token)
            .launch_template_configs(config.build())
            .tag_specifications(tag_specification(&order.tags));
        let request = match order.market {
            Market::OnDemand => request
                .on_demand_options(OnDemandOptionsRequest::builder().build())
                .target_capacity_specification(
                    target
                        .on_demand_target_capacity(count)
                        .spot_target_capacity(0)
                        .default_target_capacity_type(DefaultTargetCapacityType::OnDemand)
                        .build(),
                ),
            Market::Spot => request
                .spot_options(
                    SpotOptionsRequest::builder()
                        .allocation_strategy(SpotAllocationStrategy::PriceCapacityOptimized)
                        .build(),
                )
                .target_capacity_specification(
                    target
                        .on_demand_target_capacity(0)
                        .spot_target_capacity(count)
                        .default_target_capacity_type(DefaultTargetCapacityType::Spot)
                        .build(),
                ),
        };
        launched(&request.send().await.map_err(cloud_error)?)
    }

    async fn console_output(&self, instance_id: &str) -> Result<String> {
        let output =
            self.client.get_console_output().instance_id(instance_id).send().await.map_err(cloud_error)?;
        Ok(decode(output.output().unwrap_or_default()))
    }

    async fn tag(&self, instance_ids: &[String], tags: &Tags) -> Result<()> {
        let request = self.client.create_tags().set_resources(Some(instance_ids.to_vec()));
        request.set_tags(Some(sdk_tags(tags))).send().await.map_err(cloud_error)?;
        Ok(())
    }
}

/// The console comes in base64. What is no part of that alphabet is left out, line ends among it.
fn decode(base64: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: u8| ALPHABET.iter().position(|one| *one == byte);
    let digits: Vec<_> = base64.bytes().filter_map(digit).collect();
    let mut bytes = Vec::with_capacity(digits.len());
    for four in digits.chunks(4) {
        let bits = four.iter().fold(0, |bits, digit| bits << 6 | *digit) << (6 * (4 - four.len()));
        // Of n digits, the first n - 1 bytes are whole.
        let whole = bits.to_be_bytes().into_iter().skip(size_of::<usize>() - 3);
        bytes.extend(whole.take(four.len() - 1));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a fleet request made; an error when it made nothing, for a reason that is not missing capacity.
fn launched(output: &CreateFleetOutput) -> Result<Launched> {
    let made = output.instances().iter().flat_map(|one| one.instance_ids());
    let mut launched = Launched { instance_ids: made.cloned().collect(), exhausted: Vec::new() };
    for error in output.errors() {
        let (code, message) =
            (error.error_code().unwrap_or_default(), error.error_message().unwrap_or_default());
        if kind_of(code) == CloudErrorKind::NoCapacity {
            launched.exhausted.push(offering(error.launch_template_and_overrides()));
        } else if launched.instance_ids.is_empty() {
            return Err(CloudError::new(kind_of(code), format!("{code}: {message}")));
        } else {
            tracing::warn!(code, message, "part of a launch failed");
        }
    }
    launched.exhausted.sort();
    launched.exhausted.dedup();
    Ok(launched)
}

fn offering(of: Option<&LaunchTemplateAndOverridesResponse>) -> Offering {
    let overrides = of.and_then(LaunchTemplateAndOverridesResponse::overrides);
    Offering {
        instance_type: overrides.and_then(|one| one.instance_type()).map(|one| one.as_str().to_owned()),
        subnet: overrides.and_then(|one| one.subnet_id()).map(ToOwned::to_owned),
    }
}

/// `None` for one without an id or a state, which EC2 does not list.
fn instance(listed: &Instance) -> Option<CloudInstance> {
    let state = match listed.state()?.name()? {
        InstanceStateName::Pending => CloudState::Pending,
        InstanceStateName::Running => CloudState::Running,
        InstanceStateName::Stopping => CloudState::Stopping,
        InstanceStateName::Stopped => CloudState::Stopped,
        InstanceStateName::ShuttingDown => CloudState::ShuttingDown,
        InstanceStateName::Terminated => CloudState::Terminated,
        _ => return None,
    };
    let tags = listed.tags().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())));
    let reason = listed.state_reason().and_then(|reason| reason.message()).unwrap_or_default();
    let seconds = listed.launch_time().map_or(0, aws_sdk_ec2::primitives::DateTime::secs);
    Some(CloudInstance {
        instance_id: listed.instance_id()?.to_owned(),
        state,
        instance_type: listed.instance_type().map(|one| one.as_str().to_owned()).unwrap_or_default(),
        zone: listed.placement().and_then(|one| one.availability_zone()).unwrap_or_default().to_owned(),
        spot: listed.instance_lifecycle() == Some(&InstanceLifecycleType::Spot),
        launch_time: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        tags: tags.collect(),
        reason: reason.to_owned(),
    })
}

fn tag_specification(tags: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(ResourceType::Instance).set_tags(Some(sdk_tags(tags))).build()
}

fn sdk_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn cloud_error<E>(error: SdkError<E>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + Debug + 'static,
{
    let kind = match (&error, error.code()) {
        (SdkError::ServiceError(_), Some(code)) => kind_of(code),
        // Nothing was sent.
        (SdkError::ConstructionFailure(_), _) => CloudErrorKind::Denied,
        _ => CloudErrorKind::Unclear,
    };
    CloudError::new(kind, sentence(&error))
}

/// What EC2 said, with its code; or why it said nothing.
fn sentence<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + Debug + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => DisplayErrorContext(error).to_string().split(" (").next().unwrap_or_default().to_owned(),
    }
}

fn kind_of(code: &str) -> CloudErrorKind {
    match code {
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "RequestThrottled" => {
            CloudErrorKind::Throttled
        }
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "InstanceLimitExceeded"
        | "MaxSpotInstanceCountExceeded"
        | "SpotMaxPriceTooLow"
        | "UnfulfillableCapacity"
        | "VcpuLimitExceeded" => CloudErrorKind::NoCapacity,
        "InvalidInstanceID.NotFound" | "InvalidInstanceID.Malformed" => CloudErrorKind::NotFound,
        "IncorrectInstanceState" | "IncorrectState" => CloudErrorKind::WrongState,
        "IdempotentParameterMismatch" => CloudErrorKind::TokenMismatch,
        "UnauthorizedOperation" | "AuthFailure" | "Blocked" | "OptInRequired" => CloudErrorKind::Denied,
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" => CloudErrorKind::Unclear,
        _ => CloudErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_is_read() {
        for (base64, text) in [
            ("", ""),
            ("aGVsbG8=", "hello"),
            ("aGVsbG8h\n", "hello!"),
            ("aGVsbA==", "hell"),
            ("aG Vs\r\nbG8=", "hello"),
        ] {
            assert_eq!(decode(base64), text);
        }
    }

    #[test]
    fn template_is_named_or_identified() {
        for (name, is_id) in [("lt-0123456789abcdef0", true), ("lt-worker", false), ("worker", false)] {
            assert_eq!(Template::new(name, "1").is_id(), is_id, "{name}");
        }
    }
}
