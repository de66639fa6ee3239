//! A node's `/metrics`, read back into numbers.

use std::net::SocketAddr;

use crate::client::get;

/// The page as it was at one moment.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn read(admin: SocketAddr) -> Self {
        let reply = get(admin, "/metrics");
        assert_eq!(reply.status, 200);
        Self(reply.text().to_owned())
    }

    /// The number of one series: its name, and its labels as they are written.
    pub(crate) fn number(&self, series: &str) -> f64 {
        let found = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{series} is not in\n{}", self.0)).parse().unwrap()
    }

    /// The sum over all series of a name whose labels hold `label`.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let of_name = self.0.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        let numbers: Vec<f64> = of_name
            .filter_map(|rest| rest.rsplit_once("} "))
            .filter(|(labels, _)| labels.contains(label))
            .map(|(_, number)| number.parse().unwrap())
            .collect();
        assert!(!numbers.is_empty(), "{name} with {label} is not in\n{}", self.0);
        numbers.iter().sum()
    }

    /// The loads of all groups, however they ended.
    pub(crate) fn loads(&self) -> f64 {
        self.sum("carrot_loads_total", "")
    }
}
