//! Makes existing instances part of a fleet, on a person's word.

use platform::{Error, Kind, Result};

use crate::fleet::cloud::{Cloud, CloudError, CloudState, FLEET_TAG, Tags};

/// Tags the instances, so that the fleet starts and stops them from now on. All of them, or none.
pub async fn adopt(cloud: &dyn Cloud, fleet: &str, instance_ids: &[String]) -> Result<()> {
    let refused = |error: CloudError| Error::new(Kind::Config, format!("can't adopt: {error}"));
    let found = cloud.find(instance_ids).await.map_err(refused)?;
    for instance_id in instance_ids {
        let instance = found.iter().find(|one| one.instance_id == *instance_id);
        let problem = match instance {
            None => Some("there is no such instance".to_owned()),
            Some(one) if matches!(one.state, CloudState::ShuttingDown | CloudState::Terminated) => {
                Some("it is terminated".to_owned())
            }
            Some(one) => one.tags.get(FLEET_TAG).filter(|other| *other != fleet).map(|other| {
                format!("it is part of fleet {other:?}; remove its tag {FLEET_TAG} there first")
            }),
        };
        if let Some(problem) = problem {
            return Err(Error::new(Kind::Config, format!("can't adopt {instance_id}: {problem}")));
        }
    }
    let tags = Tags::from([
        (FLEET_TAG.to_owned(), fleet.to_owned()),
        (super::launch::ROLE_TAG.to_owned(), super::launch::WORKER_ROLE.to_owned()),
    ]);
    cloud.tag(instance_ids, &tags).await.map_err(refused)
}
