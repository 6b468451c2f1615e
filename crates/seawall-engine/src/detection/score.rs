//! How good a rule would be.
//!
//! The weights were tried on two days of a real site's log with floods laid over it, and on two real floods: rules that
//! separate score 0.5 to 1, copies of ordinary requests below −0.25.

use crate::observation::attribute::Attribute;

use super::values::Item;

/// One percent of normal traffic hurt outweighs a tenth of the excess.
pub(crate) const COLLATERAL_WEIGHT: f64 = 10.0;

/// A shorter rule is the better one, all else equal.
const CONDITION_WEIGHT: f64 = 0.01;

/// A rule that explains only the present second has no future.
const INSTABILITY_WEIGHT: f64 = 0.1;

/// Many people may be behind one address.
const SHARED_ADDRESS_WEIGHT: f64 = 0.2;

/// The least score of a rule: floods and copies of ordinary requests lie well on either side.
pub(crate) const SCORE_MIN: f64 = 0.3;

/// The most people that may be behind an address for a rule about nothing but addresses.
pub(crate) const USERS_MAX: f64 = 3.0;

/// The risk of a rule about nothing but countries and providers.
const WIDE_NETWORK_RISK: f64 = 0.5;

/// What speaks for and against a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score {
    /// The share of the excess that it explains.
    pub(crate) coverage: f64,
    /// The upper bound of the share of normal traffic that it hurts.
    pub(crate) collateral_upper: f64,
    pub(crate) conditions: usize,
    /// The least coverage over the windows that have excess, less the turnover of clients.
    pub(crate) stability: f64,
    pub(crate) shared_address_risk: f64,
}

impl Score {
    pub(crate) fn total(&self) -> f64 {
        self.with_coverage(self.coverage)
    }

    /// The score if it explained this share.
    pub(crate) fn with_coverage(&self, coverage: f64) -> f64 {
        coverage
            - COLLATERAL_WEIGHT * self.collateral_upper
            - CONDITION_WEIGHT * self.conditions as f64
            - INSTABILITY_WEIGHT * (1.0 - self.stability)
            - SHARED_ADDRESS_WEIGHT * self.shared_address_risk
    }
}

/// The risk, 0 to 1, that a rule hits people who merely share an address with a sender; `None` when it is too high for
/// any rule. `users` estimates how many people are behind the networks that the rule names.
pub(crate) fn shared_address_risk(items: &[Item], users: &dyn Fn(&[Item]) -> f64) -> Option<f64> {
    if items.iter().all(|item| item.attribute != Attribute::ClientPrefix) {
        // A country or a provider is shared by many, of whom the baseline may know none.
        let networks = items.iter().filter(|item| item.attribute.is_network()).count();
        return Some(match networks {
            0 => 0.0,
            all if all == items.len() => WIDE_NETWORK_RISK,
            _ => WIDE_NETWORK_RISK / 2.0,
        });
    }
    let users = users(items);
    let risk = ((users - 1.0) / USERS_MAX).clamp(0.0, 1.0);
    if items.iter().all(|item| item.attribute == Attribute::ClientPrefix) {
        return (users <= USERS_MAX).then_some(risk);
    }
    Some(risk / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_many_are_never_named_alone() {
        let address = Item { attribute: Attribute::ClientPrefix, hash: 5 };
        let path = Item { attribute: Attribute::Path, hash: 5 };
        assert_eq!(shared_address_risk(&[address], &|_| 1.0), Some(0.0));
        assert_eq!(shared_address_risk(&[address], &|_| 4.0), None);
        assert_eq!(shared_address_risk(&[address, path], &|_| 40.0), Some(0.5));
        assert_eq!(shared_address_risk(&[path], &|_| 40.0), Some(0.0));
        let country = Item { attribute: Attribute::Country, hash: 5 };
        assert_eq!(shared_address_risk(&[country], &|_| 40.0), Some(0.5));
        assert_eq!(shared_address_risk(&[country, path], &|_| 40.0), Some(0.25));
    }
}
