//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use rollstore_engine::limits::LEVEL_MAX;
use std::path::PathBuf;

/// Looks after databases of rollstore, and keeps chains in them.
#[derive(Debug, Parser)]
#[command(name = "rollstore", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str =
    "Exit codes: 0 fine, 1 damage, 2 usage, 3 locked by another process, 4 not found, 5 other, 130 a second signal.

Examples:
  rollstore demo --db /tmp/demo
  geth export chain.rlp && rollstore import --db chain chain.rlp
  rollstore export --db chain copy.rlp && cmp chain.rlp copy.rlp
  rollstore gc --db chain --keep-from 1000000 && rollstore stat --db chain";

const IMPORT_HELP: &str = "\
One commit a block, over the stores blocks, numbers, transactions, head and base. Run again, it goes on
from the head. A file that forks off the stored chain is a reorganisation: its blocks are stored, then one
commit moves numbers and head, and the tip of the file wins, shorter or not. A file that does not link to
the stored chain is refused; blocks before its first one are passed over, provided the file goes on to that
one: what `gc` dropped does not come back. Ctrl-C stops between two blocks, with everything so far durable; a
second one ends it at once.

Examples:
  rollstore import --db chain chain.rlp
  rollstore import --db chain chain.rlp --durability bulk
  rollstore import --db chain chain.rlp --durability buffered --every 100 --ack";

const EXPORT_HELP: &str = "\
A file gets its name when it is whole.

Examples:
  rollstore export --db chain copy.rlp
  rollstore export --db chain --from 1000 --to 1999 - | sha256sum";

const GET_HELP: &str = "\
Hexadecimal with or without 0x. `canonical` says whether the block is on the chain that ends with the head;
blocks that a reorganisation left behind are still found by hash.

Examples:
  rollstore get --db chain block 172032
  rollstore get --db chain block 0xaf105ff1... --raw | xxd
  rollstore get --db chain tx 0x5c504ed4... --json
  rollstore get --db chain numbers 000000000002a000
  rollstore get --db chain head";

const HEAD_HELP: &str = "\
Examples:
  rollstore head --db chain
  rollstore head --db chain --json | jq .number";

const STAT_HELP: &str = "\
Nothing is written: what opening had to recover is recovered again by the next open. `entries` counts a key
once for each place it stands in, so it is exact for keys that were written once. `dead_entries` are dropped
but still take room; `reclaimable_bytes` is what `compact` would give back, by an estimate; `level_max` is
the highest level of what is not in the log alone.

Examples:
  rollstore stat --db chain
  rollstore stat --db chain --json | jq '.stores[] | select(.name == \"blocks\")'";

const GC_HELP: &str = "\
Drops everything in the stores with keys whose commit had a lower level than LEVEL, and gives its disk back.
What was committed without a level stays, and so do singletons. All of it happens in one step: after Ctrl-C,
an error or a crash everything is still there, or everything is dropped. A LEVEL above all there are is
refused, because nothing would be left.

The level of a block is its number. A chain keeps block LEVEL and all that follow, other branches too, with
their transactions; it begins with block LEVEL then: `export` and `head` start there, what came before is
not found any more, and `import` neither wants it nor takes it in again. It always keeps its head. A branch
that forks off before the first block cannot be taken in.

`kept` and `dropped` count keys. `memory_left_out` and `space_left` are false unless the disk was full or
Ctrl-C came late: then what was just written was not looked at, or some dead bytes remain, which the next
gc or compact gives back.

Examples:
  rollstore gc --db chain --keep-from 1000000
  rollstore gc --db demo --keep-from 9000 --json | jq .bytes_freed";

const COMPACT_HELP: &str = "\
Merges the runs of every store into as few as there can be and writes again what is partly dead, so that the
database is as small, and lookups as quick, as can be. Never needed: a database in use does enough of it by
itself. Ctrl-C stops after the merge under way; what was merged stays merged, and running it again goes on.

Examples:
  rollstore compact --db chain
  rollstore compact --db chain --json | jq '.disk_before - .disk_after'";

const VERIFY_HELP: &str = "\
Follows every pointer to its value, and checks order and what the files say of one another. Exits with 1 if
anything is damaged, and lists each damage with its store, file and offset (of one file 1,000 records that are
missing, which is a hole, and 1,000 damages of a segment). `entries` and `values` count
dead ones too, for they are checked as well; `dead_entries` says how many of the entries those are.

Examples:
  rollstore verify --db chain
  rollstore verify --db chain --json | jq .damage";

const DEMO_HELP: &str = "\
One synced commit a level over thirteen stores: blocks, messages, inboxes, commitments, levels, heads. Every
64 levels the last one to three are reorganised. Makes a new database in an empty or missing directory.
With --gc-every N, every N levels a collection drops all but the last --keep levels, beside the commits.
At the end everything is read back: what must be there is, and nothing else. `bytes_on_disk_most` is the most
there was when a collection was due, logs included, which a close makes small.

