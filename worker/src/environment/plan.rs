//! What uv says it would install.

use super::requirement::{Requirement, redact};

/// A way to satisfy some requirements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// What has to be installed: `name==version`, or `name @ url`.
    pub(super) pins: Vec<String>,
    /// Packages of the interpreter's own that another version would take the place of, as `name==version`.
    pub(super) shadowed: Vec<String>,
}

impl Plan {
    /// Reads the lines ` + name==version` and ` - name==version` of `uv pip install --dry-run`; what was not
    /// from an index is followed by ` (from url)`.
    ///
    /// `present` gives the version of one of the interpreter's own packages: uv sees only the first of its
    /// directories, not Debian's behind `/usr/local`, nor a virtual environment's base.
    pub(super) fn read<'a>(text: &str, present: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut plan = Self::default();
        for line in text.lines() {
            if let Some(pin) = line.strip_prefix(" + ") {
                let (name, version) = pin.split_once("==").unwrap_or((pin, ""));
                match present(name) {
                    Some(own) if own == version => continue,
                    Some(own) => plan.shadow(format!("{name}=={own}")),
                    None => {}
                }
                plan.pins.push(pin_of(pin));
            } else if let Some(removed) = line.strip_prefix(" - ") {
                plan.shadow(removed.split(" (from ").next().unwrap_or(removed).to_owned());
            } else if let Some(again) = line.strip_prefix(" ~ ") {
                plan.pins.push(pin_of(again));
            }
        }
        plan
    }

    fn shadow(&mut self, package: String) {
        if !self.shadowed.contains(&package) {
            self.shadowed.push(package);
        }
    }

    /// The pins as they are told and recorded, without credentials.
    pub(super) fn shown(&self) -> Vec<String> {
        self.pins.iter().map(|pin| redact(pin)).collect()
    }

    /// The pins; uv masks the passwords of those that came from a URL, so the request's own text is used there.
    pub(super) fn pins_with_credentials(&self, requirements: &[Requirement]) -> Vec<String> {
        let own = |pin: &String| {
            let (name, url) = pin.split_once(" @ ")?;
            let is_meant = |requirement: &&Requirement| {
                requirement.name() == Some(name)
                    || without_credentials(url)
                        .starts_with(without_credentials(&requirement.to_string()).as_str())
            };
            let masked = url.contains("****");
            requirements
                .iter()
                .find(|requirement| masked && is_meant(requirement))
                .map(Requirement::to_string)
        };
        self.pins.iter().map(|pin| own(pin).unwrap_or_else(|| pin.clone())).collect()
    }

    /// Whether everything is there.
    pub(super) fn is_empty(&self) -> bool {
        self.pins.is_empty()
    }
}

fn pin_of(line: &str) -> String {
    let Some((pin, url)) = line.split_once(" (from ") else { return line.to_owned() };
    let name = pin.split("==").next().unwrap_or(pin);
    format!("{name} @ {}", url.trim_end_matches(')'))
}

/// A URL without the part that says who asks.
fn without_credentials(url: &str) -> String {
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.split_once('@'))) {
        Some((scheme, Some((user, rest)))) if !user.contains('/') => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

/// Some of the names for a line: `a==1, b==2 and 7 more`.
pub(super) fn shorten(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_says_what_comes_and_what_goes() {
        let text = "Using Python 3.11.7 environment at: base\nResolved 6 packages in 213ms\n\
            Would download 2 packages\nWould uninstall 1 package\nWould install 3 packages\n \
            - numpy==1.26.4\n + numpy==2.1.0\n + six==1.17.0 (from git+https://example.org/six@4f)\n + idna==3.20\n";
        let plan = Plan::read(text, |_| None);
        assert_eq!(plan.pins, ["numpy==2.1.0", "six @ git+https://example.org/six@4f", "idna==3.20"]);
        assert_eq!(plan.shadowed, ["numpy==1.26.4"]);
        assert!(Plan::read("Audited 1 package in 3ms\nWould make no changes\n", |_| None).is_empty());
    }

    #[test]
    fn what_uv_does_not_see_is_not_installed_again() {
        let text = " + numpy==2.1.0\n + scipy==1.15.0\n + idna==3.20\n";
        let present =
            |name: &str| [("numpy", "2.1.0"), ("idna", "3.7")].into_iter().find(|own| own.0 == name);
        let plan = Plan::read(text, |name| present(name).map(|own| own.1));
        assert_eq!(plan.pins, ["scipy==1.15.0", "idna==3.20"]);
        assert_eq!(plan.shadowed, ["idna==3.7"]);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..8).map(|number| format!("p{number}")).collect();
        assert_eq!(shorten(&names), "p0, p1, p2, p3, p4 and 3 more");
        assert_eq!(shorten(&names[..2]), "p0, p1");
    }
}
