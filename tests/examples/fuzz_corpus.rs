//! Writes the corpus that the fuzz targets begin with: `cargo run -p rollstore-tests --example fuzz_corpus -- fuzz/corpus`.

use rollstore_tests::replay::seeds;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).ok_or("usage: fuzz_corpus DIR")?;
    let corpus = seeds::corpus()?;
    for (target_name, name, bytes) in &corpus {
        let dir = Path::new(&target).join(target_name);
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join(name), bytes)?;
    }
    println!("{} files", corpus.len());
    Ok(())
}
