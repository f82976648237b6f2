//! Which checks a body must pass, and which ones only have a say.
//!
//! With `verify: strict` the index's word is a check like any other: the last bytes are held back until it has passed. With
//! `verify: warn` a package must be whole in itself, and what the index says of it is a second opinion: heard at the end,
//! when the bytes are out already, and a reason not to keep them.

use std::sync::{Arc, OnceLock};

use artifactapi_formats::{Checker, Invalid, Limits, ReadSeek, Role, Sha256};

use super::super::fill::Order;
use crate::config::Verify;

/// What the index's check had to say against bytes that were passed on.
#[derive(Debug, Clone, Default)]
pub(super) struct Opinion(Arc<OnceLock<String>>);

impl Opinion {
    /// The objection, if there was one.
    pub(super) fn objection(&self) -> Option<String> {
        self.0.get().cloned()
    }

    fn object(&self, why: &Invalid) {
        // The first objection is the one that explains the others.
        let _ = self.0.set(why.to_string());
    }
}

/// The checks for what is ordered.
pub(super) fn checkers(order: &Order, verify: Verify, limits: &Limits) -> (Option<Box<dyn Checker>>, Option<Opinion>) {
    let of = |expected| order.repository.format.checker(&order.target.path, expected, limits);
    match (order.role, verify, &order.expected) {
        (Role::Package, Verify::Warn, Some(expected)) => {
            let opinion = Opinion::default();
            let second = of(Some(expected)).map(|checker| Second { checker: Some(checker), opinion: opinion.clone() });
            (Some(Box::new(Both { must_pass: of(None), second })), Some(opinion))
        }
        (Role::Package, Verify::Off, _) => (of(None), None),
        (_, _, expected) => (of(expected.as_ref()), None),
    }
}

struct Second {
    checker: Option<Box<dyn Checker>>,
    opinion: Opinion,
}

/// A check that must pass, and one that has a say.
struct Both {
    must_pass: Option<Box<dyn Checker>>,
    second: Option<Second>,
}

impl Checker for Both {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        if let Some(Second { checker: slot, opinion }) = &mut self.second
            && let Some(Err(why)) = slot.as_mut().map(|checker| checker.update(bytes))
        {
            opinion.object(&why);
            *slot = None;
        }
        self.must_pass.as_mut().map_or(Ok(()), |checker| checker.update(bytes))
    }

    fn finish(self: Box<Self>, whole: &mut dyn ReadSeek, sha256: &Sha256) -> Result<(), Invalid> {
        if let Some(Second { checker: Some(checker), opinion }) = self.second
            && let Err(why) = checker.finish(whole, sha256)
        {
            opinion.object(&why);
        }
        match self.must_pass {
            Some(checker) => {
                whole.rewind().map_err(Invalid::Read)?;
                checker.finish(whole, sha256)
            }
            None => Ok(()),
        }
    }
}