Examples:
  rollstore demo --db /tmp/demo
  rollstore demo --db /tmp/demo --levels 1000 --json
  rollstore demo --db /tmp/demo --levels 20000 --gc-every 1000 --keep 2000";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The directory of the database.
    #[arg(long, value_name = "DIR")]
    pub(crate) db: PathBuf,
    /// Show JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take in a chain: the concatenated RLP blocks that `geth export` writes.
    #[command(after_help = IMPORT_HELP)]
    Import(Import),
    /// Give the canonical chain back, byte for byte as it was imported.
    #[command(after_help = EXPORT_HELP)]
    Export(Export),
    /// Look up a block, a transaction, or a key of any store.
    #[command(after_help = GET_HELP)]
    Get(Get),
    /// Show the head of the chain.
    #[command(after_help = HEAD_HELP)]
    Head(Head),
    /// Show what is in the database and what it takes.
    #[command(after_help = STAT_HELP)]
    Stat(Stat),
    /// Read and check every byte; list each damage.
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Drop what is older than a level, and give its disk back.
    #[command(after_help = GC_HELP)]
    Gc(Gc),
    /// Make the database as small as it can be.
    #[command(after_help = COMPACT_HELP)]
    Compact(Compact),
    /// Write the levels of a rollup node, reopen, check, and show rates and sizes.
    #[command(after_help = DEMO_HELP)]
    Demo(Demo),
}

impl Command {
    /// What every command takes.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Command::Import(Import { common, .. })
            | Command::Export(Export { common, .. })
            | Command::Get(Get { common, .. })
            | Command::Head(Head { common })
            | Command::Stat(Stat { common })
            | Command::Verify(Verify { common })
            | Command::Gc(Gc { common, .. })
            | Command::Compact(Compact { common })
            | Command::Demo(Demo { common, .. }) => common,
        }
    }
}

/// `import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The blocks, parents before children.
    pub(crate) file: PathBuf,
    /// What a commit survives: a power cut, the death of the process, or (bulk) nothing until a checkpoint.
    #[arg(long, value_enum, default_value_t = Mode::Sync)]
    pub(crate) durability: Mode,
    /// Print `acked NUMBER HASH` as soon as the commit of a block is durable, before anything else (with --json too).
    #[arg(long)]
    pub(crate) ack: bool,
    /// Blocks between two syncs (buffered) or two checkpoints (bulk) [default: 1000 or 20000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) every: Option<u64>,
}

/// What a commit of an import survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A power cut, block by block.
    Sync,
    /// The death of the process; a power cut at intervals.
    Buffered,
    /// Nothing between checkpoints; the fastest.
    Bulk,
}

/// `export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The first block; the first of the chain when left out.
    #[arg(long, value_name = "N")]
    pub(crate) from: Option<u64>,
    /// The last block; the head when left out.
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    /// Where to; `-` is the standard output.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
}

/// `get`
#[derive(Debug, Args)]
#[command(override_usage = "rollstore get --db DIR block NUMBER|HASH\n       \
    rollstore get --db DIR tx HASH\n       rollstore get --db DIR STORE [HEXKEY]")]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) common: Common,
    /// `block`, `tx`, or the name of a store.
    #[arg(value_name = "WHAT")]
    pub(crate) what: String,
    /// The number or hash, or the key in hexadecimal; a singleton has none.
    pub(crate) key: Option<String>,
    /// Write the bytes of the value and nothing else.
    #[arg(long)]
    pub(crate) raw: bool,
}

/// `head`
#[derive(Debug, Args)]
pub(crate) struct Head {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `stat`
#[derive(Debug, Args)]
pub(crate) struct Stat {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `gc`
#[derive(Debug, Args)]
pub(crate) struct Gc {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The first level to keep.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(..=i64::from(LEVEL_MAX)))]
    pub(crate) keep_from: u32,
}

/// `compact`
#[derive(Debug, Args)]
pub(crate) struct Compact {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many levels to write.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) levels: u32,
    /// Collect every N levels.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) gc_every: Option<u32>,
    /// How many of the last levels a collection keeps: no fewer than a reorganisation goes back.
    #[arg(long, value_name = "K", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(3..))]
    pub(crate) keep: u32,
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, Mode};
    use clap::{CommandFactory, Parser};
    use std::path::Path;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_are_understood() {
        let Ok(Command::Import(import)) =
            parse("rollstore import --db d f --durability bulk --ack")
        else {
            panic!("import");
        };
        assert_eq!((import.durability, import.ack), (Mode::Bulk, true));
        let Ok(Command::Import(import)) = parse("rollstore import f --db d") else {
            panic!("import")
        };
        assert_eq!((import.durability, import.ack), (Mode::Sync, false));
        let Ok(Command::Export(export)) = parse("rollstore export --db d --from 3 --to 9 -") else {
            panic!("export");
        };
        assert_eq!(
            (export.from, export.to, export.file.as_path()),
            (Some(3), Some(9), Path::new("-"))
        );
        let get = parse("rollstore get --db d --json numbers 0x00 --raw").unwrap();
        assert!(get.common().json);
        assert_eq!(get.common().db, Path::new("d"));
        let Ok(Command::Gc(gc)) = parse("rollstore gc --db d --keep-from 4294967294") else {
            panic!("gc");
        };
        assert_eq!(gc.keep_from, u32::MAX - 1);
        for command in ["head", "stat", "verify", "compact", "demo", "get x"] {
            assert!(parse(&format!("rollstore {command} --db d")).is_ok(), "{command}");
        }
    }

    #[test]
    fn nonsense_is_a_mistake_of_usage() {
        for line in [
            "",
            " head",
            " import --db d",
            " export --db d --from x -",
            " gc --db d",
            " gc --db d --keep-from -1",
            " gc --db d --keep-from 4294967295",
            " demo --db d --levels 0",
            " demo --db d --gc-every 0",
            " demo --db d --gc-every 9 --keep 2",
        ] {
            let error = parse(&format!("rollstore{line}")).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
