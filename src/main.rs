//! The `artifactapi` command. Everything it does is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    artifactapi::memory::give_back_soon();
    artifactapi::cli::main()
}
