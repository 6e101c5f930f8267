//! The tables and what stands in them: JSON records by key.

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, WriteTransaction,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    super::{DELIVERIES_KEPT, Delivery, FORMAT_VERSION, Observed, Saved, Write},
    failure::Failure,
};
use crate::model::{key::ProjectionKey, receiver::ReceiverId, value::State};

type Records<K> = TableDefinition<'static, K, &'static [u8]>;

/// The store's own facts, under the names below.
const META: Records<&str> = TableDefinition::new("meta");
/// Heads and values apart, so that a start reads no values.
const HEADS: Records<&str> = TableDefinition::new("observed_heads");
const VALUES: Records<&str> = TableDefinition::new("observed_values");
/// By receiver, then projection.
const ENTRIES: Records<(&str, &str)> = TableDefinition::new("entries");
const LEASES: Records<&str> = TableDefinition::new("leases");
const RECEIVERS: Records<&str> = TableDefinition::new("receivers");
/// By a number that only grows.
const DELIVERIES: Records<u64> = TableDefinition::new("deliveries");

/// [`META`]: the [`FORMAT_VERSION`].
const FORMAT: &str = "format";
/// [`META`]: whether pushing is paused.
const PAUSED: &str = "paused";
/// [`META`]: how many commits there were. Tells whether the last one is in the file.
const COMMITS: &str = "commits";

/// The name of one record.
enum Row {
    Meta(&'static str),
    Head(ProjectionKey),
    Value(ProjectionKey),
    Entry(ReceiverId, ProjectionKey),
    Lease(ReceiverId),
    Receiver(ReceiverId),
    Delivery(u64),
}

/// What a commit replaced.
pub(super) struct Undo {
    /// The number of the commit.
    commit: u64,
    /// The records as they were, in the order in which they were replaced.
    replaced: Vec<(Row, Option<Vec<u8>>)>,
}

/// Makes the tables of an empty database.
pub(super) fn begin(db: &Database) -> Result<(), Failure> {
    let transaction = db.begin_write()?;
    put(&transaction, META, FORMAT, Some(&encode(&FORMAT_VERSION)?))?;
    put(&transaction, META, PAUSED, Some(&encode(&false)?))?;
    put(&transaction, META, COMMITS, Some(&encode(&0_u64)?))?;
    for table in [HEADS, VALUES, LEASES, RECEIVERS] {
        transaction.open_table(table)?;
    }
    transaction.open_table(ENTRIES)?;
    transaction.open_table(DELIVERIES)?;
    Ok(transaction.commit()?)
}

/// Whether the records are of this version, and every one can be read.
pub(super) fn check(db: &Database) -> Result<(), Failure> {
    let transaction = db.begin_read()?;
    match meta(&transaction.open_table(META)?, FORMAT)? {
        0 => return Err(Failure::Damaged("its format version is 0".to_owned())),
        version if version > FORMAT_VERSION => return Err(Failure::TooNew(version)),
        _ => {}
    }
    meta::<u64>(&transaction.open_table(META)?, COMMITS)?;
    let observed = load(db)?.observed;
    let mut values = 0;
    for_each(&transaction, VALUES, |key, _: State| values += usize::from(observed.contains_key(key)))?;
    if values != observed.len() {
        return Err(Failure::Damaged("an observed projection has no value".to_owned()));
    }
    for_each(&transaction, DELIVERIES, |_, _: Delivery| {})
}

/// Everything but the observed values.
pub(super) fn load(db: &Database) -> Result<Saved, Failure> {
    let transaction = db.begin_read()?;
    let mut saved = Saved { paused: meta(&transaction.open_table(META)?, PAUSED)?, ..Saved::default() };
    for_each(&transaction, HEADS, |key, head| {
        saved.observed.insert(ProjectionKey::new(key), head);
    })?;
    for_each(&transaction, RECEIVERS, |id, record| {
        saved.receivers.entry(ReceiverId::new(id)).or_default().record = record;
    })?;
    for_each(&transaction, ENTRIES, |(id, key), entry| {
        saved.receivers.entry(ReceiverId::new(id)).or_default().entries.insert(ProjectionKey::new(key), entry);
    })?;
    for_each(&transaction, LEASES, |id, lease| {
        saved.receivers.entry(ReceiverId::new(id)).or_default().lease = Some(lease);
    })?;
    Ok(saved)
}

/// The observed values of `keys`, in their order.
pub(super) fn observed(db: &Database, keys: &[ProjectionKey]) -> Result<Vec<Option<Observed>>, Failure> {
    let transaction = db.begin_read()?;
    let heads = transaction.open_table(HEADS)?;
    let values = transaction.open_table(VALUES)?;
    keys.iter()
        .map(|key| {
            let Some(head) = heads.get(key.as_str())? else { return Ok(None) };
            let value = values.get(key.as_str())?.ok_or_else(|| missing(VALUES.name()))?;
            Ok(Some(Observed {
                head: decode(HEADS.name(), head.value())?,
                state: decode(VALUES.name(), value.value())?,
            }))
        })
        .collect()
}

/// The last `limit` deliveries, newest first.
pub(super) fn deliveries(db: &Database, limit: usize) -> Result<Vec<Delivery>, Failure> {
    let transaction = db.begin_read()?;
    let table = transaction.open_table(DELIVERIES)?;
    let newest_first = table.iter()?.rev().take(limit);
    newest_first.map(|row| decode(DELIVERIES.name(), row?.1.value())).collect()
}

/// Does all `writes`, in order, and says how to take them back.
pub(super) fn apply(transaction: &WriteTransaction, writes: &[Write]) -> Result<Undo, Failure> {
    let commit = meta::<u64>(&transaction.open_table(META)?, COMMITS)? + 1;
    let mut batch = Batch { transaction, replaced: Vec::new() };
    batch.set(Row::Meta(COMMITS), Some(&commit))?;
    for write in writes {
        batch.write(write)?;
    }
    Ok(Undo { commit, replaced: batch.replaced })
}

/// Takes a commit back if the database has it.
pub(super) fn revert(db: &Database, undo: &Undo) -> Result<(), Failure> {
    let transaction = db.begin_write()?;
    if meta::<u64>(&transaction.open_table(META)?, COMMITS)? == undo.commit {
        for (row, before) in undo.replaced.iter().rev() {
            replace(&transaction, row, before.as_deref())?;
        }
    }
    Ok(transaction.commit()?)
}

/// The writes of one transaction.
struct Batch<'a> {
    transaction: &'a WriteTransaction,
    replaced: Vec<(Row, Option<Vec<u8>>)>,
}

