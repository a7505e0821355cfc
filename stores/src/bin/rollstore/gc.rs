//! `gc`: drops what is older than a level in every store that has keys, in one step, and gives its disk back.
//!
//! Of a chain block N and what follows stays. Its `blocks` are judged by their level, which is their number. That of an entry
//! of `numbers` or `transactions` may be higher, for a reorganisation binds those of a whole branch at the level of the new
//! head: they are judged by the block they speak of. So the collection moves the beginning of the chain in one step with the
//! blocks, and `base` is only brought up to date afterwards (`Chain::ends` does not believe it).

use crate::args::Gc;
use crate::chain::stores::{BlockHeader, Chain};
use crate::failure::{Failure, Outcome};
use crate::maintain::Maintained;
use crate::output::{Output, Progress, Report, seconds};
use crate::rlp::Hash;
use crate::stop;
use rollstore::{Codec, Collection, Database, Durability, Error, GcReport};
use rollstore_engine::{GcPlan, Keep, Store, StoreKind};
use std::thread::sleep;
use std::time::Duration;

/// How often it is looked how far a collection is.
const LOOK: Duration = Duration::from_millis(10);

/// Runs the command.
pub(crate) fn run(args: &Gc, output: Output) -> Outcome {
    stop::listen()?;
    let open = Maintained::open(&args.common.db)?;
    let (db, from) = (&open.db, args.keep_from);
    let chain = Chain::found(db)?;
    refuse_to_drop_all(db, chain.as_ref(), from)?;
    let entries = db.stats().stores.iter().map(|store| store.entries).sum();
    let progress = output.progress("collect", entries, false);
    let collected = match db.engine().gc(plan(db, chain.as_ref(), from))? {
        rollstore::Gc::Started(collection) => watch(&collection, &progress, &stop::asked)?,
        rollstore::Gc::Running(_) => {
            return Err(Failure::Other("another collection is under way".to_owned()));
        }
    };
    drop(progress);
    let mut report = Report::new().name("keep_from", from);
    if let Some(chain) = &chain {
        let (base, head) = chain.ends()?;
        if collected.is_some() && chain.base.read()? != Some(base) {
            chain.base.write_now(&base, Durability::Sync)?;
        }
        report = report.name("base", base.number).name("head", head.number);
    }
    let disk_before = open.disk_before;
    drop(chain);
    let disk_after = open.close()?;
    let report = outcome(report, collected);
    output.print(&report.field("disk_before", disk_before).field("disk_after", disk_after))
}

fn outcome(report: Report, collected: Option<GcReport>) -> Report {
    let (stopped, done) = (collected.is_none(), collected.unwrap_or_default());
    report
        .field("kept", (!stopped).then_some(done.kept))
        .field("dropped", done.dropped)
        .field("bytes_freed", done.bytes_freed)
        .field("bytes_written", done.bytes_written)
        .field("seconds", seconds(done.took))
        .field("memory_left_out", done.memory_left_out)
        .field("space_left", done.space_left)
        .field("stopped", stopped)
}

/// Nobody means that: whoever does removes the directory.
fn refuse_to_drop_all(db: &Database, chain: Option<&Chain>, from: u32) -> Outcome {
    let highest = match chain {
        Some(chain) => Some(chain.ends()?.1.number),
        None => {
            let stores = db.stats().stores;
            stores.iter().filter_map(|store| store.level_max).max().map(u64::from)
        }
    };
    match highest.filter(|highest| u64::from(from) > *highest) {
        None => Ok(()),
        Some(highest) => {
            let what = if chain.is_some() { "the head is block" } else { "the highest level is" };
            let text = format!("--keep-from {from} would drop everything: {what} {highest}");
            Err(Failure::Usage(text))
        }
    }
}

