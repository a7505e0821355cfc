//! What the stores are asked to do; one file a kind of work.

use crate::cell::Cell;
use crate::store::{Result, Rival};

mod beside;
mod blocks;
mod files;
mod gets;
mod kill;
mod limits;
mod load;
mod node;
mod preimages;
mod prune;
mod puts;

/// A kind of work.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// A store under it.
    pub run: fn(&Cell, Rival) -> Result<()>,
    /// The same bytes, or the same questions, with no store, and what the least is that they can cost.
    pub machine: Option<fn(&Cell) -> Result<()>>,
    /// Is there something to do for stores?
    pub takes_stores: bool,
    /// Is it part of a run that does not name its workloads?
    pub usual: bool,
}

/// Those that can be asked for: all but the one that another one starts.
pub fn chosen_from() -> Vec<Workload> {
    ALL.into_iter().filter(|workload| workload.name != kill::VICTIM).collect()
}

/// All of them.
pub const ALL: [Workload; 17] = [
    Workload {
        name: "limits",
        about: "what the machine does bare",
        run: |_cell, _rival| Err("of the machine only".into()),
        machine: Some(limits::machine),
        takes_stores: false,
        usual: true,
    },
    Workload {
        name: "w1",
        about: "1 M single buffered puts 32 -> 32, then sync and close",
        run: |cell, rival| puts::run(cell, rival, 1),
        machine: Some(|cell| puts::machine(cell, 1)),
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "w1b",
        about: "the same in commits of 1,000",
        run: |cell, rival| puts::run(cell, rival, 1_000),
        machine: Some(|cell| puts::machine(cell, 1_000)),
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "w2",
        about: "reopen; 1 M shuffled gets present and absent, 1 and 2 threads",
        run: gets::run,
        machine: Some(gets::machine),
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "w3",
        about: "2,000 blocks, one atomic synced commit each",
        run: blocks::synced,
        machine: Some(blocks::machine),
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "w3b",
        about: "20,000 blocks buffered, then sync and close",
        run: blocks::buffered,
        machine: None,
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "w4",
        about: "200,000 appends of 500-4,000 bytes; reopen; full reads, header reads",
        run: files::run,
        machine: Some(files::machine),
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "w5",
        about: "20,000 blocks: drop the older 90 %, give the space back, a reader beside",
        run: prune::run,
        machine: Some(prune::machine),
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "w6",
        about: "15 s of buffered blocks, a reader beside",
        run: beside::run,
        machine: Some(beside::machine),
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "kill",
        about: "2.4 M puts in commits of 64, then kill -9; open",
        run: |cell, rival| kill::run(cell, rival, 2_400_000),
        machine: None,
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "kill-b",
        about: "the same after 2.1 M puts: logs are as full as they happen to be",
        run: |cell, rival| kill::run(cell, rival, 2_100_000),
        machine: None,
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: "kill-c",
        about: "the same after 1.8 M puts",
        run: |cell, rival| kill::run(cell, rival, 1_800_000),
        machine: None,
        takes_stores: true,
        usual: true,
    },
    Workload {
        name: kill::VICTIM,
        about: "what is killed there",
        run: kill::victim,
        machine: None,
        takes_stores: true,
        usual: false,
    },
    Workload {
        name: "w7",
        about: "10 M puts in commits of 64, then gets",
        run: |cell, rival| load::run(cell, rival, 10),
        machine: None,
        takes_stores: true,
        usual: false,
    },
    Workload {
        name: "w7-60",
        about: "60 M puts in commits of 64, then gets",
        run: |cell, rival| load::run(cell, rival, 60),
        machine: None,
        takes_stores: true,
        usual: false,
    },
    Workload {
        name: "w8",
        about: "121,000 levels of the sizes a quiet node writes, the older dropped every 1,000",
        run: node::run,
        machine: None,
        takes_stores: true,
        usual: false,
    },
    Workload {
        name: "w9",
        about: "real preimages, salted to 1 M keys: puts in commits of 100, reopen, reads",
        run: preimages::run,
        machine: None,
        takes_stores: true,
        usual: false,
    },
];
