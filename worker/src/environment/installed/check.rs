//! Following requirements through what is installed.
//!
//! Each requirement is looked at with the extras it asks for, as uv does: `a[x]` leads to what `a` requires for
//! `x`, and `a[all]` through a requirement of `a` on itself to everything.

use std::collections::HashSet;

use pep508_rs::{ExtraName, PackageName, VersionOrUrl};

use super::super::requirement::{Named, Requirement, redact};
use super::distribution::Distribution;
use super::specifiers::admit;
use super::verdict::{Lack, Reason, Verdict};
use super::{Found, Installed};

/// A requirement to look at, and whose it is.
struct Wanted<'a> {
    requirement: &'a Named,
    by: Option<&'a PackageName>,
}

/// What is left to look at, and what has been.
struct Walk<'a> {
    installed: &'a Installed,
    wanted: Vec<Wanted<'a>>,
    seen: HashSet<(&'a PackageName, &'a [ExtraName])>,
}

/// Whether `installed` has all of `requirements`, and all that those require.
pub(super) fn check(installed: &Installed, requirements: &[Requirement]) -> Verdict {
    let mut walk = Walk { installed, wanted: Vec::new(), seen: HashSet::new() };
    for requirement in requirements {
        let Some(named) = requirement.named() else {
            let requirement = redact(&requirement.to_string());
            return Lack { requirement, required_by: None, reason: Reason::Direct }.into();
        };
        if named.evaluate_markers(&installed.markers.environment, &[]) {
            walk.wanted.push(Wanted { requirement: named, by: None });
        }
    }
    while let Some(wanted) = walk.wanted.pop() {
        if let Err(lack) = walk.look_at(&wanted) {
            return lack.into();
        }
    }
    Verdict::SATISFIED
}

impl<'a> Walk<'a> {
    fn look_at(&mut self, wanted: &Wanted<'a>) -> Result<(), Lack> {
        let Wanted { requirement, by } = *wanted;
        let lack =
            |reason| Lack { requirement: redact(&requirement.to_string()), required_by: by.cloned(), reason };
        let distribution = self.find(requirement).map_err(lack)?;
        if self.seen.insert((&requirement.name, &requirement.extras)) {
            self.follow(requirement, distribution).map_err(|(text, reason)| match text {
                Some(text) => {
                    Lack { requirement: redact(text), required_by: Some(requirement.name.clone()), reason }
                }
                None => lack(reason),
            })?;
        }
        Ok(())
    }

    /// The distribution that satisfies a requirement.
    fn find(&self, requirement: &Named) -> Result<&'a Distribution, Reason> {
        let distribution = match self.installed.found.get(&requirement.name) {
            None => return Err(Reason::Missing),
            Some(Found::Unusual(reason, _)) => return Err(reason.clone()),
            Some(Found::One(distribution)) => distribution,
        };
        match &requirement.version_or_url {
            Some(VersionOrUrl::Url(_)) => Err(Reason::Direct),
            Some(VersionOrUrl::VersionSpecifier(specifiers))
                if !admit(specifiers, distribution.version()) =>
            {
                Err(Reason::Version(distribution.version_text().to_owned()))
            }
            _ => Ok(distribution),
        }
    }

    /// Puts what a distribution requires on the list. An error has the requirement's text, if it is about one.
    fn follow(
        &mut self,
        requirement: &'a Named,
        distribution: &'a Distribution,
    ) -> Result<(), (Option<&'a str>, Reason)> {
        let markers = &self.installed.markers;
        let metadata = distribution.metadata(&requirement.name, markers).map_err(|reason| (None, reason))?;
        for required in &metadata.requires {
            if required.is_for_other_extras(&requirement.extras) {
                continue;
            }
            let named = required.named().ok_or((Some(required.text()), Reason::Unclear))?;
            if named.evaluate_markers(&markers.environment, &requirement.extras) {
                self.wanted.push(Wanted { requirement: named, by: Some(&requirement.name) });
            }
        }
        Ok(())
    }
}