/// Keeps what is of level `from` or above, or of no level, in every store with keys.
fn plan(db: &Database, chain: Option<&Chain>, from: u32) -> GcPlan {
    let stores = db.engine().stores();
    let keyed = |store: &&Store| !store.is_internal() && store.shape().kind != StoreKind::Singleton;
    let keep = |store: &Store| {
        let of_chain = chain.and_then(|chain| keep_in_chain(chain, &stores, store, from));
        of_chain.unwrap_or(Keep::FromLevel(from))
    };
    stores.iter().filter(keyed).fold(GcPlan::new(), |plan, store| plan.keep(store, keep(store)))
}

/// What a chain that begins with block `from` keeps of its store `store`, if that is not a matter of levels.
fn keep_in_chain(chain: &Chain, stores: &[Store], store: &Store, from: u32) -> Option<Keep> {
    let first = u64::from(from);
    if store.name() == chain.numbers.name() {
        return Some(Keep::Filter(Box::new(move |record, _| {
            Ok(u64::decode(record.key())? >= first)
        })));
    }
    if store.name() != chain.transactions.name() {
        return None;
    }
    let blocks = stores.iter().find(|store| store.name() == chain.blocks.name())?.clone();
    Some(Keep::Filter(Box::new(move |record, now| {
        // Bound with its block, or with a later one: too old then, and so is the block.
        if record.level().is_some_and(|level| level < from) {
            return Ok(false);
        }
        let (block, _) = <(Hash, u32)>::decode(record.fixed())?;
        let header = now.get(&blocks, &block, BlockHeader::decode)?.transpose()?;
        Ok(header.is_some_and(|header| header.number >= first))
    })))
}

/// Waits for the end of a collection, and shows how far it is; cancels it when `stop` says so. `None`: it was cancelled before
/// it dropped anything.
fn watch(
    collection: &Collection,
    progress: &Progress,
    stop: &dyn Fn() -> bool,
) -> Outcome<Option<GcReport>> {
    while !collection.is_finished() {
        if stop() {
            collection.cancel();
        }
        let now = collection.progress();
        progress.set(now.entries);
        progress.say(format!("entries, {} dropped", now.dropped));
        sleep(LOOK);
    }
    match collection.wait() {
        Ok(report) => Ok(Some(report)),
        Err(Error::Cancelled) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, watch};
    use crate::output::Output;
    use rollstore::{Database, Define, Durability, Gc, GcPlan, GcReport, Indexable, Keep, Options};
    use std::cell::Cell;
    use std::sync::mpsc;

    const STORE: Define<Indexable<u32, u32>> = Define::new("store");

    /// A collection that drops all but one of ten keys, and does not get on before `stop` was asked twice; what came of it, and
    /// the keys that are left.
    fn collect(stop: impl Fn() -> bool) -> (Outcome<Option<GcReport>>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path().join("db"), Options::default()).unwrap();
        let store = db.store(STORE).unwrap();
        for key in 0..10 {
            store.put_now(&key, &key, Durability::Buffered).unwrap();
        }
        let (sender, gate) = mpsc::channel::<()>();
        let plan = GcPlan::new().keep(Keep::filter(&store, move |key, _, _| {
            // It is open when nobody can send any more.
            gate.recv().ok();
            Ok(*key == 7)
        }));
        let Gc::Started(collection) = db.gc(plan).unwrap() else { panic!("another one") };
        let (asked, sender) = (Cell::new(0), Cell::new(Some(sender)));
        let progress = Output::new(true).progress("collect", 10, false);
        let done = watch(&collection, &progress, &|| {
            asked.set(asked.get() + 1);
            if asked.get() == 2 {
                sender.take();
            }
            stop()
        });
        (done, store.iter().unwrap().count())
    }

    #[test]
    fn a_collection_that_is_stopped_drops_nothing() {
        let (done, left) = collect(|| true);
        assert!(matches!(done, Ok(None)), "{done:?}");
        assert_eq!(left, 10);
    }

    #[test]
    fn a_collection_that_nobody_stops_is_waited_for() {
        let (done, left) = collect(|| false);
        let report = done.unwrap().unwrap();
        assert_eq!((report.kept, report.dropped, left), (1, 9, 1));
    }
}
