//! The five kinds, with hashed and with sorted keys, behind [`Subject`] and [`Reader`].

use super::{
    Between, FIXED, Failure, Header, Key, Outcome, Range, Reader, Row, Rows, Subject, sum,
};
use rollstore::{
    Batch, Codec, Database, DecodeError, Define, Durability, Encodable, Entries, Error, FileKind,
    Headed, Indexable, IndexedFile, Mode, Record, Records, RemovableIndexable, Ro,
    SimpleIndexedFile, Singleton, Snapshot, Sorted, TableKind,
};

/// What tables hold.
type Fixed = [u8; FIXED];
type ByOrder = Sorted<Key>;

/// A value that carries its header, for simple indexed files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Encodable for Blob {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode_from(bytes: &[u8]) -> Result<Blob, DecodeError> {
        Ok(Blob(bytes.to_vec()))
    }
}

impl Headed for Blob {
    type Header = u32;
    fn header(&self) -> u32 {
        sum(&self.0)
    }
}

impl From<Blob> for Vec<u8> {
    fn from(blob: Blob) -> Vec<u8> {
        blob.0
    }
}

/// A kind of store, and whether its keys are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Fixed values that are never removed.
    Indexable(bool),
    /// Fixed values.
    Removable(bool),
    /// Values of any size with a header.
    File(bool),
    /// Values of any size with a header derived from them.
    Simple(bool),
    /// One value.
    Singleton,
}

const INDEXABLE: Define<Indexable<Key, Fixed>> = Define::new("indexable");
const INDEXABLE_SORTED: Define<Indexable<ByOrder, Fixed>> = Define::new("indexable_sorted");
const REMOVABLE: Define<RemovableIndexable<Key, Fixed>> = Define::new("removable");
const REMOVABLE_SORTED: Define<RemovableIndexable<ByOrder, Fixed>> =
    Define::new("removable_sorted");
const FILE: Define<IndexedFile<Key, u32, Vec<u8>>> = Define::new("file");
const FILE_SORTED: Define<IndexedFile<ByOrder, u32, Vec<u8>>> = Define::new("file_sorted");
const SIMPLE: Define<SimpleIndexedFile<Key, Blob>> = Define::new("simple");
const SIMPLE_SORTED: Define<SimpleIndexedFile<ByOrder, Blob>> = Define::new("simple_sorted");
const SINGLETON: Define<Singleton<Vec<u8>>> = Define::new("singleton");

impl Kind {
    /// All five, the keyed ones with `sorted` keys or not.
    pub fn all(sorted: bool) -> [Kind; 5] {
        [
            Kind::Indexable(sorted),
            Kind::Removable(sorted),
            Kind::File(sorted),
            Kind::Simple(sorted),
            Kind::Singleton,
        ]
    }

    /// Can keys be removed?
    pub fn removes(self) -> bool {
        matches!(self, Kind::Removable(_) | Kind::Singleton)
    }

    /// Are values always of [`FIXED`] bytes?
    pub fn fixed(self) -> bool {
        matches!(self, Kind::Removable(_) | Kind::Indexable(_))
    }

    /// Is there more than one key?
    pub fn keyed(self) -> bool {
        self != Kind::Singleton
    }

    /// The store of this kind.
    pub fn open(self, db: &Database) -> Outcome<Box<dyn Subject>> {
        Ok(match self {
            Kind::Indexable(false) => Box::new(db.store(INDEXABLE)?),
            Kind::Indexable(true) => Box::new(db.store(INDEXABLE_SORTED)?),
            Kind::Removable(false) => Box::new(db.store(REMOVABLE)?),
            Kind::Removable(true) => Box::new(db.store(REMOVABLE_SORTED)?),
            Kind::File(false) => Box::new(db.store(FILE)?),
            Kind::File(true) => Box::new(db.store(FILE_SORTED)?),
            Kind::Simple(false) => Box::new(db.store(SIMPLE)?),
            Kind::Simple(true) => Box::new(db.store(SIMPLE_SORTED)?),
            Kind::Singleton => Box::new(db.store(SINGLETON)?),
        })
    }

    /// The same in a database that is open read-only, or through its read-only handles.
    pub fn open_read_only(self, db: &Database<Ro>) -> Outcome<Box<dyn Reader>> {
        Ok(match self {
            Kind::Indexable(false) => Box::new(db.store(INDEXABLE)?),
            Kind::Indexable(true) => Box::new(db.store(INDEXABLE_SORTED)?),
            Kind::Removable(false) => Box::new(db.store(REMOVABLE)?),
            Kind::Removable(true) => Box::new(db.store(REMOVABLE_SORTED)?),
            Kind::File(false) => Box::new(db.store(FILE)?),
            Kind::File(true) => Box::new(db.store(FILE_SORTED)?),
            Kind::Simple(false) => Box::new(db.store(SIMPLE)?),
            Kind::Simple(true) => Box::new(db.store(SIMPLE_SORTED)?),
            Kind::Singleton => Box::new(db.store(SINGLETON)?),
        })
    }
}

