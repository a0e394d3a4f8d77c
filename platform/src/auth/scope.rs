//! What a key is for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One thing a key may be for. `admin` includes the others; `classify` does not include `read`: whoever sends images
/// need not see the fleet, its costs and its decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Send images and jobs, and see what became of them
    Classify,
    /// See the fleet, its decisions and their reasons
    Read,
    /// Everything, and change the fleet
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Classify, Self::Read, Self::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Classify => 1,
            Self::Read => 2,
            Self::Admin => 4,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| format!("{text:?} is not a scope; there are classify, read and admin"))
    }
}

/// Several of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    pub const ALL: Self = Self(7);

    /// Whether a key with these may do what needs `scope`.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_includes_all_and_the_others_only_themselves() {
        let check = |has: &[Scope], want: [bool; 3]| {
            let scopes: Scopes = has.iter().copied().collect();
            assert_eq!(Scope::ALL.map(|scope| scopes.allow(scope)), want, "{has:?}");
        };
        check(&[], [false, false, false]);
        check(&[Scope::Classify], [true, false, false]);
        check(&[Scope::Read], [false, true, false]);
        check(&[Scope::Classify, Scope::Read], [true, true, false]);
        check(&[Scope::Admin], [true, true, true]);
    }

    #[test]
    fn scopes_are_written_as_they_are_read() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert!("root".parse::<Scope>().unwrap_err().contains("classify, read and admin"));
    }
}
