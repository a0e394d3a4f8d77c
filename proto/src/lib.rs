//! The types made from the .proto files beside this crate, and nothing else.

/// The public API: `ClassifierService`, `JobService`, `AutoscalerService`. It only grows.
pub mod v1 {
    #![allow(clippy::all, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("dunlin.v1");
}

/// Between our own services: tasks, replies, control and the embedded broker. Not for clients.
pub mod internal {
    pub mod v1 {
        #![allow(clippy::all, clippy::pedantic, unreachable_pub)]
        tonic::include_proto!("dunlin.internal.v1");
    }
}

/// KEDA's: what it asks of an external scaler.
pub mod externalscaler {
    #![allow(clippy::all, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("externalscaler");
}

/// Every file above with its comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
