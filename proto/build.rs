//! Compiles the contracts with protox: no protoc needs to be installed.

const FILES: [&str; 4] = [
    "hawser/config/v1/config.proto",
    "hawser/agent/v1/agent.proto",
    "hawser/peer/v1/peer.proto",
    "hawser/operator/v1/operator.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let folder = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(folder.join("hawser.descriptors"), prost::Message::encode_to_vec(&descriptors))?;
    const GRPC: &str = "#[cfg(feature = \"grpc\")]";
    tonic_prost_build::configure()
        .btree_map(".")
        // Long, and the same for all who look at it.
        .bytes(".hawser.agent.v1.Generation.config")
        .client_mod_attribute(".", GRPC)
        .server_mod_attribute(".", GRPC)
        .compile_fds(descriptors)?;
    Ok(())
}
