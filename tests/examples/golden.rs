//! Writes the golden directories: `cargo run -p rollstore-tests --example golden -- DIR`.
//!
//! A directory that is there is left alone: those of a format that was released are never written again.

use rollstore_engine::format::names::RESERVE;
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_tests::golden;
use rollstore_tests::sample::DIR;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).ok_or("usage: golden DIR")?;
    for name in golden::NAMES {
        let to = Path::new(&target).join(name);
        if !to.exists() {
            write(&golden::make(name)?, &to)?;
        }
    }
    Ok(())
}

fn write(disk: &SimVfs, to: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(to)?;
    // What only holds room is made again where it is wanted.
    for name in disk.names(DIR).into_iter().filter(|name| name != RESERVE) {
        let bytes = disk.read_file(Path::new(DIR).join(&name)).ok_or("a file without bytes")?;
        println!("{} {}", to.join(&name).display(), bytes.len());
        std::fs::write(to.join(name), bytes)?;
    }
    Ok(())
}