/// Keys in either order, and what only sorted ones have.
trait Pool: rollstore::Key<Item = Key> + 'static {
    fn table_range<T: TableKind, M: Mode>(
        _: &rollstore::Table<Self, Fixed, T, M>,
        _: Between<'_>,
    ) -> Outcome<Option<Range>>
    where
        Self: Sized,
    {
        Ok(None)
    }
    fn table_ends<T: TableKind, M: Mode>(
        _: &rollstore::Table<Self, Fixed, T, M>,
    ) -> Outcome<Option<[Option<Row>; 2]>>
    where
        Self: Sized,
    {
        Ok(None)
    }
    fn file_range<V: Bytes, T: FileKind, M: Mode>(
        _: &rollstore::File<Self, u32, V, T, M>,
        _: Between<'_>,
    ) -> Outcome<Option<Range>>
    where
        Self: Sized,
    {
        Ok(None)
    }
    fn file_ends<V: Bytes, T: FileKind, M: Mode>(
        _: &rollstore::File<Self, u32, V, T, M>,
    ) -> Outcome<Option<[Option<Row>; 2]>>
    where
        Self: Sized,
    {
        Ok(None)
    }
}

/// Values of any size.
trait Bytes: Codec<Item = Self> + Into<Vec<u8>> + Send + Sync + 'static {}
impl Bytes for Vec<u8> {}
impl Bytes for Blob {}

impl Pool for Key {}

impl Pool for ByOrder {
    fn table_range<T: TableKind, M: Mode>(
        table: &rollstore::Table<Self, Fixed, T, M>,
        between: Between<'_>,
    ) -> Outcome<Option<Range>> {
        let range: Entries<ByOrder, Fixed> = table.range(between)?;
        Ok(Some(Box::new(range.map(|entry| Ok(table_row(entry?))))))
    }
    fn table_ends<T: TableKind, M: Mode>(
        table: &rollstore::Table<Self, Fixed, T, M>,
    ) -> Outcome<Option<[Option<Row>; 2]>> {
        Ok(Some([table.first()?.map(table_row), table.last()?.map(table_row)]))
    }
    fn file_range<V: Bytes, T: FileKind, M: Mode>(
        file: &rollstore::File<Self, u32, V, T, M>,
        between: Between<'_>,
    ) -> Outcome<Option<Range>> {
        let range: Records<ByOrder, u32, V> = file.range(between)?;
        Ok(Some(Box::new(range.map(|record| file_row(&record?)))))
    }
    fn file_ends<V: Bytes, T: FileKind, M: Mode>(
        file: &rollstore::File<Self, u32, V, T, M>,
    ) -> Outcome<Option<[Option<Row>; 2]>> {
        let row = |found: Option<Record<ByOrder, u32, V>>| found.map(|r| file_row(&r)).transpose();
        Ok(Some([row(file.first()?)?, row(file.last()?)?]))
    }
}

fn table_row((key, value): (Key, Fixed)) -> Row {
    Row { key, header: value.to_vec(), value: value.to_vec() }
}

fn file_row<K: Pool, V: Bytes>(record: &Record<K, u32, V>) -> Outcome<Row> {
    let header = record.header().to_be_bytes().to_vec();
    Ok(Row { key: *record.key(), header, value: record.value()?.into() })
}

fn closed<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Closed))
}

/// A value of a table; the runner makes them of the right length.
fn whole(value: &[u8]) -> Fixed {
    let mut fixed = [0; FIXED];
    fixed.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
    fixed
}

impl<K: Pool, T: TableKind, M: Mode> Reader for rollstore::Table<K, Fixed, T, M> {
    fn contains(&self, key: &Key) -> Outcome<bool> {
        Ok(self.contains(key)?)
    }
    fn header(&self, key: &Key) -> Outcome<Option<Vec<u8>>> {
        Ok(self.get(key)?.map(|value| value.to_vec()))
    }
    fn read(&self, key: &Key) -> Outcome<Option<Row>> {
        Ok(self.get(key)?.map(|value| table_row((*key, value))))
    }
    fn level(&self, key: &Key) -> Outcome<Option<Option<u32>>> {
        Ok(self.level(key)?)
    }
    fn rows(&self) -> Outcome<Rows> {
        let entries: Entries<K, Fixed> = self.iter()?;
        Ok(Box::new(entries.map(|entry| Ok(table_row(entry?)))))
    }
    fn range(&self, between: Between<'_>) -> Outcome<Option<Range>> {
        K::table_range(self, between)
    }
    fn ends(&self) -> Outcome<Option<[Option<Row>; 2]>> {
        K::table_ends(self)
    }
    fn header_is(&self) -> Header {
        Header::Value
    }
    fn is_closed(&self) -> bool {
        closed(self.get(&[0; 32])) && closed(self.contains(&[0; 32])) && closed(self.iter())
    }
}

