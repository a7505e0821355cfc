//! Writes the golden directories: `cargo run -p rollstore-tests --example golden -- DIR`.
//!
//! For a new format only. The directories of a format that was released are never written again.

use rollstore_engine::vfs::sim::SimVfs;
use rollstore_tests::golden;
use rollstore_tests::sample::DIR;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).ok_or("usage: golden DIR")?;
    for (name, disk) in golden::NAMES.into_iter().zip([golden::closed()?, golden::killed()?]) {
        write(&disk, &Path::new(&target).join(name))?;
    }
    Ok(())
}

fn write(disk: &SimVfs, to: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(to)?;
    for name in disk.names(DIR) {
        let bytes = disk.read_file(Path::new(DIR).join(&name)).ok_or("a file without bytes")?;
        println!("{} {}", to.join(&name).display(), bytes.len());
        std::fs::write(to.join(name), bytes)?;
    }
    Ok(())
}
