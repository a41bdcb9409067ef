//! Generates the stubs from the protos in TOKENMINT_PROTOS, an unpacked tokenmint-protos-VERSION.zip.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=TOKENMINT_PROTOS");
    let protos = env::var("TOKENMINT_PROTOS").map_err(|_| "TOKENMINT_PROTOS: name the folder of the protos")?;
    println!("cargo:rerun-if-changed={protos}");
    let files = protox::compile(["tokenmint/v1/token_exchange_service.proto"], [&protos])?;
    tonic_prost_build::configure()
        .build_server(false)
        .include_file("protos.rs")
        .compile_fds(files)?;
    Ok(())
}
