//! `carrot owner`: who owns a key, who stands in for the owner, and what each node holds of it.

use carrotcache::{GroupName, Key};
use clap::Args;
use serde::Deserialize;

use crate::amount::{bytes, long_time};
use crate::ask::call::Call;
use crate::ask::error::AskError;
use crate::ask::flags::{NodeFlags, key};
use crate::ask::output;
use crate::line::in_one_line;
use crate::table::{Table, name};

/// What help shows.
pub const EXAMPLE: &str = "\
Example, beside `carrot demo`, of a key that is asked for again and again
  $ carrot owner chars 1F955
  chars/1F955  slot 34106
  1  http://127.0.0.1:8003      owner     owned   6 B (140 B with its entry), 1 s old, 9 s to live
  2  http://127.0.0.1:8001 (a)  stand-in  mirror  6 B (140 B with its entry), 1 s old, 9 s to live
  3  http://127.0.0.1:8002                nothing

The node that was asked asks the others, and stands there with its name. The owner loads
the key and keeps it; while it cannot be reached the stand-in does. Looking changes
nothing: it is no get, and makes no key hot.
Exit codes: 0 done, 2 wrong usage, 3 refused or failed (no such group, password), 4 no
answer of a carrot node. CARROT_PASSWORD holds the node's password, if it has one.";

/// As much of a member's name as is shown.
const MEMBER: usize = 60;

/// Flags of `carrot owner`.
#[derive(Debug, Args)]
pub struct OwnerArgs {
    /// The group
    group: GroupName,
    /// The key
    #[arg(value_parser = key())]
    key: Key,
    /// Print what the node answers, as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeFlags,
}

/// A key's place, as a node tells it.
#[derive(Debug, Deserialize)]
struct Owners {
    group: String,
    /// Escaped.
    key: String,
    slot: Option<u32>,
    /// A place of 32 bits on the ring of the first systems, and of 64 with a sign on that of the later ones.
    point: Option<i64>,
    /// What the node that answered is called.
    node: String,
    members: Vec<Member>,
}

/// A member, and what it holds of the key.
#[derive(Debug, Deserialize)]
struct Member {
    member: String,
    rank: Option<u32>,
    #[serde(default, rename = "self")]
    is_self: bool,
    held: Option<Held>,
    error: Option<String>,
}

/// An entry of the key.
#[derive(Debug, Deserialize)]
struct Held {
    region: String,
    bytes: u64,
    weight: u64,
    age_ms: u64,
    ttl_ms: Option<u64>,
}

impl OwnerArgs {
    /// Asks, and shows the answer.
    ///
    /// # Errors
    /// See `Client::ask`; nothing is printed of an answer that cannot be read.
    pub async fn run(self) -> Result<(), AskError> {
        let mut client = self.node.client()?;
        let call = Call::owner(&self.group, &self.key)?;
        let reply = client.ask(&call).await?;
        let owners: Owners = client.read(&call, &reply)?;
        if self.json {
            return output::write_line(&reply.body).map(drop);
        }
        output::write(owners.shown().as_bytes()).map(drop)
    }
}

impl Owners {
    fn shown(&self) -> String {
        let place = match (self.slot, self.point) {
            (Some(slot), _) => format!("  slot {slot}"),
            (None, Some(point)) => format!("  point {point}"),
            (None, None) => String::new(),
        };
        let text = |title| name(title, usize::MAX);
        let mut table = Table::new(&[text(""), name("", MEMBER), text(""), text(""), text("")]);
        for member in &self.members {
            table.row(member.cells(&self.node));
        }
        format!("{}/{}{place}\n{}", in_one_line(&self.group), in_one_line(&self.key), table.without_titles())
    }
}

impl Member {
    fn cells(&self, asked: &str) -> [String; 5] {
        let rank = self.rank.map(|rank| rank.to_string()).unwrap_or_default();
        let named = if self.is_self { format!("{} ({asked})", self.member) } else { self.member.clone() };
        let role = match self.rank {
            Some(1) => "owner",
            Some(2) => "stand-in",
            _ => "",
        };
        let (region, told) = match (&self.held, &self.error) {
            (_, Some(error)) => ("unknown".to_owned(), error.clone()),
            (None, None) => ("nothing".to_owned(), String::new()),
            (Some(held), None) => (held.region.clone(), held.told()),
        };
        [rank, named, role.to_owned(), region, told]
    }
}

impl Held {
    fn told(&self) -> String {
        let left = match self.ttl_ms {
            Some(ms) => format!("{} to live", long_time(ms)),
            None => "without end".to_owned(),
        };
        let (length, weight) = (bytes(self.bytes), bytes(self.weight));
        format!("{length} ({weight} with its entry), {} old, {left}", long_time(self.age_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        serde_json::from_str::<Owners>(json).unwrap().shown()
    }

    #[test]
    fn each_member_is_a_line_with_its_rank_its_part_and_what_it_holds() {
        let json = r#"{"group":"scores","key":"Tom","placement":"slots","slot":51234,"node":"a","members":[
            {"member":"http://127.0.0.1:8001","rank":1,"self":true,
             "held":{"region":"owned","bytes":3,"weight":88,"age_ms":1200,"ttl_ms":58800}},
            {"member":"http://127.0.0.1:8003","rank":2,"held":null},
            {"member":"http://127.0.0.1:8002","rank":3,
             "held":{"region":"mirror","bytes":2000,"weight":2085,"age_ms":400}},
            {"member":"http://127.0.0.1:8004","error":"cannot connect: refused"}]}"#;
        assert_eq!(
            shown(json),
            "scores/Tom  slot 51234\n\
             1  http://127.0.0.1:8001 (a)  owner     owned    3 B (88 B with its entry), 1 s old, 58 s to live\n\
             2  http://127.0.0.1:8003      stand-in  nothing\n\
             3  http://127.0.0.1:8002                mirror   1.95 KiB (2.04 KiB with its entry), 400 ms old, without end\n   \
             http://127.0.0.1:8004                unknown  cannot connect: refused\n"
        );
    }

    #[test]
    fn on_a_ring_a_key_has_a_point_and_names_of_strangers_are_escaped() {
        let json = r#"{"group":"g","key":"a\\n","placement":"ring","point":4000000000,"node":"\u001b[2J",
            "more":1,"members":[{"member":"b\nc","rank":1,"self":true,"held":null}]}"#;
        let expected = "g/a\\n  point 4000000000\n1  b\\nc (\\u{1b}[2J)  owner  nothing\n";
        assert_eq!(shown(json), expected);
    }
}
