//! `get` and `head`: one block, one transaction, one key, the end of the chain.

use crate::args::{Get, Head};
use crate::chain::stores::{BlockHeader, Chain, missing};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Report, hex, unhex, write_out};
use crate::rlp::Hash;
use rollstore::{Database, Options, Ro};
use rollstore_engine::{Store, StoreKind, View};

/// Runs `get`.
pub(crate) fn run(args: &Get, output: Output) -> Outcome {
    let db = Database::open_read_only(&args.common.db, Options::default())?;
    match (args.what.as_str(), &args.key) {
        ("block" | "tx", None) => {
            Err(Failure::Usage(format!("get {} wants to know which", args.what)))
        }
        ("block", Some(which)) => block(&Chain::of(&db)?, which, args.raw, output),
        ("tx", Some(hash)) => transaction(&Chain::of(&db)?, hash, args.raw, output),
        (store, key) => entry(&db, store, key.as_deref(), args.raw, output),
    }
}

/// Runs `head`.
pub(crate) fn head(args: &Head, output: Output) -> Outcome {
    let db = Database::open_read_only(&args.common.db, Options::default())?;
    let chain = Chain::of(&db)?;
    let (base, head) = chain.ends()?;
    let header = chain.blocks.header(&head.hash)?.ok_or_else(|| missing(&head.hash))?;
    let report = facts(Report::new(), &head.hash, &header);
    output.print(&report.name("base", base.number).field("base_hash", hex(&base.hash)))
}

fn facts(report: Report, hash: &Hash, header: &BlockHeader) -> Report {
    report
        .name("number", header.number)
        .field("hash", hex(hash))
        .field("parent", hex(&header.parent))
        .name("timestamp", header.timestamp)
        .field("state_root", hex(&header.state_root))
        .field("transactions", header.transactions)
}

/// A hash as it is typed.
fn hash_of(text: &str) -> Option<Hash> {
    unhex(text).and_then(|bytes| Hash::try_from(bytes).ok())
}

fn block(chain: &Chain<Ro>, which: &str, raw: bool, output: Output) -> Outcome {
    // By number, the chain says that the block is there; by hash, only the caller does.
    let (hash, absent) = match (which.parse(), hash_of(which)) {
        (Ok(number), _) => match chain.numbers.get(&number)? {
            Some(hash) => (hash, missing(&hash)),
            None => {
                let (base, head) = chain.ends()?;
                let (first, last) = (base.number, head.number);
                let text = format!("block {number}: the chain goes from {first} to {last}");
                return Err(Failure::NotFound(text));
            }
        },
        (Err(_), Some(hash)) => (hash, Failure::NotFound(format!("block {}", hex(&hash)))),
        (Err(_), None) => {
            let text = format!("{which} is neither the number of a block nor the hash of one");
            return Err(Failure::Usage(text));
        }
    };
    let (rlp, header) = chain.block(&hash)?.ok_or(absent)?;
    if raw {
        return write_out(&rlp);
    }
    let canonical = chain.is_canonical(header.number, &hash)?;
    let report = facts(Report::new(), &hash, &header).field("canonical", canonical);
    output.print(&report.field("bytes", rlp.len()).field("rlp", hex(&rlp)))
}

fn transaction(chain: &Chain<Ro>, hash: &str, raw: bool, output: Output) -> Outcome {
    let Some(hash) = hash_of(hash) else {
        return Err(Failure::Usage(format!("{hash} is not the hash of a transaction")));
    };
    let Some((block, index)) = chain.transactions.get(&hash)? else {
        return Err(Failure::NotFound(format!("transaction {}", hex(&hash))));
    };
    let parsed = chain.parsed(&block)?;
    let bytes = parsed.transaction(index).ok().flatten().ok_or_else(|| {
        Failure::Damaged(format!("block {} has no transaction {index}", hex(&block)))
    })?;
    if raw {
        return write_out(&bytes);
    }
    let number = parsed.facts.number;
    let report = Report::new()
        .field("hash", hex(&hash))
        .field("block", hex(&block))
        .name("number", number)
        .field("index", index)
        .field("canonical", chain.is_canonical(number, &block)?);
    output.print(&report.field("bytes", bytes.len()).field("transaction", hex(&bytes)))
}

/// What a key of any store is bound to.
struct Entry {
    level: Option<u32>,
    /// Of an indexed file.
    header: Option<Vec<u8>>,
    value: Vec<u8>,
}

fn entry(db: &Database<Ro>, name: &str, key: Option<&str>, raw: bool, output: Output) -> Outcome {
    let stores = db.engine().stores();
    let Some(store) = stores.iter().find(|store| store.name() == name) else {
        let names: Vec<&str> = stores.iter().map(Store::name).collect();
        let text = format!("store {name:?}; there are: {}", names.join(", "));
        return Err(Failure::NotFound(text));
    };
    let key = key_of(store, key)?;
    let Some(found) = look_up(&db.engine().view()?, store, &key)? else {
        let which = if key.is_empty() { String::new() } else { format!(" {}", hex(&key)) };
        return Err(Failure::NotFound(format!("{name}{which}")));
    };
    if raw {
        return write_out(&found.value);
    }
    let mut report =
        Report::new().field("store", name).field("kind", store.shape().kind.to_string());
    if !key.is_empty() {
        report = report.field("key", hex(&key)).name("level", found.level);
    }
    if let Some(header) = &found.header {
        report = report.field("header", hex(header));
    }
    output.print(&report.field("bytes", found.value.len()).field("value", hex(&found.value)))
}

/// The bytes of a key of `store` as it is typed.
fn key_of(store: &Store, key: Option<&str>) -> Outcome<Vec<u8>> {
    let len = usize::from(store.shape().key_bytes);
    let name = store.name();
    match (key, len) {
        (None, 0) => Ok(Vec::new()),
        (Some(_), 0) => Err(Failure::Usage(format!("{name} is a singleton and has no keys"))),
        (None, _) => Err(Failure::Usage(format!("{name} wants a key of {len} bytes"))),
        (Some(text), _) => match unhex(text) {
            Some(key) if key.len() == len => Ok(key),
            _ => {
                let digits = len * 2;
                Err(Failure::Usage(format!(
                    "{text} is no key of {name}: those have {len} bytes, {digits} hexadecimal digits"
                )))
            }
        },
    }
}

fn look_up(view: &View, store: &Store, key: &[u8]) -> rollstore::Result<Option<Entry>> {
    let kind = store.shape().kind;
    if kind == StoreKind::Singleton {
        let found = view.singleton(store)?;
        return Ok(found.map(|value| Entry { level: None, header: None, value: value.to_vec() }));
    }
    let level = view.level(store, key)?.flatten();
    if kind.has_values() {
        let found = view.read(store, key, <[u8]>::to_vec)?;
        return Ok(found.map(|(header, value)| Entry {
            level,
            header: Some(header),
            value: value.to_vec(),
        }));
    }
    let found = view.get(store, key, <[u8]>::to_vec)?;
    Ok(found.map(|value| Entry { level, header: None, value }))
}
