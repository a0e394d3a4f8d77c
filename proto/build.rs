//! Compiles the .proto files with protox (pure Rust: no protoc on the machine) and writes the
//! descriptor set that server reflection serves, comments included.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 7] = [
    "dunlin/v1/classifier_service.proto",
    "dunlin/v1/job_service.proto",
    "dunlin/v1/autoscaler_service.proto",
    "dunlin/internal/v1/job_record.proto",
    "dunlin/internal/v1/link_service.proto",
    "dunlin/internal/v1/record.proto",
    "externalscaler/externalscaler.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for folder in ["dunlin", "externalscaler", "google"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    let descriptors = protox::Compiler::new(["."])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?
        .file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // `bytes` fields become `bytes::Bytes`, so an image is never copied out of the frame it came in.
        .bytes(".")
        // One `Status` type everywhere: the one tonic-types attaches error details to.
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors)?;
    Ok(())
}