impl Batch<'_> {
    fn write(&mut self, write: &Write) -> Result<(), Failure> {
        match write {
            Write::Observed(key, observed) => {
                self.set(Row::Head(key.clone()), Some(&observed.head))?;
                self.set(Row::Value(key.clone()), Some(&observed.state))
            }
            Write::ForgetObserved(key) => {
                self.remove(Row::Head(key.clone()))?;
                self.remove(Row::Value(key.clone()))
            }
            Write::Entry(id, key, entry) => self.set(Row::Entry(id.clone(), key.clone()), entry.as_ref()),
            Write::Lease(id, lease) => self.set(Row::Lease(id.clone()), lease.as_ref()),
            Write::Receiver(id, record) => self.set(Row::Receiver(id.clone()), Some(record)),
            Write::ForgetReceiver(id) => {
                self.remove(Row::Receiver(id.clone()))?;
                self.remove(Row::Lease(id.clone()))?;
                self.entries(id)?.into_iter().try_for_each(|row| self.remove(row))
            }
            Write::Paused(paused) => self.set(Row::Meta(PAUSED), Some(paused)),
            Write::Delivery(delivery) => {
                let newest = self.transaction.open_table(DELIVERIES)?.last()?.map_or(0, |(number, _)| number.value());
                self.set(Row::Delivery(newest + 1), Some(delivery))?;
                self.surplus_deliveries(newest + 1)?.into_iter().try_for_each(|row| self.remove(row))
            }
        }
    }

    /// The entries of a receiver.
    fn entries(&self, id: &ReceiverId) -> Result<Vec<Row>, Failure> {
        let table = self.transaction.open_table(ENTRIES)?;
        let mut rows = Vec::new();
        for row in table.range((id.as_str(), "")..)? {
            let row = row?.0;
            let (of, key) = row.value();
            if of != id.as_str() {
                break;
            }
            rows.push(Row::Entry(id.clone(), ProjectionKey::new(key)));
        }
        Ok(rows)
    }

    /// The deliveries that are too old now.
    fn surplus_deliveries(&self, newest: u64) -> Result<Vec<Row>, Failure> {
        let Some(last) = newest.checked_sub(DELIVERIES_KEPT as u64) else { return Ok(Vec::new()) };
        let table = self.transaction.open_table(DELIVERIES)?;
        table.range(..=last)?.map(|row| Ok(Row::Delivery(row?.0.value()))).collect()
    }

    fn set<T: Serialize>(&mut self, row: Row, record: Option<&T>) -> Result<(), Failure> {
        let record = record.map(encode).transpose()?;
        let before = replace(self.transaction, &row, record.as_deref())?;
        self.replaced.push((row, before));
        Ok(())
    }

    fn remove(&mut self, row: Row) -> Result<(), Failure> {
        self.set(row, None::<&()>)
    }
}

/// Writes or removes a record, and gives the one that was there.
fn replace(transaction: &WriteTransaction, row: &Row, record: Option<&[u8]>) -> Result<Option<Vec<u8>>, Failure> {
    match row {
        Row::Meta(name) => put(transaction, META, *name, record),
        Row::Head(key) => put(transaction, HEADS, key.as_str(), record),
        Row::Value(key) => put(transaction, VALUES, key.as_str(), record),
        Row::Entry(id, key) => put(transaction, ENTRIES, (id.as_str(), key.as_str()), record),
        Row::Lease(id) => put(transaction, LEASES, id.as_str(), record),
        Row::Receiver(id) => put(transaction, RECEIVERS, id.as_str(), record),
        Row::Delivery(number) => put(transaction, DELIVERIES, *number, record),
    }
}

fn put<K: Key + 'static>(
    transaction: &WriteTransaction,
    table: Records<K>,
    key: K::SelfType<'_>,
    record: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut table = transaction.open_table(table)?;
    let before = match record {
        Some(record) => table.insert(key, record)?,
        None => table.remove(key)?,
    };
    Ok(before.map(|before| before.value().to_vec()))
}

fn for_each<K: Key + 'static, T: DeserializeOwned>(
    transaction: &ReadTransaction,
    table: Records<K>,
    mut see: impl FnMut(K::SelfType<'_>, T),
) -> Result<(), Failure> {
    for row in transaction.open_table(table)?.iter()? {
        let (key, record) = row?;
        see(key.value(), decode(table.name(), record.value())?);
    }
    Ok(())
}

fn meta<T: DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<T, Failure> {
    let record = table.get(name)?.ok_or_else(|| missing(META.name()))?;
    decode(META.name(), record.value())
}

fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(record).map_err(|error| Failure::Io(error.into()))
}

fn decode<T: DeserializeOwned>(table: &str, record: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(record)
        .map_err(|error| Failure::Damaged(format!("a record of table `{table}` cannot be read: {error}")))
}

fn missing(table: &str) -> Failure {
    Failure::Damaged(format!("a record of table `{table}` is missing"))
}
