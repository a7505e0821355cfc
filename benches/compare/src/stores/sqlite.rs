//! SQLite, through rusqlite: a table for each place, a connection for each thread that reads.

use crate::store::{Durability, Keys, Place, Result, Rival, Store, Write, without_levels};
use rusqlite::{Connection, OptionalExtension};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thread_local::ThreadLocal;

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "sqlite",
        packages: &["rusqlite", "libsqlite3-sys"],
        options: "WAL; cache 64 MiB a connection; mmap off; synchronous FULL, buffered: NORMAL",
        syncs: true,
        open: |path, durability| open(path, durability, 0),
    },
    Rival {
        name: "sqlite-mmap",
        packages: &["rusqlite", "libsqlite3-sys"],
        options: "WAL; cache 64 MiB a connection; mmap 16 GiB, of which the bundled build takes 2; \
                  synchronous FULL, buffered: NORMAL",
        syncs: true,
        open: |path, durability| open(path, durability, 16 << 30),
    },
];

/// How long a checkpoint waits for those who read.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database with a table for each place.
struct Sqlite {
    settings: Settings,
    writer: Mutex<Connection>,
    readers: ThreadLocal<Connection>,
    get: [String; Place::ALL.len()],
    put: [String; Place::ALL.len()],
    delete: [String; Place::ALL.len()],
}

/// What every connection is opened with.
struct Settings {
    file: PathBuf,
    synchronous: &'static str,
    mmap: u64,
}

impl Settings {
    /// Opens a connection.
    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.file)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(3 * Place::ALL.len());
        let Settings { synchronous, mmap, .. } = self;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
             PRAGMA cache_size = -65536; PRAGMA mmap_size = {mmap};"
        ))?;
        Ok(connection)
    }
}

/// Opens or makes a database.
fn open(path: &Path, durability: Durability, mmap: u64) -> Result<Box<dyn Store>> {
    fs::create_dir_all(path)?;
    let synchronous = match durability {
        Durability::Buffered => "NORMAL",
        Durability::Synced => "FULL",
    };
    let settings = Settings { file: path.join("sqlite"), synchronous, mmap };
    let writer = settings.connect()?;
    for place in Place::ALL {
        writer.execute_batch(&create(place))?;
    }
    Ok(Box::new(Sqlite {
        settings,
        writer: Mutex::new(writer),
        readers: ThreadLocal::new(),
        get: Place::ALL.map(|place| format!("SELECT value FROM {} WHERE key = ?", place.name())),
        put: Place::ALL.map(|place| format!("REPLACE INTO {} VALUES (?, ?)", place.name())),
        delete: Place::ALL.map(|place| format!("DELETE FROM {} WHERE key = ?", place.name())),
    }))
}

/// Makes the table of a place; large values stay out of the tree of the keys.
fn create(place: Place) -> String {
    let (name, rowid) = (place.name(), if place.is_large() { "" } else { "WITHOUT ROWID" });
    format!(
        "CREATE TABLE IF NOT EXISTS {name} \
         (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL) {rowid}"
    )
}

/// Copies the log to the database and empties it; both are synced.
fn checkpoint(connection: &Connection) -> Result<()> {
    match connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))? {
        0 => Ok(()),
        _busy => Err("readers kept the checkpoint from its end".into()),
    }
}

impl Sqlite {
    /// The connection that writes.
    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops keys in one transaction.
    fn delete(&self, keys: &[(Place, Vec<u8>)]) -> Result<()> {
        let mut writer = self.writer();
        let txn = writer.transaction()?;
        for (place, key) in without_levels(keys) {
            txn.prepare_cached(&self.delete[*place as usize])?.execute([key])?;
        }
        Ok(txn.commit()?)
    }
}

impl Store for Sqlite {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        let mut writer = self.writer();
        let txn = writer.transaction()?;
        for (place, key, value) in writes.iter().flat_map(Write::puts) {
            txn.prepare_cached(&self.put[place as usize])?.execute((key, value))?;
        }
        Ok(txn.commit()?)
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let reader = self.readers.get_or_try(|| self.settings.connect())?;
        let mut statement = reader.prepare_cached(&self.get[place as usize])?;
        let seen = statement.query_row([key], |row| {
            see(row.get_ref(0)?.as_blob()?);
            Ok(())
        });
        Ok(seen.optional()?.is_some())
    }

    fn sync(&self) -> Result<()> {
        checkpoint(&self.writer())
    }

    fn drop_below(&self, level: u32, keys: &Keys) -> Result<()> {
        let levels = Place::Levels.name();
        let sql = format!("DELETE FROM {levels} WHERE key < ?");
        self.writer().execute(&sql, [level.to_be_bytes()])?;
        keys.chunks(1_000).try_for_each(|keys| self.delete(keys))
    }

    fn give_back(&self) -> Result<()> {
        let writer = self.writer();
        writer.execute_batch("VACUUM")?;
        checkpoint(&writer)
    }

    fn idle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Sqlite { writer, readers, .. } = *self;
        for reader in readers {
            reader.close().map_err(|(_, error)| error)?;
        }
        let writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        checkpoint(&writer)?;
        Ok(writer.close().map_err(|(_, error)| error)?)
    }
}
