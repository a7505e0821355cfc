//! Stores: finding one by its name, and making one.

use super::{Core, StoreSpec};
use crate::edit::Edit;
use crate::error::{Error, Result};
use crate::format::prefix::{Mixer, SALT_BYTES};
use crate::install::Copies;
use crate::limits::{NAME_BYTES_MAX, STORES_MAX};
use crate::options::Access;
use crate::tree::StoreMeta;
use crate::version::Store;
use std::sync::Arc;

impl Core {
    /// The store of this name and shape; if it is not there and the caller `may_make` it, a writer does.
    pub(crate) fn store(&self, spec: &StoreSpec, may_make: bool) -> Result<Store> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        spec.shape.check()?;
        let len = spec.name.len();
        if len == 0 || len > NAME_BYTES_MAX {
            let (len, max) = (len as u64, NAME_BYTES_MAX as u64);
            return Err(Error::Limit { what: "store name length", len, max });
        }
        let _turn = self.turn()?;
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if let Some(store) = self.existing(spec)? {
            if self.access == Access::ReadWrite {
                self.installer.settle()?;
            }
            return Ok(store);
        }
        if self.access == Access::ReadOnly || !may_make {
            return Err(Error::NotFound { what: format!("store {:?}", spec.name) });
        }
        let stores = self.cell.load().stores.len();
        let id = u16::try_from(stores).unwrap_or(u16::MAX);
        if stores >= STORES_MAX {
            let (len, max) = (stores as u64 + 1, STORES_MAX as u64);
            return Err(Error::Limit { what: "number of stores", len, max });
        }
        let mut salt = [0; SALT_BYTES];
        let drawn = self.vfs.random(&mut salt);
        drawn.map_err(|e| Error::io("draw random bytes for", &self.dir, e))?;
        let (name, shape, mixer) = (spec.name.clone(), spec.shape, Mixer::new(&salt));
        let database = self.shared.database;
        let meta = StoreMeta { id, name, shape, internal: false, salt, mixer, database };
        self.installer.install(Edit::Store(Arc::new(meta)), Copies::Two)?;
        self.installer.settle()?;
        let made = self.existing(spec)?;
        made.ok_or_else(|| Error::NotFound { what: format!("store {:?}", spec.name) })
    }

    fn existing(&self, spec: &StoreSpec) -> Result<Option<Store>> {
        let version = self.cell.load();
        let found = version.stores.iter().find(|state| state.meta.name == spec.name);
        let Some(state) = found else { return Ok(None) };
        if state.meta.shape != spec.shape {
            let (stored, asked) = (state.meta.shape.to_string(), spec.shape.to_string());
            return Err(Error::Schema { store: spec.name.clone(), stored, asked });
        }
        Ok(Some(Store { meta: Arc::clone(&state.meta) }))
    }
}
