//! Compiles etcd's contract, and puts what `make console` made into the binary. Without a console the controller is built
//! all the same, and says that it has none.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    contract_of_etcd()?;
    embed_console();
    Ok(())
}

/// By protox, as Hawser's own contracts are: no protoc needs to be installed.
fn contract_of_etcd() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}

fn embed_console() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../console/dist");
    // The folder is in the repository, empty: so that it can be watched before there is a console.
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    if let Err(error) = find(&dist, "", &mut files) {
        println!("cargo::warning=the console's files can't be read: {error}");
        files.clear();
    }
    files.sort();
    // Copies: the console may be made anew while the controller compiles.
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut table = String::from("pub(super) const FILES: &[File] = &[\n");
    for (number, (name, path)) in files.iter().enumerate() {
        let copy = format!("console-{number}");
        fs::copy(path, out.join(&copy)).expect("the console's files can be read");
        let bytes = format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{copy}\"))");
        let _ = writeln!(table, "    File {{ name: {name:?}, bytes: {bytes} }},");
    }
    table.push_str("];\n");
    fs::write(out.join("console.rs"), table).expect("the folder of this build can be written");
}

/// Files by their name in the console, with `/` between folders; hidden ones are the repository's.
fn find(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path().canonicalize()?;
        if entry.file_type()?.is_dir() {
            find(&path, &format!("{prefix}{name}/"), files)?;
        } else {
            files.push((format!("{prefix}{name}"), path));
        }
    }
    Ok(())
}
