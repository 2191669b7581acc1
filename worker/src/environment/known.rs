//! What earlier requests came to: a request that was seen before costs a look into a table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::base::Base;
use super::store::Store;
use super::{Environment, Needs, Packages};

/// Requests remembered; when there are more, all are forgotten.
const MOST: usize = 1024;

/// What requests with the same needs got, as long as the interpreter's own packages are the same.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    base: Weak<Base>,
    answers: HashMap<Needs, Answer>,
}

#[derive(Debug)]
enum Answer {
    Base,
    /// Not held: it may be removed when it is not in use.
    Environment {
        key: String,
        environment: Weak<Environment>,
    },
}

impl Known {
    /// What `needs` came to, if it is still there.
    pub(super) fn find(&self, needs: &Needs, base: &Arc<Base>, store: &Store) -> Option<Packages> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.base.as_ptr() != Arc::as_ptr(base) {
            return None;
        }
        match table.answers.get_mut(needs)? {
            Answer::Base => Some(Packages::Base),
            Answer::Environment { key, environment } => {
                let held = match environment.upgrade() {
                    Some(held) => held,
                    None => Arc::new(store.open(key).ok()??),
                };
                *environment = Arc::downgrade(&held);
                Some(Packages::Environment(held))
            }
        }
    }

    /// Remembers what `needs` came to.
    pub(super) fn remember(&self, needs: &Needs, base: &Arc<Base>, packages: &Packages) {
        let answer = match packages {
            Packages::Base => Answer::Base,
            Packages::Environment(environment) => {
                Answer::Environment { key: environment.key.clone(), environment: Arc::downgrade(environment) }
            }
        };
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.base.as_ptr() != Arc::as_ptr(base) || table.answers.len() >= MOST {
            *table = Table { base: Arc::downgrade(base), answers: HashMap::new() };
        }
        table.answers.insert(needs.clone(), answer);
    }
}
