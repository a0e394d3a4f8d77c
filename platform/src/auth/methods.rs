//! Which method needs what: one table for each service. A method that is in no table needs a key of scope `admin`.

use super::{
    guard::{Charge, Need},
    scope::Scope,
};

/// A service and its methods.
type Table = (&'static str, &'static [(&'static str, Need)]);

const CLASSIFY: Need = Need::key(Scope::Classify, Charge::Images);
/// What became of one's images: whoever sends them, and nobody who only looks at the fleet.
const FOLLOW: Need = Need::key(Scope::Classify, Charge::Call);
const READ: Need = Need::key(Scope::Read, Charge::Call);
const ADMIN: Need = Need::key(Scope::Admin, Charge::Call);

const TABLES: [Table; 10] = [
    (
        "dunlin.v1.ClassifierService",
        &[
            ("Classify", CLASSIFY),
            ("BatchClassify", CLASSIFY),
            ("ClassifyStream", CLASSIFY),
            ("BidiClassify", CLASSIFY),
        ],
    ),
    (
        "dunlin.v1.JobService",
        &[
            ("CreateJob", CLASSIFY),
            ("GetJob", FOLLOW),
            ("ListJobs", FOLLOW),
            ("CancelJob", FOLLOW),
            ("ListJobResults", FOLLOW),
            ("WatchJob", FOLLOW),
        ],
    ),
    (
        "dunlin.v1.AutoscalerService",
        &[
            ("GetStatus", READ),
            ("WatchStatus", READ),
            ("ListDecisions", READ),
            ("GetDecision", READ),
            ("WatchDecisions", READ),
            ("ExplainDecision", READ),
            ("ListInstances", READ),
            ("Simulate", READ),
            ("Pause", ADMIN),
            ("Resume", ADMIN),
            ("SetPolicy", ADMIN),
            ("SetOverride", ADMIN),
            ("DrainInstance", ADMIN),
        ],
    ),
    // KEDA has no way to send a key, but it can show a certificate.
    (
        "externalscaler.ExternalScaler",
        &[
            ("IsActive", Need::KeyOrCertificate(Scope::Read)),
            ("StreamIsActive", Need::KeyOrCertificate(Scope::Read)),
            ("GetMetricSpec", Need::KeyOrCertificate(Scope::Read)),
            ("GetMetrics", Need::KeyOrCertificate(Scope::Read)),
        ],
    ),
    (
        "dunlin.internal.v1.BrokerService",
        &[("DeliverySession", Need::Peer), ("Send", Need::Peer), ("GetCounts", Need::Peer)],
    ),
    ("dunlin.internal.v1.ReplyService", &[("ReplySession", Need::Peer)]),
    ("dunlin.internal.v1.ControlService", &[("WorkerSession", Need::Peer), ("GatewaySession", Need::Peer)]),
    // Load balancers have no keys.
    ("grpc.health.v1.Health", &[("Check", Need::Nothing), ("Watch", Need::Nothing), ("List", Need::Nothing)]),
    // What is described there is public anyway, and grpcurl asks before it calls.
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", Need::Nothing)]),
    ("grpc.reflection.v1alpha.ServerReflection", &[("ServerReflectionInfo", Need::Nothing)]),
];

/// What `/package.Service/Method` needs.
pub fn need(path: &str) -> Need {
    find(path).unwrap_or(ADMIN)
}

fn find(path: &str) -> Option<Need> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = TABLES.iter().find(|(name, _)| *name == service)?;
    methods.iter().find(|(name, _)| *name == method).map(|(_, need)| *need)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn served() -> Vec<String> {
        let sets = [proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
        let files = sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file);
        let methods = files.flat_map(|file| {
            let package = file.package().to_owned();
            file.service.into_iter().flat_map(move |service| {
                let service_name = format!("{package}.{}", service.name());
                service.method.into_iter().map(move |method| format!("/{service_name}/{}", method.name()))
            })
        });
        methods.collect()
    }

    #[test]
    fn every_method_of_every_service_is_in_a_table() {
        let served = served();
        assert!(served.len() > 25, "{served:?}");
        for path in &served {
            assert!(find(path).is_some(), "{path} is in no table of platform/src/auth/methods.rs");
        }
        for (service, methods) in TABLES {
            for (method, _) in methods.iter().filter(|_| !service.starts_with("grpc.")) {
                let path = format!("/{service}/{method}");
                assert!(served.contains(&path), "{path} is in a table and no longer there");
            }
        }
    }

    #[test]
    fn method_nobody_thought_of_needs_admin() {
        for path in
            ["/dunlin.v1.ClassifierService/New", "/x.Y/Z", "/", "", "//", "/dunlin.v1.ClassifierService"]
        {
            assert_eq!(need(path), ADMIN, "{path:?}");
        }
    }
}