impl<K: Pool, V: Bytes, T: FileKind, M: Mode> Reader for rollstore::File<K, u32, V, T, M> {
    fn contains(&self, key: &Key) -> Outcome<bool> {
        Ok(self.contains(key)?)
    }
    fn header(&self, key: &Key) -> Outcome<Option<Vec<u8>>> {
        Ok(self.header(key)?.map(|header| header.to_be_bytes().to_vec()))
    }
    fn read(&self, key: &Key) -> Outcome<Option<Row>> {
        let row = |(value, header): (V, u32)| {
            let header = header.to_be_bytes().to_vec();
            Row { key: *key, header, value: value.into() }
        };
        Ok(self.read(key)?.map(row))
    }
    fn level(&self, key: &Key) -> Outcome<Option<Option<u32>>> {
        Ok(self.level(key)?)
    }
    fn rows(&self) -> Outcome<Rows> {
        let records: Records<K, u32, V> = self.iter()?;
        Ok(Box::new(records.map(|record| file_row(&record?))))
    }
    fn range(&self, between: Between<'_>) -> Outcome<Option<Range>> {
        K::file_range(self, between)
    }
    fn ends(&self) -> Outcome<Option<[Option<Row>; 2]>> {
        K::file_ends(self)
    }
    fn header_is(&self) -> Header {
        Header::Sum
    }
    fn is_closed(&self) -> bool {
        closed(self.read(&[0; 32])) && closed(self.header(&[0; 32])) && closed(self.iter())
    }
}

impl<M: Mode> Reader for Singleton<Vec<u8>, M> {
    fn contains(&self, _: &Key) -> Outcome<bool> {
        Ok(self.read()?.is_some())
    }
    fn header(&self, _: &Key) -> Outcome<Option<Vec<u8>>> {
        Ok(self.read()?)
    }
    fn read(&self, key: &Key) -> Outcome<Option<Row>> {
        Ok(self.read()?.map(|value| Row { key: *key, header: value.clone(), value }))
    }
    fn level(&self, _: &Key) -> Outcome<Option<Option<u32>>> {
        Err(Failure("a singleton tells no level".to_owned()))
    }
    fn rows(&self) -> Outcome<Rows> {
        let row = Reader::read(self, &super::key(0))?;
        Ok(Box::new(row.into_iter().map(Ok)))
    }
    fn range(&self, _: Between<'_>) -> Outcome<Option<Range>> {
        Ok(None)
    }
    fn ends(&self) -> Outcome<Option<[Option<Row>; 2]>> {
        Ok(None)
    }
    fn header_is(&self) -> Header {
        Header::None
    }
    fn is_closed(&self) -> bool {
        closed(self.read())
    }
}

macro_rules! subject {
    ($store:ty, [$($generic:tt)*], |$own:ident, $batch:ident, $key:ident, $value:ident|
        $put:expr, $put_now:expr $(, $remove:expr)?) => {
        impl<$($generic)*> Subject for $store {
            fn put(&self, $batch: &mut Batch, $key: &Key, $value: &[u8]) {
                let $own = self;
                $put
            }
            fn put_now(&self, $key: &Key, $value: &[u8], how: Durability) -> Outcome {
                let $own = self;
                Ok($put_now(how)?)
            }
            $(fn remove(&self, $batch: &mut Batch, $key: &Key) {
                let $own = self;
                $remove
            })?
            fn now(&self) -> Box<dyn Reader> {
                Box::new(self.clone())
            }
            fn at(&self, snapshot: &Snapshot) -> Box<dyn Reader> {
                Box::new(self.at(snapshot))
            }
        }
    };
}

subject!(Indexable<K, Fixed>, [K: Pool], |own, batch, key, value|
    own.put(batch, key, &whole(value)),
    |how| own.put_now(key, &whole(value), how));
subject!(RemovableIndexable<K, Fixed>, [K: Pool], |own, batch, key, value|
    own.put(batch, key, &whole(value)),
    |how| own.put_now(key, &whole(value), how),
    own.remove(batch, key));
subject!(IndexedFile<K, u32, Vec<u8>>, [K: Pool], |own, batch, key, value|
    own.append(batch, key, &sum(value), &value.to_vec()),
    |how| own.append_now(key, &sum(value), &value.to_vec(), how));
subject!(SimpleIndexedFile<K, Blob>, [K: Pool], |own, batch, key, value|
    own.append(batch, key, &Blob(value.to_vec())),
    |how| own.append_now(key, &Blob(value.to_vec()), how));
subject!(
    Singleton<Vec<u8>>,
    [],
    |own, batch, _key, value| own.write(batch, &value.to_vec()),
    |how| own.write_now(&value.to_vec(), how),
    own.delete(batch)
);
